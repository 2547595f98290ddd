"""Grading process: reads one JSON object a line from stdin, the first of which says how, answers with one on stdout.

Python can neither stop its own regular expressions and big integers nor bound their memory, and `signal.alarm` in a
library works on main threads only. Here the whole process is the guard: the kernel kills it when an answer's time is
up, whatever Python or C code it is in, and a memory limit ends what would fill the machine. The parent sees which, and
starts another. Patterns and verifiers of the user's run here too.
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from lens_core.lookup import described, find_function
from lens_core.processes import end_with_parent
from lens_core.verify import entry, expression
from lens_core.verify.equal import agree, is_unevaluated, too_many
from lens_core.verify.extract import Found, find_by_pattern
from lens_core.verify.gold import read_gold, readings
from lens_core.verify.structure import Expr, Node, TooComplexError
from lens_core.verify.verdict import Outcome, Verdict, beyond_limits, unread

MEMORY_LIMIT_BYTES = 2 << 30
"""Beyond what the process has once it is ready: what a verifier loads when it is imported is its own affair."""
Grade = Callable[[str, str], Verdict]
"""(What the parent has sent of a completion, gold answer) -> verdict."""


def judge(extracted: str, answer: str, strict: bool = False) -> tuple[str, str]:
    """Outcome and reason for an answer that was found in a completion, against the gold answer.

    Args:
        strict: refuse what is not worked out: the question repeated.
    """
    if entry.is_entry(answer):
        return entry.judge_entry(extracted, answer)
    golds, fault = read_gold(answer)
    outcome, reason = _compared(golds, extracted, answer, strict) if golds else ("wrong", "")
    if fault and outcome != "correct":
        return "ungraded", f"the gold answer {fault}: {answer[:50]!r}"
    return outcome, reason


def _compared(golds: tuple[Node, ...], extracted: str, answer: str, strict: bool) -> tuple[str, str]:
    try:
        answers = readings(extracted)
        if strict and any(is_unevaluated(found, gold) for gold, found in product(golds, answers)):
            return "wrong", "not worked out"
        if any(agree(gold, found) for gold, found in product(golds, answers)):
            return "correct", "equal"
    except expression.UnreadableError:
        return _unreadable(golds[0], extracted)
    except expression.TooLargeError:
        return _too_large(golds[0], answers[0], answer)
    except (RecursionError, MemoryError):
        return beyond_limits(answer).value, "nested too deeply, or too large"
    except TooComplexError as error:
        return ("ungraded" if too_many(golds) else "wrong"), f"the answer is {error}"
    return "wrong", "not equal"


def _unreadable(gold: Node, extracted: str) -> tuple[str, str]:
    """An answer that is no mathematics is wrong; where the gold answer is none, it cannot be told."""
    if isinstance(gold, Expr):
        try:
            expression.read(gold.latex)
        except (expression.UnreadableError, expression.TooLargeError):
            return "ungraded", "not the same text, and the gold answer cannot be read as mathematics"
    return "wrong", "the answer cannot be read as mathematics"


def _too_large(gold: Node, answer: Node, written: str) -> tuple[str, str]:
    """Large values are wrong where a short number is asked for, or they are surely larger; else it cannot be told."""
    bound = expression.rational(gold.latex) if isinstance(gold, Expr) else None
    if bound is not None and isinstance(answer, Expr) and expression.is_larger(answer.latex, bound):
        return "wrong", "far larger than the gold answer"
    return beyond_limits(written).value, f"a value of more than {expression.MAX_DIGITS:,} digits"


def grade_found(strict: bool, extracted: str, answer: str) -> Verdict:
    """The verdict on an answer that the parent has found."""
    outcome, reason = judge(extracted, answer, strict)
    return Verdict(Outcome(outcome), extracted, reason)


def grade_by_pattern(pattern: re.Pattern[str], strict: bool, text: str, answer: str) -> Verdict:
    """The verdict on the answer that `pattern` finds in `text`."""
    extracted = find_by_pattern(pattern, text)
    found = None if extracted is None else Found(extracted, "pattern")
    return unread(found, answer) or replace(grade_found(strict, str(extracted), answer), found_by="pattern")


def grade_by_function(verify: Callable[[str, str], Any], completion: str, answer: str) -> Verdict:
    """The verdict of a function of the user's; what it raises, and what is no verdict, makes an answer UNGRADED."""
    try:
        verdict = verify(completion, answer)
        if isinstance(verdict, Verdict):
            return Verdict(Outcome(verdict.outcome), verdict.extracted, verdict.reason)
    except Exception as error:
        return Verdict(Outcome.UNGRADED, None, f"the verifier failed: {described(error)}")
    reason = f"the verifier returned {type(verdict).__name__}, not a lens_core.verify.Verdict"
    return Verdict(Outcome.UNGRADED, None, reason)


def _made_ready(verifier: str | None, answer_pattern: str | None, strict: bool, path: list[str]) -> Grade:
    """What is asked for, with imports and first-use costs behind it: they are not on an answer's clock.

    Raises:
        ValueError: if the verifier cannot be imported.
    """
    if verifier is not None:
        sys.path += [folder for folder in path if folder not in sys.path]  # last: they replace nothing of Python's
        return partial(grade_by_function, find_function(verifier, "verifier"))
    logging.disable(logging.CRITICAL)
    judge("\\frac{x^2}{2}", "\\frac{x}{2}")
    if answer_pattern is None:
        return partial(grade_found, strict)
    return partial(grade_by_pattern, re.compile(answer_pattern), strict)


def main() -> None:
    """Serve until stdin ends. Each answer has its seconds; SIGALRM's default action ends the process."""
    end_with_parent()
    tasks, replies = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # what a verifier starts would read our tasks
    os.dup2(2, 1)  # whatever libraries print must not mix with the replies
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it closes our stdin
    # Ray's processes are deaf to these (processes.deaf_children); what a verifier starts and then ends must not be.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGHUP, signal.SIGINT))
    first = tasks.readline()
    if not first:  # the parent died before it would have taken us along
        return
    asked = json.loads(first)
    timeout_s = asked.pop("timeout_s")
    try:
        grade = _made_ready(**asked)
    except ValueError as error:
        print(json.dumps({"error": str(error)}), file=replies, flush=True)
        return
    limit = _memory_bytes() + MEMORY_LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in tasks:
        task = json.loads(line)
        if entry.is_entry(task["answer"]):
            with suppress(ImportError):  # said by `judge`
                entry.load()  # not on the answer's clock
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a verifier may have had a use for it
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        try:
            reply = json.dumps(asdict(grade(task["text"], task["answer"])))
        except Exception as error:  # a crash of the grader is a verdict: UNGRADED, with its reason
            reason = f"the grader failed: {type(error).__name__}"
            reply = json.dumps(asdict(Verdict(Outcome.UNGRADED, None, reason)))
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(reply, file=replies, flush=True)


def _memory_bytes() -> int:
    """Address space that this process has now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main()
