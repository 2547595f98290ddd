"""Two evaluations on the same problems: paired differences, and who wins which problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from lens_core.errors import LensError
from lens_core.evaluation.metrics import METRICS_BY_K, MetricByK
from lens_core.evaluation.paired import PairedDifference, holm, paired_difference
from lens_core.evaluation.passk import Estimate, pass_at_k
from lens_core.evaluation.records import MAJ_AT, PASS_AT, PassKReport, ProblemResult, Record
from lens_core.evaluation.verdict import POLICIES, Claim, Finding, Verdict, large_effects, listed, worded


class Duel(Record):
    """One problem in both evaluations."""

    problem: str
    prompt: str
    level: int | None
    one: tuple[int, int]
    """A's (graded completions, right ones)."""
    other: tuple[int, int]
    difference: float | None
    """B's share of right answers less A's; None where one has no graded answer."""


class PairedComparison(Record):
    """B against A, as `paired.json` holds it; all fractions in [0, 1]."""

    one: PassKReport
    other: PassKReport
    by_k: dict[str, dict[int, PairedDifference]]
    """Metric -> k -> difference, of every metric that is by k."""
    levels: dict[int, PairedDifference]
    """Pass@k for the smallest k, by level."""
    wins: int
    """Problems on which B has the larger share of right answers."""
    losses: int
    ties: int
    sign_p: float
    """Of the exact sign test on wins against losses, two-sided."""
    duels: tuple[Duel, ...]
    """B's largest losses first; problems without a difference at the end."""
    differing: dict[str, tuple[Any, Any]]
    """Settings of the evaluations that are not the same: name -> (A's, B's)."""

    @property
    def pass_at_k(self) -> dict[int, PairedDifference]:
        """Of Pass@k, by k."""
        return self.by_k[PASS_AT]

    def rows(self) -> dict[str, PairedDifference]:
        """`Pass@4` -> its difference, of every metric and k. maj@1 is Pass@1, and left out."""
        return {
            f"{metric.title}{k}": each
            for metric in METRICS_BY_K
            for k, each in self.by_k[metric.name].items()
            if (metric.name, k) != (MAJ_AT, 1)
        }

    @property
    def finding(self) -> Finding | None:
        """What the verdict goes by: Pass@k for the smallest k; None where no problem has an estimate in both."""
        k, first = next(iter(self.pass_at_k.items()), (0, None))
        return (
            None
            if first is None
            else _finding(f"Pass@{k}", first.difference, first.p, self.one.model, self.other.model)
        )

    @property
    def by_level(self) -> list[Finding]:
        """The same for each level; p is Holm-corrected for their number."""
        corrected = holm([each.p for each in self.levels.values()])
        return [
            _finding(f"level {level}", each.difference, p, self.one.model, self.other.model)
            for (level, each), p in zip(self.levels.items(), corrected, strict=True)
        ]


def _finding(measure: str, of: Estimate, p: float, one: str, other: str) -> Finding:
    return Finding(
        one=one,
        other=other,
        measure=measure,
        mean=of.estimate,
        low=of.low,
        high=of.high,
        p=p,
        pairs=of.problems,
        unit="problems",
        few=of.few,
    )


def verdict(comparisons: Sequence[PairedComparison]) -> Verdict:
    """What comparisons of policies say: first about all problems, then about levels with large effects."""
    lines: list[str] = []
    for one in dict.fromkeys(found.one.model for found in comparisons):
        findings = [found.finding for found in comparisons if found.one.model == one]
        lines += worded([each for each in findings if each is not None])
    for found in comparisons:
        lines += large_effects(found.by_level)
    ungraded = [f"{found.other.model} and {found.one.model}" for found in comparisons if found.finding is None]
    lines += [f"Too few completions could be graded to compare {each}." for each in ungraded]
    unlike = {name: None for found in comparisons for name in found.differing}
    if unlike:
        lines.append(f"The completions were drawn with other settings: {listed(list(unlike))}.")
    return Verdict(lines=tuple(lines), scope=POLICIES if comparisons else "")


