"""The MLflow run of a stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lens_core.config import RunConfig
from lens_core.tracking import StageRun, Tracking, stage_run

CONFIG_TAG = "lens.config_sha256"


@contextmanager
def tracked(
    tracking: Tracking | None, stage: str, config: RunConfig, method: str | None = None, resume_id: str | None = None
) -> Iterator[StageRun | None]:
    """The stage's MLflow run with its configuration logged; None where the stage is not tracked."""
    if tracking is None:
        yield None
        return
    with stage_run(tracking, stage, resume_id or None) as run:
        run.params(
            config.model_dump(mode="json") if method is None else {"method": method, **config.model_dump(mode="json")}
        )
        run.tags({CONFIG_TAG: config.digest(), "lens.model": config.base, "lens.config": config.name})
        if method is not None:
            run.tags({"lens.method": method})
        yield run
