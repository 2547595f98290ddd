"""Pass@k and maj@k: the unbiased estimators, and what a sample of problems says about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


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


@lru_cache(maxsize=4096)
def majority_at_k(right: int, wrong: tuple[int, ...], k: int) -> float:
    """Probability that the majority of k of n completions, drawn without replacement, is right.

    The answer that most of the k gave wins; of several with as many votes each wins equally often. Unbiased for the
    majority of k fresh completions, since it is the mean over all subsets of k. Exact, without enumerating them: votes
    are drawn as independent binomials with p = k/n, and then conditioned on their sum being k.

    Args:
        right: completions with the right answer, whose votes count together.
        wrong: completions of each wrong answer.

    Raises:
        ValueError: if k < 1 or k > n, the sum of all votes.
    """
    n = right + sum(wrong)
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; it must lie in 1..n, and n is {n}")
    if k == 1 or right in (0, n):
        return right / n
    share = k / n
    right_votes = stats.binom.pmf(np.arange(right + 1), right, share)
    wrong_votes = [stats.binom.pmf(np.arange(count + 1), count, share) for count in wrong]
    wins = 0.0
    for votes in range(1, min(right, k) + 1):
        others = _others_at_most(votes, wrong_votes, k - votes)
        wins += right_votes[votes] * float((others / np.arange(1, len(others) + 1)).sum())
    return float(wins / stats.binom.pmf(k, n, share))


def _others_at_most(votes: int, wrong_votes: Sequence[Array], total: int) -> Array:
    """[ties]: probability that the wrong answers have `total` votes together, none more than `votes`, and so many of
    them exactly `votes`.
    """
    table = np.zeros((total + 1, total // votes + 1))  # [votes so far, ties so far]
    table[0, 0] = 1
    for pmf in wrong_votes:
        grown = np.zeros_like(table)
        for own in range(min(len(pmf) - 1, votes, total) + 1):
            before, tie = table[: total + 1 - own], own == votes
            grown[own:, tie:] += pmf[own] * (before[:, :-1] if tie else before)
        table = grown
    return table[total]


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
    values = [pass_at_k(n, correct, k) for n, correct in counts if n >= k]
    if not values:
        raise ValueError(f"no problem has {k} graded completions, so Pass@{k} cannot be estimated")
    return mean_over_problems(values, seed, resamples, level)


def mean_over_problems(
    per_problem: Sequence[float], seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> Estimate:
    """The mean of a value that each problem has, with a percentile bootstrap interval over problems.

    Raises:
        ValueError: if there is no value.
    """
    values = np.asarray(per_problem, dtype=float)
    if len(values) == 0:
        raise ValueError("per_problem is empty: there is no mean")
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
