"""`python -m lens_core.cli`, for launchers of several processes such as torchrun and Accelerate."""

from lens_core.cli.main import main

if __name__ == "__main__":
    main()
