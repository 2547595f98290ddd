"""The image that every component runs in; it carries lens_core and its dependencies."""

import os

IMAGE = os.environ.get("LENS_IMAGE", "lens-grpo:0.1.0")
"""What `scripts/build-images` makes. For a cluster: LENS_IMAGE, or the image of its settings. Local runs use this
interpreter and no image."""
