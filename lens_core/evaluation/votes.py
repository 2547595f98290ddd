"""Which wrong answers to a problem are the same: a majority vote counts them as it counts right ones, by equality."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from lens_core.evaluation.records import spelled
from lens_core.verify import Outcome, Verdict
from lens_core.verify.plugin import Grading


def wrong_votes(
    grader: Grading, texts: Sequence[Sequence[str]], verdicts: Sequence[Sequence[Verdict]]
) -> list[list[int | None]]:
    """For each problem, the number of each completion's wrong answer; None of completions that are not wrong.

    Equal answers have one number: those that are spelled alike, those of completions without any, and others where the
    verifier, given the first as the gold answer, calls the completion with the second right.

    Args:
        texts: completions of each problem.
        verdicts: on them.
    """
    first_of = [_first_of_each_spelling(of) for of in verdicts]
    pairs = [
        (problem, one, other)
        for problem, firsts in enumerate(first_of)
        for one, other in combinations([place for spelling, place in firsts.items() if spelling is not None], 2)
    ]
    graded = grader.grade_many((texts[p][other], str(verdicts[p][one].extracted)) for p, one, other in pairs)
    same = {pair for pair, verdict in zip(pairs, graded, strict=True) if verdict.outcome is Outcome.CORRECT}
    found = []
    for problem, (of, firsts) in enumerate(zip(verdicts, first_of, strict=True)):
        number: dict[int, int] = {}  # of the first completion of each spelling
        for other in firsts.values():
            equal = (number[one] for one in number if (problem, one, other) in same)
            number[other] = next(equal, len(set(number.values())))
        found.append(
            [number[firsts[spelled(each.extracted)]] if each.outcome is Outcome.WRONG else None for each in of]
        )
    return found


def _first_of_each_spelling(verdicts: Sequence[Verdict]) -> dict[str | None, int]:
    """Wrong answer -> the first completion that gave it."""
    firsts: dict[str | None, int] = {}
    for place, verdict in enumerate(verdicts):
        if verdict.outcome is Outcome.WRONG:
            firsts.setdefault(spelled(verdict.extracted), place)
    return firsts
