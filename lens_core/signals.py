"""What ends a process from outside: SIGTERM (`kill`, Kubernetes, Ray), SIGHUP (a closed terminal) and Ctrl-C.

Only a main thread may handle signals; in any other thread these contexts do nothing. What a process was started to
ignore (`nohup`) it goes on to ignore. After each context the handlers are those of before.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""What asks a process to end, from somebody who does not sit in front of it."""


@contextmanager
def handled(handler: Callable[..., Any] | signal.Handlers, numbers: Sequence[int] = ENDING) -> Iterator[None]:
    """Inside the block `handler` gets these signals."""
    with kept(numbers):
        if _is_main_thread():
            for number in numbers:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, handler)
        yield


@contextmanager
def kept(numbers: Sequence[int] = ENDING) -> Iterator[None]:
    """What somebody handles before the block he handles after it too, whatever a library puts in his place."""
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        if _is_main_thread():
            for number, handler in before.items():
                if handler is not None:  # None: not set from Python, and cannot be put back from here
                    signal.signal(number, handler)


def interrupting() -> AbstractContextManager[None]:
    """`exiting` for signals that nobody handles, with SIGTERM to child processes, which Ctrl-C of a terminal reaches.

    A pipeline's steps are processes that would otherwise be waited for.
    """
    return handled(_pass_on_and_exit, [each for each in ENDING if signal.getsignal(each) is signal.SIG_DFL])


def exiting() -> AbstractContextManager[None]:
    """Inside the block SIGTERM and SIGHUP raise SystemExit, with a shell's exit code, so that `finally` is reached."""
    return handled(_exit)


def undisturbed() -> AbstractContextManager[None]:
    """Inside the block none of them is heard, nor Ctrl-C: whoever sends them wants what is being done."""
    return handled(signal.SIG_IGN, (*ENDING, signal.SIGINT))


def _exit(number: int, _: Any) -> None:
    sys.exit(128 + number)


def _pass_on_and_exit(number: int, _: Any) -> None:
    import psutil

    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    _exit(number, _)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
