"""Policies that the package ships, by name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from lens_core.config import SHIPPED_BASE


def resolved(model: str | Path) -> str | Path:
    """The folder of a shipped policy where `model` is its name, and no folder is called so; else `model`."""
    if str(model) != SHIPPED_BASE or Path(model).exists():
        return model
    return Path(str(resources.files("lens_core.training") / SHIPPED_BASE))
