"""The metrics of a training as a file: one JSON object a logged step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

METRICS_FILE = "metrics.jsonl"


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The steps of the training in `folder`, each `{"step": 10, "reward": 0.31, ...}`; none before it has begun.

    A last line that a kill cut short is left out.
    """
    path = folder / METRICS_FILE
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def rollout_steps(steps: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """The steps in which rollouts were drawn: with several updates a batch, the others log no reward and no groups."""
    return [step for step in steps if "reward" in step]