def compare_results(
    one: tuple[PassKReport, Sequence[ProblemResult]],
    other: tuple[PassKReport, Sequence[ProblemResult]],
    differing: Mapping[str, tuple[Any, Any]] | None = None,
) -> PairedComparison:
    """B (`other`) against A (`one`), for every k that both were measured with.

    Args:
        differing: settings of the two that are not the same, to be told beside the result.

    Raises:
        LensError: if they are not of the same problems, or share no k.
    """
    (report, results), (other_report, other_results) = one, other
    same = [result.problem for result in results] == [result.problem for result in other_results]
    if report.data_digest != other_report.data_digest or not same:
        raise LensError(
            f"{report.model} and {other_report.model} answered different problems (SHA-256 "
            f"{report.data_digest[:12]} and {other_report.data_digest[:12]}): evaluate both on the same data"
        )
    ks = [k for k in report.ks if k in other_report.ks]
    if not ks:
        raise LensError(f"{report.model} and {other_report.model} share no k: run `lens evaluate` with the same -k")
    if report.model == other_report.model:
        report, other_report = (
            each.model_copy(update={"model": f"{each.model} ({name})"})
            for each, name in ((report, "A"), (other_report, "B"))
        )
    pairs = list(zip(results, other_results, strict=True))
    levels = sorted({result.level for result in results if result.level is not None})
    duels = [_duel(*pair) for pair in pairs]
    differences = np.array([duel.difference for duel in duels if duel.difference is not None])
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return PairedComparison(
        one=report,
        other=other_report,
        by_k={metric.name: _by_k(metric, pairs, ks) for metric in METRICS_BY_K},
        levels={
            level: found[ks[0]]
            for level in levels
            if (found := _by_k(METRICS_BY_K[0], [p for p in pairs if p[0].level == level], ks[:1]))
        },
        wins=wins,
        losses=losses,
        ties=len(differences) - wins - losses,
        sign_p=float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0,
        duels=tuple(sorted(duels, key=_largest_first)),
        differing={} if differing is None else dict(differing),
    )


def _by_k(
    metric: MetricByK, pairs: Sequence[tuple[ProblemResult, ProblemResult]], ks: Sequence[int]
) -> dict[int, PairedDifference]:
    """By k, where a problem has an estimate in both."""
    found = {}
    for k in ks:
        values = [(metric.per_problem(one, k), metric.per_problem(other, k)) for one, other in pairs]
        both = [(a, b) for a, b in values if a is not None and b is not None]
        if both:
            found[k] = paired_difference([a for a, _ in both], [b for _, b in both])
    return found


def _duel(one: ProblemResult, other: ProblemResult) -> Duel:
    (graded, right), (other_graded, other_right) = one.counts, other.counts
    return Duel(
        problem=one.problem,
        prompt=one.prompt,
        level=one.level,
        one=one.counts,
        other=other.counts,
        difference=other_right / other_graded - right / graded if graded and other_graded else None,
    )


def _largest_first(duel: Duel) -> tuple[bool, float]:
    return not duel.difference, 0.0 if duel.difference is None else duel.difference


Counts = Mapping[str, tuple[int, int]]
"""Problem -> (graded completions, right ones)."""


@dataclass(frozen=True)
class Gate:
    """What the comparison in front of the registry says."""

    k: int
    difference: Estimate
    """Candidate minus champion."""
    p: float
    """Of the paired sign-flip test."""

    def finding(self, champion: str, candidate: str) -> Finding:
        """For the verdict, with the names that it is told by."""
        return _finding(f"Pass@{self.k}", self.difference, self.p, champion, candidate)

    @property
    def passed(self) -> bool:
        """The candidate is better, as `lens compare` would say of the two."""
        return self.finding("", "").claim is Claim.BETTER


def gate(champion: Counts, candidate: Counts, k: int) -> Gate:
    """Candidate minus champion in Pass@k, problem by problem: what `compare_results` says of their evaluations.

    Problems that either has fewer than `k` graded completions of are left out.

    Raises:
        ValueError: if they were not evaluated on the same problems, or no problem can be used.
    """
    if champion.keys() != candidate.keys():
        raise ValueError("champion and candidate were evaluated on different problems")
    pairs = [(before, candidate[problem]) for problem, before in champion.items()]
    values = [(pass_at_k(*before, k), pass_at_k(*of, k)) for before, of in pairs if min(before[0], of[0]) >= k]
    if not values:
        raise ValueError(f"no problem has {k} graded completions of both, so that their Pass@{k} cannot be compared")
    found = paired_difference([before for before, _ in values], [of for _, of in values])
    return Gate(k, found.difference, found.p)
