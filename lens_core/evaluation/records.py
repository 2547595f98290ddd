"""What an evaluation writes: `rollouts.jsonl` (one ProblemResult a line) and `passk.json` (one PassKReport)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from lens_core.errors import LensError
from lens_core.evaluation.calibration import Bin, Calibration
from lens_core.evaluation.files import PASSK_FILE, ROLLOUTS_FILE
from lens_core.evaluation.passk import Estimate, majority_at_k, pass_at_k
from lens_core.files import require_regular

SlicedBy = Literal["level", "subject", "source"]
SLICED_BY: tuple[SlicedBy, ...] = ("level", "subject", "source")
PASS_AT, MAJ_AT = "pass_at", "maj_at"
"""Pass@k and maj@k in `Slice.by_k`."""
_FORMER_KEYS = ("negative_groups", "ungraded", "truncated", "mean_tokens", "confidence_right", "confidence_wrong")


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Completion(Record):
    """One sampled answer with its verdict."""

    text: str
    outcome: Literal["correct", "wrong", "ungraded"]
    reason: str
    extracted: str | None
    vote: int | None = None
    """Of a wrong answer: which of its problem's; equal answers, as the verifier sees it, have one number. None: by
    spelling, in files of before.
    """
    confidence: float
    """Length-normalised probability, in (0, 1]."""
    tokens: int
    truncated: bool
    """Cut off by the token limit."""
    token_logprobs: tuple[float, ...] | None = None
    """log-probability of each token, to three digits; None where they were not kept."""
    token_lengths: tuple[int, ...] | None = None
    """Characters of `text` that each token wrote, 0 for special tokens; None where that is not known."""


def spelled(extracted: str | None) -> str | None:
    """An answer without its white space; None of no answer."""
    return None if extracted is None else "".join(extracted.split())


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

        Right answers are one answer, however they are written, and so are wrong ones that the verifier takes for each
        other; completions without an answer vote together, for none.
        """
        wrong = Counter(
            spelled(completion.extracted) if completion.vote is None else completion.vote
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
    """Results on a set of problems; what the metrics are is said in `metrics.py`."""

    problems: int
    by_k: dict[str, dict[int, Estimate]]
    """Metric -> k -> its mean over problems; fractions in [0, 1]."""
    values: dict[str, float | None]
    """Metric -> its value; None where there was nothing to compute it from."""
    reliability: tuple[Bin, ...] = ()
    """The reliability table of confidence; empty where nothing was graded."""

    @property
    def overall(self) -> dict[int, Estimate]:
        """Pass@k, by k."""
        return self.by_k.get(PASS_AT, {})

    @model_validator(mode="before")
    @classmethod
    def _from_separate_keys(cls, data: Any) -> Any:
        """Accept the format of before, in which each metric had a key of its own."""
        if not isinstance(data, Mapping) or "overall" not in data:
            return data
        old = dict(data)
        held = old.pop("calibration", None)
        calibrated = None if held is None else Calibration.model_validate(held)
        values = {name: old.pop(name) for name in _FORMER_KEYS if name in old}
        if calibrated is not None:
            values |= {"ece": calibrated.ece, "auroc": calibrated.auroc}
        return {
            "by_k": {PASS_AT: old.pop("overall"), MAJ_AT: old.pop("majority", {})},
            "values": values,
            "reliability": () if calibrated is None else calibrated.bins,
            **old,
        }


class PassKReport(Slice):
    """One model on one data set."""

    model: str
    """Label in tables."""
    data_digest: str
    """SHA-256 of the problems file."""
    n: int
    ks: tuple[int, ...]
    levels: dict[int, dict[int, Estimate]]
    """Pass@k by level, then by k; empty where the data has no levels."""
    slices: dict[SlicedBy, dict[str, Slice]] = {}
    """By level, subject and source, where the data has more than one of them."""

    @property
    def few(self) -> bool:
        """An estimate, of a level or another slice perhaps, rests on few problems."""
        parts = (self, *chain.from_iterable(parts.values() for parts in self.slices.values()))
        by_k = (*self.levels.values(), *chain.from_iterable(part.by_k.values() for part in parts))
        return any(estimate.few for of in by_k for estimate in of.values())


def read_report(folder: Path) -> PassKReport:
    """The `passk.json` of an evaluation's folder.

    Raises:
        LensError: if it is missing, empty, torn, or holds something else.
    """
    path = folder / PASSK_FILE
    require_regular(path)
    try:
        return PassKReport.model_validate_json(path.read_bytes())
    except OSError as error:
        raise LensError(
            f"{folder} holds no finished evaluation ({path}: {error.strerror}): run `lens evaluate` with -o {folder}"
        ) from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        said = " ".join([".".join(map(str, first["loc"])), first["msg"]]).strip()
        raise LensError(
            f"{folder} holds no evaluation that can be read ({path}: {said}): "
            f"run the same `lens evaluate` again, which writes it anew"
        ) from error


def read_evaluation(folder: Path) -> tuple[PassKReport, list[ProblemResult]]:
    """What a finished evaluation's folder holds.

    Raises:
        LensError: if it is none, or one of its files is damaged.
    """
    return read_report(folder), read_results(folder / ROLLOUTS_FILE)


def read_results(path: Path) -> list[ProblemResult]:
    """The lines of a `rollouts.jsonl`.

    Raises:
        LensError: if it is missing or damaged.
    """
    require_regular(path)
    try:
        with path.open("rb") as file:
            return [parse_result(line, f"{path}:{number}") for number, line in enumerate(file, start=1)]
    except OSError as error:
        raise LensError(f"{path} cannot be read ({error.strerror}): run `lens evaluate` first") from error


def parse_result(line: bytes, place: str) -> ProblemResult:
    """A line of `rollouts.jsonl`.

    Raises:
        LensError: naming `place`.
    """
    try:
        return ProblemResult.model_validate_json(line)
    except ValidationError as error:
        raise LensError(f"{place} is no result of a problem: delete the file, and evaluate again") from error
