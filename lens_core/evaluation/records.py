"""What an evaluation writes: `rollouts.jsonl` (one ProblemResult a line) and `passk.json` (one PassKReport)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from lens_core.passk import Estimate, mean_pass_at_k


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Completion(Record):
    """One sampled answer with its verdict."""

    text: str
    outcome: Literal["correct", "wrong", "ungraded"]
    reason: str
    extracted: str | None
    confidence: float
    """Length-normalised probability, in (0, 1]."""
    tokens: int
    truncated: bool
    """Cut off by the token limit."""


class ProblemResult(Record):
    """All completions of one problem."""

    problem: str
    """Problem.id"""
    prompt: str
    answer: str
    level: int | None
    subject: str | None
    source: str
    completions: tuple[Completion, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """(graded completions, right ones): an ungraded answer is not a wrong one."""
        outcomes = [completion.outcome for completion in self.completions]
        return len(outcomes) - outcomes.count("ungraded"), outcomes.count("correct")


class PassKReport(Record):
    """Pass@k of one model on one data set; all shares in [0, 1]."""

    model: str
    """Label in tables."""
    data_digest: str
    """SHA-256 of the problems file."""
    n: int
    ks: tuple[int, ...]
    problems: int
    overall: dict[int, Estimate]
    """By k."""
    levels: dict[int, dict[int, Estimate]]
    """By level, then by k; empty where the data has no levels."""
    negative_groups: float
    """Share of problems without a right answer, among those with a graded one; 0 where nothing was graded."""
    ungraded: float
    """Share of completions."""
    truncated: float
    """Share of completions."""
    mean_tokens: float
    confidence_right: float | None
    """Mean confidence of right answers; None where there is none."""
    confidence_wrong: float | None


def summarise(
    label: str, data_digest: str, results: Sequence[ProblemResult], n: int, ks: Sequence[int], seed: int = 0
) -> PassKReport:
    """Aggregate graded completions; intervals are 95 % bootstrap intervals over problems.

    A k for which no problem (of a level) has k graded completions has no estimate and is left out of its mapping.

    Raises:
        ValueError: if `results` is empty.
    """
    if not results:
        raise ValueError("results is empty: there is nothing to summarise")
    levels = sorted({result.level for result in results if result.level is not None})
    completions = [completion for result in results for completion in result.completions]
    return PassKReport(
        model=label,
        data_digest=data_digest,
        n=n,
        ks=tuple(ks),
        problems=len(results),
        overall=_estimates(results, ks, seed),
        levels={level: _estimates([r for r in results if r.level == level], ks, seed) for level in levels},
        negative_groups=_share_negative(results),
        ungraded=float(np.mean([completion.outcome == "ungraded" for completion in completions])),
        truncated=float(np.mean([completion.truncated for completion in completions])),
        mean_tokens=float(np.mean([completion.tokens for completion in completions])),
        confidence_right=_mean_confidence(completions, "correct"),
        confidence_wrong=_mean_confidence(completions, "wrong"),
    )


def read_results(path: Path) -> list[ProblemResult]:
    """The lines of a `rollouts.jsonl`."""
    with path.open(encoding="utf-8") as file:
        return [ProblemResult.model_validate_json(line) for line in file]


def _estimates(results: Sequence[ProblemResult], ks: Sequence[int], seed: int) -> dict[int, Estimate]:
    counts = [result.counts for result in results]
    return {k: mean_pass_at_k(counts, k, seed) for k in ks if any(n >= k for n, _ in counts)}


def _share_negative(results: Sequence[ProblemResult]) -> float:
    graded = [correct for n, correct in (result.counts for result in results) if n > 0]
    return float(np.mean([correct == 0 for correct in graded])) if graded else 0.0


def _mean_confidence(completions: Sequence[Completion], outcome: str) -> float | None:
    values = [completion.confidence for completion in completions if completion.outcome == outcome]
    return float(np.mean(values)) if values else None
