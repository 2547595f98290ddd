"""Paired statistics: differences between two measurements of the same units, problems or seeds.

All comparisons go through these functions: two commands that compare the same evaluations cannot disagree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from lens_core.evaluation.passk import Estimate, mean_over_problems
from lens_core.evaluation.records import Record

EXACT_UP_TO = 16
"""Pairs whose sign flips are all enumerated: 2^16."""
_FLIPS = 9999
"""Random sign flips of more pairs."""
_SEED = 0


class PairedDifference(Record):
    """B minus A over the problems that both have an estimate for."""

    one: float
    """A's mean over them."""
    other: float
    """B's."""
    difference: Estimate
    """With the interval of `mean_over_problems`, on a scale from -1 to 1."""
    p: float
    """Of `sign_flip_p`."""


def paired_difference(one: Sequence[float], other: Sequence[float]) -> PairedDifference:
    """`other` minus `one`, problem by problem; the same whatever the order of the problems.

    Raises:
        ValueError: if there is no problem.
    """
    differences = np.sort(np.subtract(other, one)).tolist()  # flips are drawn by place
    return PairedDifference(
        one=float(np.mean(one)),
        other=float(np.mean(other)),
        difference=mean_over_problems(differences, lowest=-1.0),
        p=sign_flip_p(differences),
    )


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p of the sign-flip permutation test on the mean difference; exact up to `EXACT_UP_TO` pairs."""
    if len(differences) < 2 or not np.any(differences):
        return 1.0
    result = stats.permutation_test(
        (np.asarray(differences, dtype=float),),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf if len(differences) <= EXACT_UP_TO else _FLIPS,
        batch=500,  # bounds the memory: flips times pairs
        rng=np.random.default_rng(_SEED),
    )
    return float(result.pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the chance of a single false finding stays below the level (Holm 1979)."""
    order = np.argsort(ps)
    corrected = [0.0] * len(ps)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = highest
    return corrected
