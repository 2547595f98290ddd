"""Whether a candidate takes the champion's place: the paired difference of their Pass@k, problem by problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lens_core.passk import Estimate, mean_over_problems, pass_at_k

Counts = Mapping[str, tuple[int, int]]
"""Problem -> (graded completions, right ones)."""


@dataclass(frozen=True)
class Gate:
    """What the comparison says."""

    k: int
    difference: Estimate
    """Candidate less champion."""

    @property
    def passed(self) -> bool:
        """The whole interval lies above 0."""
        return self.difference.low > 0


def gate(champion: Counts, candidate: Counts, k: int, seed: int = 0) -> Gate:
    """Candidate less champion in Pass@k, with a 95 % percentile bootstrap interval over the problems.

    Problems that either has fewer than `k` graded completions of are left out.

    Raises:
        ValueError: if they were not evaluated on the same problems, or no problem can be used.
    """
    if champion.keys() != candidate.keys():
        raise ValueError("champion and candidate were evaluated on different problems")
    pairs = [(champion[problem], candidate[problem]) for problem in sorted(champion)]
    values = [pass_at_k(*of, k) - pass_at_k(*before, k) for before, of in pairs if min(before[0], of[0]) >= k]
    if not values:
        raise ValueError(f"no problem has {k} graded completions of both, so that their Pass@{k} cannot be compared")
    return Gate(k, mean_over_problems(values, seed))
