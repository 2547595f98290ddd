"""`python -m lens_core.cli`, for launchers of several processes such as torchrun and Accelerate."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the working directory, of which nothing is run unless PYTHONPATH names it
    from lens_core.cli.main import main

    main()
