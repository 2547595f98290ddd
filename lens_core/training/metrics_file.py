"""The metrics of a training as a file: one JSON object a logged step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lens_core.errors import LensError
from lens_core.files import read_lines

METRICS_FILE = "metrics.jsonl"


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The steps of the training in `folder`, each `{"step": 10, "reward": 0.31, ...}`; none before it has begun.

    A last line that a kill cut short is left out.

    Raises:
        LensError: if another line is damaged.
    """
    path = folder / METRICS_FILE
    steps = list(read_lines(path, "step")) if path.exists() else []
    for number, step in enumerate(steps, start=1):
        if not all(isinstance(value, int | float) for value in step.values()):
            raise LensError(f"{path}:{number} is damaged (a value is no number): restore it, or choose another folder")
    return steps


def read_finished_metrics(folder: Path) -> list[dict[str, float]]:
    """The same of a training that has ended: at least one.

    Raises:
        LensError: if there is none.
    """
    steps = read_metrics(folder)
    if not steps:
        raise LensError(f"{folder / METRICS_FILE} holds no step: restore it, or train into another folder")
    return steps


def rollout_steps(steps: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """The steps in which rollouts were drawn: with several updates a batch, the others log no reward and no groups."""
    return [step for step in steps if "reward" in step]
