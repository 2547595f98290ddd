"""Verifiers by name: the built-in one, one of an installed package, or a function of your own by import path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import cache
from importlib.metadata import entry_points
from typing import Protocol

from lens_core.lookup import find_function, is_path
from lens_core.verify.grader import Grader, default_grader
from lens_core.verify.verdict import Verdict

BUILT_IN = "math"
GROUP = "lens_grpo.verifiers"
"""Entry points by which a package offers verifiers."""

Verify = Callable[[str, str], Verdict]
"""What a verifier is: (completion, gold answer) -> verdict, as `lens_core.verify.grade`."""


class Grading(Protocol):
    """What training and evaluation ask of a grader."""

    def grade_many(self, pairs: Iterable[tuple[str, str]]) -> list[Verdict]: ...

    def start(self, completion: str, answer: str) -> Future[Verdict]: ...


def verifier_path(name: str) -> str | None:
    """The import path that `name` stands for; None for the built-in verifier. Nothing is imported.

    Args:
        name: `math`, the name of an entry point in the group `lens_grpo.verifiers`, or `package.module:function`.

    Raises:
        ValueError: if it is none of these, on one line.
    """
    if name == BUILT_IN:
        return None
    if is_path(name):
        return name
    offered = entry_points(group=GROUP)
    if name not in offered.names:
        known = ", ".join([BUILT_IN, *sorted(offered.names)])
        raise ValueError(f"{name!r} is no verifier; choose from {known}, or give package.module:function")
    return f"{offered[name].module}:{offered[name].attr}"


def find_verifier(name: str) -> Verify | None:
    """The function that `name` stands for; None for the built-in verifier.

    Raises:
        ValueError: if there is none, on one line.
    """
    path = verifier_path(name)
    return None if path is None else find_function(path, "verifier")


@cache
def grader_for(name: str, answer_pattern: str | None = None, strict: bool = False) -> Grading:
    """The grader of a configuration's `verifier`, shared in this process; the others are for the built-in one.

    A function of the user's has one process: it may be none that runs beside itself.
    """
    path = verifier_path(name)
    return default_grader(answer_pattern, strict) if path is None else Grader(verifier=path)
