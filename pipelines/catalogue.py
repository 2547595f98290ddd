"""The pipelines by name, and what each takes from a configuration."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from lens_core.config import RunConfig
from lens_core.errors import LensError
from pipelines.lens_pipeline import lens_pipeline

PIPELINES: dict[str, Any] = {"lens": lens_pipeline}
"""Name -> kfp's GraphComponent."""


def find_pipeline(name: str) -> Any:
    """The definition of the pipeline called `name`.

    Raises:
        LensError: if there is none, with the names that there are.
    """
    if name not in PIPELINES:
        raise LensError(f"there is no pipeline {name!r}: choose from {', '.join(PIPELINES)}")
    return PIPELINES[name]


def arguments(name: str, config: RunConfig, tracking_uri: str) -> dict[str, Any]:
    """Parameters of the pipeline called `name`."""
    find_pipeline(name)
    shared = {"config": config.model_dump_json(), "run": run_name(config), "tracking_uri": tracking_uri}
    return shared | {"methods": list(config.methods)}


def run_name(config: RunConfig) -> str:
    """The config's name with a fingerprint of its values and of our own code.

    Equal runs share a name, and with it their cached steps and their parent in MLflow: an interrupted run goes on where
    it was, and a changed one starts afresh.
    """
    fingerprint = hashlib.sha256(config.digest().encode())
    root = Path(__file__).resolve().parent.parent
    for package in ("components", "lens_core", "pipelines"):
        for source in sorted((root / package).rglob("*")):
            if source.suffix in {".py", ".yaml", ".j2", ".safetensors"}:
                fingerprint.update(source.read_bytes())
    return f"{config.name}-{fingerprint.hexdigest()[:8]}"
