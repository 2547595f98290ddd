"""Verifiers of a user's, good and bad; a grading process imports this file."""

import os
import signal
import subprocess
import sys
import time

from lens_core.verify import Outcome, Verdict


def same_text(completion: str, answer: str) -> Verdict:
    if completion == "crash":
        raise RuntimeError("no sandbox")
    right = completion == answer
    return Verdict(Outcome.CORRECT if right else Outcome.WRONG, completion, "equal" if right else "not equal")


def returns_a_number(completion: str, answer: str) -> float:
    return 1.0


def misbehaves(completion: str, answer: str) -> Verdict:
    """As the completion says; a completion that says nothing of it is right."""
    if completion == "endless":
        while True:
            pass
    if completion == "endless, with a time-out of its own":  # as math-verify has one
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.alarm(60)
        time.sleep(600)
    if completion == "exits":
        sys.exit(0)
    if completion == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if completion == "fills the memory":
        bytearray(1 << 40)
    if completion == "prints":
        print("{}")
    if completion == "reads":
        sys.stdin.read()
        subprocess.run(["cat"], check=True)
    if completion == "starts":
        subprocess.Popen(["sleep", "601"])
        time.sleep(600)
    if completion == "surrogate":
        return Verdict(Outcome.CORRECT, "\ud800", "\ud800")
    if completion == "other types":
        return Verdict("right", 3, None)  # type: ignore[arg-type]
    return Verdict(Outcome.CORRECT, completion, "equal")


NOT_A_FUNCTION = 3
