"""What grading an answer can come to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lens_core.verify.extract import MAX_ANSWER_CHARS


class Outcome(StrEnum):
    CORRECT = "correct"
    WRONG = "wrong"
    UNGRADED = "ungraded"
    """The grader crashed or ran out of time. Not a wrong answer: it leaves its group's statistics."""


@dataclass(frozen=True)
class Verdict:
    """Outcome of grading one completion."""

    outcome: Outcome
    extracted: str | None
    """The answer that was found in the completion; None if there was none, or it was never looked for."""
    reason: str
    """Why, in a few words: `equal`, `not equal`, `no answer found`, `time-out after 5 s`, ..."""

    @property
    def reward(self) -> float | None:
        """1.0 for CORRECT, 0.0 for WRONG, None (TRL's word for unscorable) for UNGRADED."""
        return {Outcome.CORRECT: 1.0, Outcome.WRONG: 0.0, Outcome.UNGRADED: None}[self.outcome]


def unread(extracted: str | None) -> Verdict | None:
    """The verdict on an answer that is not read at all: there is none, or too much of it. Else None."""
    if extracted is None:
        return Verdict(Outcome.WRONG, None, "no answer found")
    if len(extracted) > MAX_ANSWER_CHARS:
        reason = f"an answer of {len(extracted):,} characters or more; up to {MAX_ANSWER_CHARS:,} are read"
        return Verdict(Outcome.UNGRADED, extracted[:100] + "...", reason)
    return None
