"""Pass@k and maj@k: the unbiased estimators, and what a sample of problems says about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Array = NDArray[np.float64]

FEWEST_PROBLEMS = 30
"""Whatever shows a result warns where it rests on fewer, and the gate in front of the registry stays shut."""
FEW = "†"
FEW_NOTE = f"{FEW} rests on fewer than {FEWEST_PROBLEMS} problems, which is too few to judge by"
_UPPER = 0.975
"""Of a two-sided 95 % interval."""


@dataclass(frozen=True)
class Estimate:
    """A mean over problems with its 95 % interval."""

    estimate: float
    low: float
    high: float
    problems: int
    """Problems that could be used."""

    @property
    def few(self) -> bool:
        """Rests on fewer problems than say much."""
        return self.problems < FEWEST_PROBLEMS

    @property
    def text(self) -> str:
        """`47.0 [42.1, 51.9]`, in percent, with the sign of `FEW_NOTE` behind it where that applies."""
        numbers = f"{100 * self.estimate:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"
        return f"{numbers} {FEW}" if self.few else numbers


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


def mean_pass_at_k(counts: Sequence[tuple[int, int]], k: int) -> Estimate:
    """Mean Pass@k over problems, with its interval.

    Args:
        counts: (graded completions, right ones) of each problem. A problem with fewer than `k` graded completions has
            no estimate and is left out; `Estimate.problems` says how many were used.

    Raises:
        ValueError: if no problem has `k` graded completions.
    """
    values = [pass_at_k(n, correct, k) for n, correct in counts if n >= k]
    if not values:
        raise ValueError(f"no problem has {k} graded completions, so Pass@{k} cannot be estimated")
    return mean_over_problems(values)


def mean_over_problems(per_problem: Sequence[float], lowest: float = 0.0, highest: float = 1.0) -> Estimate:
    """The mean of a value that each problem has, with a 95 % interval that covers where problems are few or alike.

    The interval is Student's t of the values and of two imaginary problems more, one at each end of the scale: Bonett
    and Price's for paired proportions (2012, doi 10.1002/sim.4382), in the manner of Agresti and Coull, taken to any
    values between the ends. `python -m benchmarks.coverage` measures how often it holds the truth.

    Args:
        lowest: the least that a problem can have.
        highest: the most.

    Raises:
        ValueError: if there is no value.
    """
    if len(per_problem) == 0:
        raise ValueError("per_problem is empty: there is no mean")
    widened = sorted([*per_problem, lowest, highest])
    centre = math.fsum(widened) / len(widened)
    half = float(special.stdtrit(len(widened) - 1, _UPPER) * stats.sem(widened))  # Student's quantile
    return Estimate(
        estimate=math.fsum(per_problem) / len(per_problem),
        low=max(centre - half, lowest),
        high=min(centre + half, highest),
        problems=len(per_problem),
    )
