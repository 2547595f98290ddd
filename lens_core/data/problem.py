"""The one record type of the project and its JSON Lines form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from lens_core.files import replacing

MOST_CHARACTERS = 1_000_000
"""Of a question or an answer: what is longer was meant for another column."""


class Problem(BaseModel):
    """A question with a verifiable answer. One line of a problems file is one Problem as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_strip_whitespace=True)

    id: str = Field(min_length=1)
    """Unique within a file."""
    prompt: str = Field(min_length=1, max_length=MOST_CHARACTERS)
    """The question as a person would put it, without template or instruction."""
    answer: str = Field(min_length=1, max_length=MOST_CHARACTERS)
    """The gold answer: bare, in `$...$` or in `\\boxed{}`."""
    level: int | None = Field(None, ge=-(2**31), lt=2**31)
    """Difficulty, 1 (easiest) upwards; None where the source has no levels."""
    subject: str | None = None
    source: str
    """Where the problem comes from: `gsm8k`, `ladder`, a file name, ..."""
    solution: str | None = None
    """A worked solution, where the source has one."""
    entry: str | None = None
    """What the source's own verifier needs to know of the problem, as JSON (reasoning-gym)."""

    @property
    def gold(self) -> str:
        """What an answer is graded against."""
        return self.answer if self.entry is None else self.entry


def write_problems(problems: Iterable[Problem], path: Path) -> int:
    """Write `problems` as JSON Lines and return their number. The file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with replacing(path) as file:
        for problem in problems:
            file.write(problem.model_dump_json(exclude_none=True).encode() + b"\n")
            count += 1
    return count


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex: the identity of a data set in every run that used it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
