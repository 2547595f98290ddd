"""Verifiers by name: the built-in one, one of an installed package, or a function of your own by import path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib.metadata import entry_points
from typing import Protocol

from lens_core.lookup import find_function
from lens_core.verify.grader import default_grader
from lens_core.verify.verdict import Outcome, Verdict

BUILT_IN = "math"
GROUP = "lens_grpo.verifiers"
"""Entry points by which a package offers verifiers."""

Verify = Callable[[str, str], Verdict]
"""What a verifier is: (completion, gold answer) -> verdict, as `lens_core.verify.grade`."""


class Grading(Protocol):
    """What training and evaluation ask of a grader."""

    def grade_many(self, pairs: Iterable[tuple[str, str]]) -> list[Verdict]: ...

    def start(self, completion: str, answer: str) -> Future[Verdict]: ...


class FunctionGrader:
    """Grades by a function of the user's, in a thread of this process; what it raises makes an answer UNGRADED."""

    def __init__(self, verify: Verify) -> None:
        self._verify = verify
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="verifier")

    def start(self, completion: str, answer: str) -> Future[Verdict]:
        """Begin to grade without waiting."""
        return self._thread.submit(self._guarded, completion, answer)

    def grade_many(self, pairs: Iterable[tuple[str, str]]) -> list[Verdict]:
        """Verdicts of (completion, answer) pairs, in their order."""
        return [verdict.result() for verdict in [self.start(*pair) for pair in pairs]]

    def _guarded(self, completion: str, answer: str) -> Verdict:
        try:
            verdict = self._verify(completion, answer)
        except Exception as error:  # a crash of the grader is a verdict: UNGRADED, with its reason
            return Verdict(Outcome.UNGRADED, None, f"the verifier failed: {type(error).__name__}: {error}")
        if not isinstance(verdict, Verdict):
            reason = f"the verifier returned {type(verdict).__name__}, not a lens_core.verify.Verdict"
            return Verdict(Outcome.UNGRADED, None, reason)
        return verdict


def find_verifier(name: str) -> Verify | None:
    """The function that `name` stands for; None for the built-in verifier.

    Args:
        name: `math`, the name of an entry point in the group `lens_grpo.verifiers`, or `package.module:function`.

    Raises:
        ValueError: if there is none, on one line.
    """
    if name == BUILT_IN:
        return None
    if not name.partition(":")[2]:
        offered = entry_points(group=GROUP)
        if name not in offered.names:
            known = ", ".join([BUILT_IN, *sorted(offered.names)])
            raise ValueError(f"{name!r} is no verifier; choose from {known}, or give package.module:function")
        name = f"{offered[name].module}:{offered[name].attr}"
    return find_function(name, "verifier")


@cache
def grader_for(name: str, answer_pattern: str | None = None) -> Grading:
    """The grader of a configuration's `verifier`, shared in this process; the built-in one takes `answer_pattern`."""
    verify = find_verifier(name)
    return default_grader(answer_pattern) if verify is None else FunctionGrader(verify)
