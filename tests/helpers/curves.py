"""What a training logged, without the clock: two trainings can be compared by it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lens_core.training.metrics_file import read_metrics

CLOCK = ("elapsed_s", "step_time", "train_runtime", "train_samples_per_second", "train_steps_per_second")


def without_clock(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key not in CLOCK} for entry in entries]


def curve(output: Path) -> list[dict[str, Any]]:
    """The metrics of the training in a folder, step by step."""
    return without_clock(read_metrics(output))
