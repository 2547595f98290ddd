"""What grading an answer can come to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from lens_core.verify.boxes import MAX_ANSWER_CHARS
from lens_core.verify.extract import Found, Way


class Outcome(StrEnum):
    CORRECT = "correct"
    WRONG = "wrong"
    UNGRADED = "ungraded"
    """The fault of the gold answer or of the grader. Not a wrong answer: it leaves its group's statistics."""


@dataclass(frozen=True)
class Verdict:
    """Outcome of grading one completion."""

    outcome: Outcome
    extracted: str | None
    """The answer that was found in the completion; None if there was none, or it was never looked for."""
    reason: str
    """Why, in a few words: `equal`, `not equal`, `no answer found`, `time-out after 5 s`, ..."""
    found_by: Way | None = None
    """How it was found; None where it was not."""

    @property
    def reward(self) -> float | None:
        """1.0 for CORRECT, 0.0 for WRONG, None (TRL's word for unscorable) for UNGRADED."""
        return {Outcome.CORRECT: 1.0, Outcome.WRONG: 0.0, Outcome.UNGRADED: None}[self.outcome]


def unread(found: Found | None, answer: str) -> Verdict | None:
    """The verdict on an answer that is not read at all: there is none, or too much of it. Else None."""
    if found is None:
        return Verdict(Outcome.WRONG, None, "no answer found")
    if len(found.text) > MAX_ANSWER_CHARS:
        reason = f"an answer of {len(found.text):,} characters or more; up to {MAX_ANSWER_CHARS:,} are read"
        outcome = Outcome.WRONG if len(answer) <= MAX_ANSWER_CHARS else Outcome.UNGRADED
        return Verdict(outcome, found.text[:100] + "...", reason, found.way)
    return None


_NUMBER = re.compile(r"(?:\\(?:[dtc]?frac|sqrt|pi|boxed|cdot|times|%|\$)|\\text\{[^{}]*\}|[\s\d.,/+*^%$(){}-]){1,60}")


def beyond_limits(answer: str) -> Outcome:
    """The outcome where an answer takes too long, or is too large: no way out where a short number is asked for."""
    return Outcome.WRONG if _NUMBER.fullmatch(answer) and re.search(r"\d", answer) else Outcome.UNGRADED
