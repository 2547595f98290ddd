"""`lens` that is killed as soon as its training has a checkpoint: python -m tests.helpers.dying_lens ARGUMENTS"""

import os
import signal
import sys
from typing import Any

from lens_core.cli import main
from lens_core.training.checkpoint import CheckpointMixin

_save = CheckpointMixin._save_checkpoint


def save_and_die(self: CheckpointMixin, *args: Any, **kwargs: Any) -> None:
    _save(self, *args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    CheckpointMixin._save_checkpoint = save_and_die  # type: ignore[method-assign]
    sys.argv[0] = "lens"
    main.main()
