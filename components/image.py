"""The image that every component runs in; it carries lens_core and its dependencies."""

import os

IMAGE = os.environ.get("LENS_IMAGE", "lens-grpo-python:0.1.0")
"""Set LENS_IMAGE when compiling for a cluster. Local runs use this interpreter and no image."""
