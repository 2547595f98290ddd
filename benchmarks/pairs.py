"""What pairs of measurements, made in turns, say about a ratio."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ratio:
    """The geometric mean of ratios, with the 95 % interval of Student's t on their logarithms.

    A disturbance in one pair is then as large upward as downward, whichever of the two it hit.
    """

    mean: float
    low: float
    high: float
    """Not a number, as is `low`, of a single pair."""
    pairs: int

    def __str__(self) -> str:
        if self.pairs == 1:
            return f"{self.mean:.3g}, one pair"
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}], {self.pairs} pairs"


def ratio(pairs: Iterable[tuple[float, float]]) -> Ratio:
    """Of the first of each pair to the second."""
    from scipy import stats  # benchmarks.gpu measures where there is no SciPy

    logs = np.log([one / other for one, other in pairs])
    low, high = stats.t.interval(0.95, len(logs) - 1, logs.mean(), stats.sem(logs)) if len(logs) > 1 else (np.nan,) * 2
    mean, low, high = np.exp([logs.mean(), low, high])
    return Ratio(float(mean), float(low), float(high), len(logs))


def figures_of(ratios: dict[str, Ratio]) -> dict[str, float]:
    """For the last line of a benchmark: each with its bounds, where there are any."""
    return {
        f"{name}{end}": value
        for name, each in ratios.items()
        for end, value in (("", each.mean), ("_low", each.low), ("_high", each.high))
        if math.isfinite(value)
    }
