"""What a pipeline is launched with: one value from the command line to the pipeline's parameters."""

from __future__ import annotations

from dataclasses import dataclass

from lens_components.image import IMAGE
from lens_core.config import RunConfig, checked_address
from lens_core.kube.settings import ClusterConfig

ANY_CLUSTER = ClusterConfig(image=IMAGE)
"""Where nothing more is said of the site: the image, and what every step gets."""


@dataclass(frozen=True)
class Launch:
    """A pipeline, and all that a command says about it.

    What a step has to know becomes a parameter of its pipeline, by the `arguments` beside the pipeline's definition.

    Raises:
        LensError: if the tracking URI holds a credential, which everybody could read in the pipeline.
    """

    config: RunConfig
    pipeline: str = "lens"
    """`lens`, `sweep` or `evaluate`."""
    tracking_uri: str = ""
    """MLflow; empty: not tracked."""
    cluster: ClusterConfig = ANY_CLUSTER
    """What steps get at the site; on this machine nothing of it applies."""
    rayjobs: bool = False
    """Whether each training, and a sweep, is a RayJob of its own."""
    registers: bool = True
    """Whether the best policy may become the champion of `lens-NAME`."""
    upload_weights: bool = True
    """Whether the champion's files go into MLflow, or only a note of where they lie."""

    def __post_init__(self) -> None:
        checked_address(
            self.tracking_uri,
            "the tracking URI",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD under secrets of the cluster settings",
        )
