"""Grading process: reads one JSON object a line from stdin, answers with one a line on stdout.

math-verify guards itself with `signal.alarm`, which works only on a main thread and turns a hang into "wrong". Here
the whole process is the guard: the kernel kills it when an answer's time is up, whatever Python or C code it is in,
and a memory limit ends what would fill the machine. The parent sees which, and starts another.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys

MEMORY_LIMIT_BYTES = 2 << 30


def judge(completion: str, answer: str) -> dict[str, str | None]:
    """Outcome, extracted answer and reason, by math-verify with its own time-outs off."""
    from math_verify import parse, verify

    gold = parse(answer if "$" in answer or "\\boxed" in answer else f"\\boxed{{{answer}}}", parsing_timeout=None)
    if not gold:
        return {"outcome": "ungraded", "extracted": None, "reason": f"the gold answer {answer!r} cannot be read"}
    target = parse(completion, parsing_timeout=None, raise_on_error=True)
    if not target:
        return {"outcome": "wrong", "extracted": None, "reason": "no answer found"}
    equal = verify(gold, target, timeout_seconds=None, raise_on_error=True)
    return {
        "outcome": "correct" if equal else "wrong",
        "extracted": str(target[-1]),
        "reason": "equal" if equal else "not equal",
    }


def main(timeout_s: float) -> None:
    """Serve until stdin ends. Each answer has `timeout_s` seconds; SIGALRM's default action ends the process."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print must not mix with the replies
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it closes our stdin
    logging.disable(logging.CRITICAL)
    judge("\\boxed{1}", "1")  # imports and first-use costs are not on an answer's clock
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        try:
            reply = judge(task["completion"], task["answer"])
        except Exception as error:  # a crash of the grader is a verdict: UNGRADED, with its reason
            reply = {"outcome": "ungraded", "extracted": None, "reason": f"the grader failed: {type(error).__name__}"}
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
