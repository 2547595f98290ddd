"""From graded completions to the summary of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from lens_core.evaluation.metrics import METRICS, METRICS_BY_K, MetricByK, calibration_of
from lens_core.evaluation.passk import Estimate, mean_over_problems
from lens_core.evaluation.records import SLICED_BY, PassKReport, ProblemResult, Slice, SlicedBy


def summarise(label: str, data_digest: str, results: Sequence[ProblemResult], n: int, ks: Sequence[int]) -> PassKReport:
    """Aggregate graded completions; intervals are those of `mean_over_problems`.

    A k for which no problem (of a level) has k graded completions has no estimate and is left out of its mapping.

    Raises:
        ValueError: if `results` is empty.
    """
    if not results:
        raise ValueError("results is empty: there is nothing to summarise")
    slices = {name: _slices(results, name, ks) for name in SLICED_BY}
    return PassKReport(
        model=label,
        data_digest=data_digest,
        n=n,
        ks=tuple(ks),
        levels={int(level): part.overall for level, part in slices["level"].items()},
        slices={name: parts for name, parts in slices.items() if len(parts) > 1},
        **dict(_slice(results, ks)),
    )


def _slices(results: Sequence[ProblemResult], name: SlicedBy, ks: Sequence[int]) -> dict[str, Slice]:
    """By the value of a field, in its order; problems without a value are in no slice."""
    values = sorted({getattr(result, name) for result in results} - {None})
    return {
        str(value): _slice([result for result in results if getattr(result, name) == value], ks) for value in values
    }


def _slice(results: Sequence[ProblemResult], ks: Sequence[int]) -> Slice:
    calibrated = calibration_of(results)
    return Slice(
        problems=len(results),
        by_k={metric.name: _estimates(metric, results, ks) for metric in METRICS_BY_K},
        values={metric.name: metric.of(results) for metric in METRICS},
        reliability=() if calibrated is None else calibrated.bins,
    )


def _estimates(metric: MetricByK, results: Sequence[ProblemResult], ks: Sequence[int]) -> dict[int, Estimate]:
    values = {k: [each for result in results if (each := metric.per_problem(result, k)) is not None] for k in ks}
    return {k: mean_over_problems(of) for k, of in values.items() if of}
