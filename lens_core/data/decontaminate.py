"""Removal of training problems that are also test problems."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from lens_core.data.problem import Problem


def normalised(prompt: str) -> str:
    """A prompt without what does not change its meaning: case, spacing, Unicode compatibility forms."""
    return " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())


def distinct(problems: Iterable[Problem]) -> list[Problem]:
    """The first problem of each normalised prompt, in the given order."""
    seen: dict[str, Problem] = {}
    for problem in problems:
        seen.setdefault(normalised(problem.prompt), problem)
    return list(seen.values())


def without_overlap(train: Sequence[Problem], test: Sequence[Problem]) -> list[Problem]:
    """The training problems whose normalised prompt is not that of a test problem."""
    held_out = {normalised(problem.prompt) for problem in test}
    return [problem for problem in train if normalised(problem.prompt) not in held_out]
