"""What `data.json` says of a prepared folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lens_core.errors import LensError
from lens_core.files import require_regular

SUMMARY_FILE = "data.json"
LENGTH_STEP, LONGEST = 100, 3000
"""Prompts are counted by length in steps of so many characters; the last step holds all that are longer."""


class Part(BaseModel):
    """Problems of one split, counted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    problems: int
    levels: dict[str, int]
    """By level; `none` where the source has no levels."""
    subjects: dict[str, int]
    sources: dict[str, int]
    """By Problem.source."""
    lengths: dict[int, int]
    """By length of the prompt in characters: first length of each step."""
    with_solution: int


class Source(BaseModel):
    """One source, and what became of its rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str
    """`train`, `test`, or `against`."""
    kind: str
    path: str | None
    licence: str
    rows: int
    """Sound ones."""
    taken: int
    """Problems that it gave, before hold-outs."""
    asked: int | None
    """`limit`; a source may have fewer."""


class DataSummary(BaseModel):
    """What `data.json` says of a prepared folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int
    """Problems to train on."""
    test: int
    """Problems to evaluate on."""
    validation: int = 0
    """Problems that a sweep compares its trials on."""
    train_levels: dict[str, int]
    """Training problems by level; `none` where the source has no levels."""
    test_levels: dict[str, int]
    duplicates_removed: int
    """Problems whose prompt had come before in the same split."""
    conflicting: int = 0
    """Those of `duplicates_removed` whose answer was not the first one's."""
    conflicts: tuple[str, ...] = ()
    """The first of them: `ID (ANSWER) and ID (ANSWER)`."""
    overlap_removed: int
    """Training problems that were also evaluation problems, word for word or nearly so."""
    near_removed: int = 0
    """Those of `overlap_removed` that were near duplicates."""
    left_out: dict[str, int] = {}
    """Sound rows that were not taken, by reason."""
    bad_rows: int
    """Rows written aside to `bad_rows.jsonl`."""
    unreadable: int = 0
    """Problems whose gold answer the built-in verifier cannot read, listed in `unreadable.jsonl`: their completions are
    UNGRADED."""
    train_digest: str
    """SHA-256 of the file of training problems."""
    test_digest: str
    validation_digest: str | None = None
    """None without validation problems."""
    sources: tuple[Source, ...] = ()
    parts: dict[str, Part] = {}
    """By split."""

    @property
    def conflicts_in_words(self) -> str:
        """`2 problems came again with another answer, and the first was kept: a (1) and b (2), ...`"""
        more = ", ..." if self.conflicting > len(self.conflicts) else ""
        plural = "problem" if self.conflicting == 1 else "problems"
        return (
            f"{self.conflicting:,} {plural} came again with another answer, and the first was kept: "
            f"{'; '.join(self.conflicts)}{more}"
        )


class Tally:
    """Counts problems as they pass."""

    def __init__(self) -> None:
        self.problems = self.with_solution = 0
        self.levels: Counter[str] = Counter()
        self.subjects: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.lengths: Counter[int] = Counter()

    def add(self, problem: dict[str, Any]) -> None:
        """A problem as it is written."""
        self.problems += 1
        self.with_solution += "solution" in problem
        self.levels[str(problem.get("level", "none"))] += 1
        self.subjects[problem.get("subject", "none")] += 1
        self.sources[problem["source"]] += 1
        self.lengths[min(len(problem["prompt"]), LONGEST) // LENGTH_STEP * LENGTH_STEP] += 1

    def part(self) -> Part:
        return Part(
            problems=self.problems,
            levels=dict(sorted(self.levels.items())),
            subjects=dict(self.subjects.most_common()),
            sources=dict(self.sources.most_common()),
            lengths=dict(sorted(self.lengths.items())),
            with_solution=self.with_solution,
        )


def read_summary(folder: Path) -> DataSummary:
    """The `data.json` of a prepared folder."""
    path = folder / SUMMARY_FILE
    require_regular(path)
    try:
        return DataSummary.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise LensError(f"{folder} holds no prepared data ({SUMMARY_FILE}): run `lens data prepare` first") from error
