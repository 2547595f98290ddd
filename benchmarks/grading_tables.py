"""Counts of verdicts, and rates beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.grading_cases import Case
from lens_core.verify import Outcome

_CONSOLE = Console(width=150)


class Rate(NamedTuple):
    """Hits among trials, with the 95 % interval of Clopper and Pearson."""

    hits: int
    trials: int

    @property
    def interval(self) -> tuple[float, float]:
        from scipy.stats import binomtest

        low, high = binomtest(self.hits, self.trials).proportion_ci(method="exact")
        return float(low), float(high)

    def __str__(self) -> str:
        if self.trials == 0:
            return "0 of 0"
        low, high = self.interval
        return f"{self.hits} of {self.trials}, {self.hits / self.trials:.1%} [{low:.1%}, {high:.1%}]"


class Tally(NamedTuple):
    """What a grader made of labelled cases."""

    wrong: Rate
    """Verdicts against the label, of all."""
    false_accepts: Rate
    """Accepted, of those that are incorrect."""
    false_rejects: Rate
    """Not accepted, of those that are correct."""
    ungraded: int


def tally(cases: Sequence[Case], outcomes: Sequence[Outcome], reads_prose: bool = True) -> Tally:
    """Verdicts against labels; a grader that does not read prose must reject what only prose says."""
    false_accepts = false_rejects = undecided = correct = incorrect = 0
    for case, outcome in zip(cases, outcomes, strict=True):
        expected = case.expected_by(reads_prose)
        if expected is None:  # correct, or not to be told
            undecided += outcome is Outcome.WRONG
        elif expected:
            correct += 1
            false_rejects += outcome is not Outcome.CORRECT
        else:
            incorrect += 1
            false_accepts += outcome is Outcome.CORRECT
    return Tally(
        Rate(false_accepts + false_rejects + undecided, len(cases)),
        Rate(false_accepts, incorrect),
        Rate(false_rejects, correct),
        sum(outcome is Outcome.UNGRADED for outcome in outcomes),
    )


def print_tallies(title: str, tallies: Mapping[str, Tally], milliseconds: Mapping[str, float]) -> None:
    columns = ("wrong", "false accepts of incorrect", "false rejects of correct", "ungraded", "ms a pair")
    table = Table("grader", *columns, title=title)
    for name, each in tallies.items():
        table.add_row(
            name,
            *map(str, (each.wrong, each.false_accepts, each.false_rejects, each.ungraded)),
            f"{milliseconds[name]:.2f}",
        )
    _CONSOLE.print(table)


def print_by_category(cases: Sequence[Case], wrong: Mapping[str, Sequence[bool]]) -> None:
    """Wrong verdicts of each grader by the kind of answer."""
    table = Table("wrong verdicts by kind", "pairs", *wrong)
    for category in dict.fromkeys(case.category for case in cases):
        places = [place for place, case in enumerate(cases) if case.category == category]
        table.add_row(
            category, str(len(places)), *(str(sum(each[place] for place in places)) for each in wrong.values())
        )
    _CONSOLE.print(table)


def print_counts(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(*header, title=title)
    for row in rows:
        table.add_row(*row)
    _CONSOLE.print(table)
