"""Trials of a sweep as values, and the files that they leave."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

TUNE_FOLDER, TRIALS_FOLDER = "tune", "trials"
"""Below the sweep's own: Ray Tune's state, and a folder for each trial."""
ERROR_FILE = "error.txt"
"""In a trial's folder: what stopped it."""


@dataclass(frozen=True)
class Trial:
    """What is known of one trial."""

    id: str
    values: Mapping[str, Any]
    """By key path of the configuration."""
    status: Literal["running", "finished", "pruned", "failed"]
    history: tuple[Mapping[str, float], ...]
    """What it reported: `pass_at_k`, `step`, `tokens`, `reward`, each time it was validated."""
    folder: str
    error: str | None = None

    @property
    def value(self) -> float:
        """Pass@k of its last report; NaN before the first."""
        return self.history[-1]["pass_at_k"] if self.history else math.nan


OnTrial = Callable[[Trial], None]
"""Called with a trial as it starts, reports, and ends."""
