"""Pass@k: the unbiased estimator, and what a sample of problems says about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean over problems with its bootstrap interval."""

    estimate: float
    low: float
    high: float
    problems: int
    """Problems that could be used."""


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Probability that k of n completions, drawn without replacement, hold a right one: 1 - C(n-c, k) / C(n, k).

    Unbiased for the chance that k fresh completions hold one (Chen et al., arXiv 2107.03374).

    Raises:
        ValueError: if k < 1, k > n, or correct is not in 0..n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; it must lie in 1..n, and n is {n}")
    if not 0 <= correct <= n:
        raise ValueError(f"correct is {correct}; it must lie in 0..n, and n is {n}")
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def mean_pass_at_k(
    counts: Sequence[tuple[int, int]], k: int, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> Estimate:
    """Mean Pass@k over problems, with a percentile bootstrap interval over problems.

    Args:
        counts: (graded completions, right ones) of each problem. A problem with fewer than `k` graded completions has
            no estimate and is left out; `Estimate.problems` says how many were used.

    Raises:
        ValueError: if no problem has `k` graded completions.
    """
    values = np.array([pass_at_k(n, correct, k) for n, correct in counts if n >= k])
    if len(values) == 0:
        raise ValueError(f"no problem has {k} graded completions, so Pass@{k} cannot be estimated")
    mean = float(values.mean())
    if np.ptp(values) == 0:  # resampling equal values tells nothing
        return Estimate(mean, mean, mean, len(values))
    interval = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high), len(values))
