"""Does a policy's confidence say how often it is right? Reliability table, expected calibration error, ranking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy import stats


class Bin(BaseModel):
    """The answers whose confidence lies in (low, high]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    high: float
    answers: int
    confidence: float
    """Their mean confidence."""
    right: float
    """Share of them that is right."""


class Calibration(BaseModel):
    """How confidence and correctness go together, over graded answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ece: float
    """Expected calibration error: sum over bins of (answers / all answers) |right - confidence|."""
    auroc: float | None
    """Chance that a right answer has more confidence than a wrong one, ties counting half; None without both kinds."""
    bins: tuple[Bin, ...]
    """The reliability table; bins without answers are left out."""


def calibration(confidences: Sequence[float], right: Sequence[bool], bins: int = 10) -> Calibration | None:
    """Calibration with `bins` bins of equal width (Guo et al., arXiv 1706.04599); None without answers.

    Args:
        confidences: of each answer, in (0, 1].
        right: whether it is.
    """
    if not confidences:
        return None
    confidence_B, right_B = np.asarray(confidences), np.asarray(right, dtype=bool)
    edges = np.linspace(0, 1, bins + 1)
    place_B = np.clip(np.searchsorted(edges, confidence_B, side="left") - 1, 0, bins - 1)
    table = []
    for place in np.unique(place_B):
        inside_B = place_B == place
        table.append(
            Bin(
                low=float(edges[place]),
                high=float(edges[place + 1]),
                answers=int(inside_B.sum()),
                confidence=float(confidence_B[inside_B].mean()),
                right=float(right_B[inside_B].mean()),
            )
        )
    ece = sum(row.answers * abs(row.right - row.confidence) for row in table) / len(confidence_B)
    return Calibration(ece=ece, auroc=_auroc(confidence_B[right_B], confidence_B[~right_B]), bins=tuple(table))


def _auroc(right: np.ndarray, wrong: np.ndarray) -> float | None:
    if len(right) == 0 or len(wrong) == 0:
        return None
    return float(stats.mannwhitneyu(right, wrong).statistic / (len(right) * len(wrong)))
