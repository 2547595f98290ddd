"""What a comparison says: decided and worded here, for every report, command and card that shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

from lens_core.evaluation.records import Record

SURE = 0.05
"""A difference is claimed where its p is below this, and its 95 % interval leaves out 0."""
LARGE = 0.05
"""The smallest difference on a level that is named beside the verdict on all problems."""
POLICIES = (
    "This is a statement about these policies on problems like these. One training seed says nothing about the "
    "methods: lens study compares methods over several."
)


class Claim(StrEnum):
    """What may be said of B against A."""

    BETTER = "better"
    WORSE = "worse"
    OPEN = "no significant difference"
    FEW = "too few"


class Finding(Record):
    """B minus A in one measure, over pairs of the same problem or the same seed; fractions in [-1, 1]."""

    one: str
    """Name of A."""
    other: str
    """Name of B."""
    measure: str
    """`Pass@1`, or a level's name."""
    mean: float
    low: float
    high: float
    """Ends of the paired 95 % interval; NaN where there is none."""
    p: float
    """Of the two-sided sign-flip test, corrected where the comparison is one of a family."""
    pairs: int
    unit: Literal["problems", "seeds"]
    few: bool
    """Rests on fewer pairs than anything may be claimed from."""

    @property
    def claim(self) -> Claim:
        """Test and interval have to agree, and there have to be pairs enough."""
        if self.few:
            return Claim.FEW
        if self.p >= SURE or self.low <= 0 <= self.high:
            return Claim.OPEN
        return Claim.BETTER if self.mean > 0 else Claim.WORSE

    @property
    def numbers(self) -> str:
        """`Pass@1 +1.2 pp [+0.3, +2.1], p = 0.012`"""
        interval = "" if math.isnan(self.low) else f" [{signed(self.low)}, {signed(self.high)}]"
        return f"{self.measure} {signed(self.mean)} pp{interval}, p = {self.p:.2g}"


class Verdict(Record):
    """A comparison in words."""

    lines: tuple[str, ...]
    """Sentences, the most important first."""
    scope: str
    """What they are a statement about."""

    @property
    def text(self) -> str:
        return " ".join(filter(None, (*self.lines, self.scope)))


def worded(findings: Sequence[Finding]) -> list[str]:
    """One sentence for each claim about several B's against the same A, in the same measure over the same pairs."""
    said = []
    for claim in Claim:
        found = [finding for finding in findings if finding.claim is claim]
        if found:
            several = len(found) > 1
            numbers = "; ".join(f"{each.other} {each.numbers}" if several else each.numbers for each in found)
            said.append(f"{_claimed(claim, found)}: {numbers} ({found[0].pairs} {found[0].unit}).")
    return said


def _claimed(claim: Claim, found: Sequence[Finding]) -> str:
    names, one, several = listed([each.other for each in found]), found[0].one, len(found) > 1
    verb = "are" if several else "is"
    return {
        Claim.BETTER: f"{names} {verb} better than {one}",
        Claim.WORSE: f"{names} {verb} worse than {one}",
        Claim.OPEN: f"No significant difference {f'from {one}' if several else f'between {names} and {one}'}",
        Claim.FEW: f"Too few {found[0].unit} to tell {names} from {one}",
    }[claim]


def large_effects(findings: Sequence[Finding]) -> list[str]:
    """A sentence on the parts where B is surely better or worse than A by `LARGE` or more, if there are any.

    Args:
        findings: of one A and B, a part of the problems each; their p corrected for their number.
    """
    sure = [f for f in findings if f.claim in (Claim.BETTER, Claim.WORSE) and abs(f.mean) >= LARGE]
    if not sure:
        return []
    parts = ", ".join(f"{each.measure} {signed(each.mean)} pp" for each in sure)
    return [f"{sure[0].other} against {sure[0].one} by level: {parts}."]


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`"""
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last


def signed(fraction: float) -> str:
    """In percentage points: `+1.2`"""
    return f"{100 * fraction:+.1f}"
