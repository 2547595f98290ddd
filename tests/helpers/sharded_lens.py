"""`lens` on processes that Accelerate shards over as it does over accelerators: -m tests.helpers.sharded_lens ..."""

import sys

from lens_core.cli import main
from tests.helpers.ranks import pass_for_accelerators

if __name__ == "__main__":
    pass_for_accelerators()
    sys.argv[0] = "lens"
    main.main()
