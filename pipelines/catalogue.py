"""The pipelines by name, and what each takes from a configuration."""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

from lens_components.image import IMAGE
from lens_core.config import RunConfig
from lens_core.errors import LensError
from lens_core.kube.settings import ClusterConfig
from lens_pipelines import evaluate_pipeline, lens_pipeline, sweep_pipeline
from lens_pipelines.site import Site, needs_of

_BUILDERS = {
    "lens": lens_pipeline.build,
    "sweep": sweep_pipeline.build,
    "evaluate": evaluate_pipeline.build,
}
NAMES = tuple(_BUILDERS)
ANY_CLUSTER = ClusterConfig(image=IMAGE)
"""Where nothing more is said of a cluster: the image, and what every step gets."""
_SEEDS = (0, 1, 2)
"""Of the trainings after a sweep, where the configuration has no `study.seeds`."""


def build_pipeline(name: str, site: Site) -> Any:
    """The pipeline called `name`, kfp's GraphComponent, for where it is to run.

    Raises:
        LensError: if there is none, with the names that there are.
    """
    return _BUILDERS[_known(name)](site)


def _known(name: str) -> str:
    if name not in _BUILDERS:
        raise LensError(f"there is no pipeline {name!r}: choose from {', '.join(NAMES)}")
    return name


def arguments(name: str, config: RunConfig, tracking_uri: str, cluster: ClusterConfig = ANY_CLUSTER) -> dict[str, Any]:
    """Parameters of the pipeline called `name`.

    Raises:
        LensError: if there is no such pipeline, or it is `sweep` and the configuration has no `sweep` section.
    """
    shared: dict[str, Any] = {
        "config": config.model_dump_json(),
        "run": run_name(config, _known(name)),
        "tracking_uri": tracking_uri,
        **needs_of(cluster),
    }
    if name == "lens":
        registered = f"lens-{config.name}" if tracking_uri else ""
        return shared | {"methods": list(config.methods), "registered_model": registered}
    if name == "evaluate":
        return shared | {"label": Path(config.base).name}
    method = config.required_sweep().method
    seeds = list(_SEEDS if config.study is None else config.study.seeds)
    return shared | {"seeds": seeds, "methods": [f"{method}-s{seed}" for seed in seeds]}


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
