"""Grading process: reads one JSON object a line from stdin, answers with one a line on stdout.

Python can neither stop its own regular expressions and big integers nor bound their memory, and `signal.alarm` in a
library works on main threads only. Here the whole process is the guard: the kernel kills it when an answer's time is
up, whatever Python or C code it is in, and a memory limit ends what would fill the machine. The parent sees which, and
starts another.
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
import sys
from contextlib import suppress
from functools import lru_cache
from itertools import product

from lens_core.verify import entry, expression
from lens_core.verify.equal import agree
from lens_core.verify.extract import gold_answer, refine
from lens_core.verify.normalise import normalise
from lens_core.verify.structure import Expr, Node, TooComplexError, parse

MEMORY_LIMIT_BYTES = 2 << 30
_DECIMAL_COMMA = re.compile(r"-?(?:\d+,(?:\d{2}|\d{4,})|0,\d{2,}|\d{4,},\d+)")
_THOUSANDS_OR_LIST = re.compile(r"-?\d{1,3}(?:,\d{3})+")


@lru_cache(4096)
def readings(text: str) -> tuple[Node, ...]:
    """What an answer can mean: `1,22` is a list of two, and 1.22 in much of Europe; `12,345` is a number or a list."""
    text = refine(text)
    bare = text.strip("$ \n.")
    ways = [text]
    if _DECIMAL_COMMA.fullmatch(bare):
        ways.append(bare.replace(",", "."))
    if _THOUSANDS_OR_LIST.fullmatch(bare):
        ways.append(bare.replace(",", ", "))
    return tuple(parse(normalise(way)) for way in ways)


@lru_cache(4096)
def _gold(answer: str) -> tuple[Node, ...]:
    """The gold answer, read once for all completions of its problem."""
    return readings(gold_answer(answer))


def judge(extracted: str, answer: str) -> tuple[str, str]:
    """Outcome and reason for an answer that was found in a completion, against the gold answer."""
    if entry.is_entry(answer):
        return entry.judge_entry(extracted, answer)
    try:
        golds = _gold(answer)
    except TooComplexError as error:
        return "ungraded", f"the gold answer is {error}"
    if golds[0] == Expr(""):
        return "ungraded", f"the gold answer {answer!r} cannot be read"
    try:
        answers = readings(extracted)
        if any(agree(gold, found) for gold, found in product(golds, answers)):
            return "correct", "equal"
    except expression.UnreadableError:
        return _unreadable(golds[0], extracted)
    except expression.TooLargeError:
        return _too_large(golds[0], answers[0])
    except (TooComplexError, RecursionError) as error:
        return "ungraded", f"the answer is {error}" if isinstance(error, TooComplexError) else "nested too deeply"
    return "wrong", "not equal"


def _unreadable(gold: Node, extracted: str) -> tuple[str, str]:
    """An answer that is no mathematics is wrong; where the gold answer is none, it cannot be told."""
    if isinstance(gold, Expr):
        try:
            expression.read(gold.latex)
        except (expression.UnreadableError, expression.TooLargeError):
            return "ungraded", "not the same text, and the gold answer cannot be read as mathematics"
    return "wrong", "the answer cannot be read as mathematics"


def _too_large(gold: Node, answer: Node) -> tuple[str, str]:
    """Towers of powers that are surely above the gold answer are wrong; other large values cannot be told."""
    bound = expression.rational(gold.latex) if isinstance(gold, Expr) else None
    if bound is not None and isinstance(answer, Expr) and expression.is_larger(answer.latex, bound):
        return "wrong", "far larger than the gold answer"
    return "ungraded", f"a value of more than {expression.MAX_DIGITS:,} digits"


def main(timeout_s: float) -> None:
    """Serve until stdin ends. Each answer has `timeout_s` seconds; SIGALRM's default action ends the process."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print must not mix with the replies
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it closes our stdin
    logging.disable(logging.CRITICAL)
    judge("\\frac{x^2}{2}", "\\frac{x}{2}")  # imports and first-use costs are not on an answer's clock
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        if entry.is_entry(task["answer"]):
            with suppress(ImportError):  # said by `judge`
                entry.load()  # not on the answer's clock
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        try:
            outcome, reason = judge(task["extracted"], task["answer"])
        except Exception as error:  # a crash of the grader is a verdict: UNGRADED, with its reason
            outcome, reason = "ungraded", f"the grader failed: {type(error).__name__}"
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps({"outcome": outcome, "reason": reason}), file=replies, flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
