"""What a worker of Ray Train is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lens_core.distributed.rollout_actors import RolloutWorkers
    from lens_core.training.spec import TrainingSpec


@dataclass(frozen=True)
class WorkerTask:
    """A training, and what connects it with the process that asked for it."""

    training: TrainingSpec
    """With absolute paths: a worker has a working directory of its own."""
    rollouts: RolloutWorkers | None
    validated: bool
    """Whether Ray validates each checkpoint."""
    queue: Any
    """Takes `("step" or "validation", step, metrics)`."""
