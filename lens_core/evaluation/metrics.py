"""The metrics of an evaluation, each defined once: summaries compute all of them, and whatever shows results loops over
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np

from lens_core.evaluation.calibration import Calibration, calibration
from lens_core.evaluation.records import MAJ_AT, PASS_AT, Completion, PassKReport, ProblemResult, Slice


@dataclass(frozen=True)
class MetricByK:
    """A metric of each problem and k: its mean over problems has an interval, and evaluations are compared by it."""

    name: str
    """Key in `passk.json`; with the k, `pass_at_4`, the name in MLflow and KFP."""
    title: str
    """In tables, before the k: `Pass@` for `Pass@4`."""
    per_problem: Callable[[ProblemResult, int], float | None]
    """None where the problem has no estimate."""


@dataclass(frozen=True)
class Metric:
    """A number for a set of problems."""

    name: str
    """Key in `passk.json`, and the name in MLflow and KFP."""
    title: str
    """In tables."""
    of: Callable[[Sequence[ProblemResult]], float | None]
    """None where there is nothing to compute it from."""
    unit: Literal["percent", "tokens", "plain"]
    column: bool = True
    """Whether tables with a row for each model or slice have room for it; everything else shows all metrics."""

    def text(self, value: float | None) -> str:
        """`12.5 %`, `31.4` tokens or `0.123`; a dash for None."""
        if value is None:
            return "–"
        return {"percent": f"{100 * value:.1f} %", "tokens": f"{value:.1f}", "plain": f"{value:.3f}"}[self.unit]


def in_words(results: Slice) -> str:
    """All metrics that are not by k, on one line."""
    return " · ".join(f"{each.title} {each.text(results.values.get(each.name))}" for each in METRICS)


MOST_CUT_OFF = 0.1
"""The fraction of completions from which on a limit on their length is warned of."""


def cut_off_warning(results: PassKReport) -> str | None:
    """A line about an evaluation whose token limit cut off many completions, with the value to change."""
    share = results.values.get("truncated") or 0.0
    if share <= MOST_CUT_OFF:
        return None
    return (
        f"{100 * share:.0f} % of the completions of {results.model} were cut off: Pass@k counts most of them as "
        "incorrect. Raise evaluation.max_new_tokens."
    )


def calibration_of(results: Sequence[ProblemResult]) -> Calibration | None:
    """Over the graded completions; None without any."""
    graded = [completion for completion in _completions(results) if completion.outcome != "ungraded"]
    return calibration([each.confidence for each in graded], [each.outcome == "correct" for each in graded])


def _completions(results: Sequence[ProblemResult]) -> list[Completion]:
    return list(chain.from_iterable(result.completions for result in results))


def _negative_groups(results: Sequence[ProblemResult]) -> float:
    """Fraction of problems without a correct completion, among those with a graded one; 0 where nothing was graded."""
    graded = [correct for n, correct in (result.counts for result in results) if n > 0]
    return float(np.mean([correct == 0 for correct in graded])) if graded else 0.0


def _ungraded(results: Sequence[ProblemResult]) -> float:
    return float(np.mean([completion.outcome == "ungraded" for completion in _completions(results)]))


def _truncated(results: Sequence[ProblemResult]) -> float:
    return float(np.mean([completion.truncated for completion in _completions(results)]))


def _mean_tokens(results: Sequence[ProblemResult]) -> float:
    return float(np.mean([completion.tokens for completion in _completions(results)]))


def _mean_confidence(outcome: str) -> Callable[[Sequence[ProblemResult]], float | None]:
    def mean(results: Sequence[ProblemResult]) -> float | None:
        values = [completion.confidence for completion in _completions(results) if completion.outcome == outcome]
        return float(np.mean(values)) if values else None

    return mean


def _ece(results: Sequence[ProblemResult]) -> float | None:
    found = calibration_of(results)
    return None if found is None else found.ece


def _auroc(results: Sequence[ProblemResult]) -> float | None:
    found = calibration_of(results)
    return None if found is None else found.auroc


METRICS_BY_K = (
    MetricByK(PASS_AT, "Pass@", ProblemResult.pass_at),
    MetricByK(MAJ_AT, "maj@", ProblemResult.majority_at),
)
"""The first is what reports, gates and studies go by."""
METRICS = (
    Metric("negative_groups", "Negative groups", _negative_groups, "percent"),
    Metric("mean_tokens", "Tokens", _mean_tokens, "tokens"),
    Metric("truncated", "Truncated", _truncated, "percent"),
    Metric("ungraded", "Ungraded", _ungraded, "percent"),
    Metric("ece", "ECE", _ece, "plain"),
    Metric("auroc", "AUROC", _auroc, "plain", column=False),
    Metric("confidence_right", "Confidence if correct", _mean_confidence("correct"), "plain", column=False),
    Metric("confidence_wrong", "Confidence if wrong", _mean_confidence("wrong"), "plain", column=False),
)
