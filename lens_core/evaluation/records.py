"""What an evaluation writes: `rollouts.jsonl` (one ProblemResult a line) and `passk.json` (one PassKReport)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from lens_core.errors import LensError, first_line
from lens_core.evaluation.calibration import Calibration, calibration
from lens_core.evaluation.files import PASSK_FILE, ROLLOUTS_FILE
from lens_core.evaluation.passk import Estimate, majority_at_k, mean_over_problems, pass_at_k

SlicedBy = Literal["level", "subject", "source"]
SLICED_BY: tuple[SlicedBy, ...] = ("level", "subject", "source")


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
    token_logprobs: tuple[float, ...] | None = None
    """log-probability of each token, to three digits; None where they were not kept."""
    token_lengths: tuple[int, ...] | None = None
    """Characters of `text` that each token wrote, 0 for special tokens; None where that is not known."""


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

    @property
    def votes(self) -> tuple[int, tuple[int, ...]]:
        """(right completions, completions of each wrong answer): what a majority is decided by.

        Right answers are one answer, however they are written. Wrong ones are the same where the extracted answers are,
        but for white space; completions without an answer vote together, for none.
        """
        wrong = Counter(
            None if completion.extracted is None else "".join(completion.extracted.split())
            for completion in self.completions
            if completion.outcome == "wrong"
        )
        return self.counts[1], tuple(sorted(wrong.values()))

    def pass_at(self, k: int) -> float | None:
        """Pass@k of this problem; None with fewer than k graded completions."""
        graded, right = self.counts
        return pass_at_k(graded, right, k) if graded >= k else None

    def majority_at(self, k: int) -> float | None:
        """maj@k of this problem; None with fewer than k graded completions."""
        return majority_at_k(*self.votes, k) if self.counts[0] >= k else None


class Slice(Record):
    """Results on a part of the problems; all shares in [0, 1]."""

    problems: int
    overall: dict[int, Estimate]
    """Pass@k, by k."""
    majority: dict[int, Estimate]
    """maj@k, by k."""
    ungraded: float
    truncated: float
    mean_tokens: float
    calibration: Calibration | None
    """None where nothing was graded."""


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
    majority: dict[int, Estimate] = {}
    """maj@k, by k."""
    calibration: Calibration | None = None
    """None where nothing was graded."""
    slices: dict[SlicedBy, dict[str, Slice]] = {}
    """By level, subject and source, where the data has more than one of them."""


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
    completions = [completion for result in results for completion in result.completions]
    slices = {name: _slices(results, name, ks, seed) for name in SLICED_BY}
    whole = _slice(results, ks, seed)
    return PassKReport(
        model=label,
        data_digest=data_digest,
        n=n,
        ks=tuple(ks),
        problems=len(results),
        overall=whole.overall,
        levels={int(level): part.overall for level, part in slices["level"].items()},
        negative_groups=_share_negative(results),
        ungraded=whole.ungraded,
        truncated=whole.truncated,
        mean_tokens=whole.mean_tokens,
        confidence_right=_mean_confidence(completions, "correct"),
        confidence_wrong=_mean_confidence(completions, "wrong"),
        majority=whole.majority,
        calibration=whole.calibration,
        slices={name: parts for name, parts in slices.items() if len(parts) > 1},
    )


def read_evaluation(folder: Path) -> tuple[PassKReport, list[ProblemResult]]:
    """What a finished evaluation's folder holds.

    Raises:
        LensError: if it is none.
    """
    try:
        report = PassKReport.model_validate_json((folder / PASSK_FILE).read_text(encoding="utf-8"))
        return report, read_results(folder / ROLLOUTS_FILE)
    except OSError as error:
        raise LensError(
            f"{folder} holds no finished evaluation ({error.filename}: {error.strerror}): run `lens evaluate` with "
            f"-o {folder}"
        ) from error
    except ValidationError as error:
        raise LensError(f"{folder} holds no evaluation that can be read: {first_line(error)}") from error


def read_results(path: Path) -> list[ProblemResult]:
    """The lines of a `rollouts.jsonl`."""
    with path.open(encoding="utf-8") as file:
        return [ProblemResult.model_validate_json(line) for line in file]


def _slices(results: Sequence[ProblemResult], name: SlicedBy, ks: Sequence[int], seed: int) -> dict[str, Slice]:
    """By the value of a field, in its order; problems without a value are in no slice."""
    values = sorted({getattr(result, name) for result in results} - {None})
    return {
        str(value): _slice([result for result in results if getattr(result, name) == value], ks, seed)
        for value in values
    }


def _slice(results: Sequence[ProblemResult], ks: Sequence[int], seed: int) -> Slice:
    completions = [completion for result in results for completion in result.completions]
    graded = [completion for completion in completions if completion.outcome != "ungraded"]
    return Slice(
        problems=len(results),
        overall=_estimates(results, ks, ProblemResult.pass_at, seed),
        majority=_estimates(results, ks, ProblemResult.majority_at, seed),
        ungraded=1 - len(graded) / len(completions),
        truncated=float(np.mean([completion.truncated for completion in completions])),
        mean_tokens=float(np.mean([completion.tokens for completion in completions])),
        calibration=calibration(
            [completion.confidence for completion in graded], [completion.outcome == "correct" for completion in graded]
        ),
    )


def _estimates(
    results: Sequence[ProblemResult], ks: Sequence[int], value: Callable[[ProblemResult, int], float | None], seed: int
) -> dict[int, Estimate]:
    values = {k: [each for result in results if (each := value(result, k)) is not None] for k in ks}
    return {k: mean_over_problems(of, seed) for k, of in values.items() if of}


def _share_negative(results: Sequence[ProblemResult]) -> float:
    graded = [correct for n, correct in (result.counts for result in results) if n > 0]
    return float(np.mean([correct == 0 for correct in graded])) if graded else 0.0


def _mean_confidence(completions: Sequence[Completion], outcome: str) -> float | None:
    values = [completion.confidence for completion in completions if completion.outcome == outcome]
    return float(np.mean(values)) if values else None
