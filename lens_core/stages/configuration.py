"""The configuration of a pipeline run, as its first step settles it."""

from __future__ import annotations

from collections.abc import Sequence

from lens_core.config import RunConfig, changed_by, overridden
from lens_core.tracking import parent_run, tracking_for

OVERRIDES_TAG = "lens.overrides"


def configure(config: RunConfig, overrides: Sequence[str], run: str, tracking_uri: str = "") -> tuple[RunConfig, str]:
    """`config` with `overrides`, and the name of the run that it makes.

    A configuration that is changed makes a run of its own: checkpoints on a volume, and the parent run in MLflow, are
    found by the name. There, the overrides are a tag of the parent run.

    Args:
        overrides: each `key.path=value`; those that say what the configuration says anyway change nothing.
        run: what the run is called where nothing is changed.

    Raises:
        LensError: naming the key or value that is refused.
    """
    changes = changed_by(config, overrides)
    settled = overridden(config, changes)
    if settled.digest() == config.digest():
        return config, run
    name = f"{run}-{settled.digest()[:8]}"
    tracking = tracking_for(tracking_uri, name)
    if tracking is not None:
        parent_run(tracking).tags({OVERRIDES_TAG: " ".join(changes)})
    return settled, name
