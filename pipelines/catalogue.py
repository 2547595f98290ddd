"""The pipelines by name, and the parameters that a launch gives them."""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from lens_core.config import RunConfig, json_parameter, values_by_hand
from lens_core.errors import LensError
from lens_pipelines import evaluate_pipeline, lens_pipeline, sweep_pipeline
from lens_pipelines.launch import Launch
from lens_pipelines.site import Needs, Site

_PIPELINES = {"lens": lens_pipeline, "sweep": sweep_pipeline, "evaluate": evaluate_pipeline}
NAMES = tuple(_PIPELINES)


def build_pipeline(name: str, site: Site) -> Any:
    """The pipeline called `name`, kfp's GraphComponent, for where it is to run.

    Raises:
        LensError: if there is none, with the names that there are.
    """
    return _definition(name).build(site)


def arguments(launch: Launch) -> dict[str, Any]:
    """Parameters of the pipeline.

    From here on the configuration is JSON, for a parameter can be nothing else; a step reads it back.

    Raises:
        LensError: if there is no such pipeline, or it is `sweep` and the configuration has no `sweep` section.
    """
    own = _definition(launch.pipeline).arguments(launch)
    return {
        "config": json_parameter(launch.config),
        "run": run_name(launch.config, launch.pipeline),
        "tracking_uri": launch.tracking_uri,
        "overrides": values_by_hand(launch.config),
        **vars(Needs.of(launch.cluster)),
        **own,
    }


def _definition(name: str) -> ModuleType:
    if name not in _PIPELINES:
        raise LensError(f"there is no pipeline {name!r}: choose from {', '.join(NAMES)}")
    return _PIPELINES[name]


def run_name(config: RunConfig, pipeline: str = "lens") -> str:
    """The config's name, the pipeline's where it is another, and a fingerprint of the values and of our own code.

    Equal runs share a name, and with it their cached steps and their parent in MLflow: an interrupted run goes on where
    it was, and a changed one starts afresh.
    """
    fingerprint = hashlib.sha256(config.digest().encode())
    for package in ("lens_components", "lens_core", "lens_pipelines"):
        folder = Path(next(iter(import_module(package).__path__)))
        for source in sorted(folder.rglob("*")):
            if source.suffix in {".py", ".yaml", ".j2", ".safetensors"}:
                fingerprint.update(source.read_bytes())
    kind = "" if pipeline == "lens" else f"-{pipeline}"
    return f"{config.name}{kind}-{fingerprint.hexdigest()[:8]}"
