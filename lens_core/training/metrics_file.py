"""The metrics of a training as a file: one JSON object a logged step."""

from __future__ import annotations

import json
from pathlib import Path

METRICS_FILE = "metrics.jsonl"


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The steps of the training in `folder`, each `{"step": 10, "reward": 0.31, ...}`."""
    return [json.loads(line) for line in (folder / METRICS_FILE).read_text(encoding="utf-8").splitlines()]
