"""How child processes are started: they run nothing of the working directory, and outlive nobody.

Python puts the working directory in front of what `python -m` imports: a `json.py` in a downloaded folder would be run.
Here it is left out, unless PYTHONPATH names it. A process that is killed cannot end its children: the kernel does it
for those that are ours (`end_with_parent`), and a guard for those that libraries start (`guarded`).

The guard runs this file by its path, and alone.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.2
_QUIET_LOOKS = 10
"""So many looks at all processes in a row have to find none before none is left: some are just being started."""


def python(*arguments: str) -> list[str]:
    """The command of a Python process that imports nothing of the working directory, unless PYTHONPATH names it."""
    return [sys.executable, "-P", *arguments]


def end_with_parent() -> None:
    """Have the kernel kill this process once the thread that has started it ends.

    For a child's first lines. Whether the parent died before that shows when the child next reads from it.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Inside the block these variables are set, for what is started there; after it they are as before."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Guard:
    """For libraries that start processes: those of a `watching` block, and what they start in turn, are as ours are.

    They import nothing of the working directory. If this process dies before `close`, by kill -9 too, they are killed
    at once: Ray's processes, the steps of a local pipeline, vLLM's engine. They are known by a variable that they
    inherit; a process that is forked, and runs no program of its own, does not show it.
    """

    def __init__(self) -> None:
        self._mark, self._lifeline, self._process = _guard()

    def watching(self) -> AbstractContextManager[None]:
        """What is started inside the block is guarded until `close`."""
        return environment(**_environment(self._mark))

    def close(self) -> None:
        """There is nothing to guard any more."""
        with suppress(BrokenPipeError):  # somebody has killed it
            os.write(self._lifeline, b".")
        os.close(self._lifeline)
        self._process.wait()


@contextmanager
def guarded() -> Iterator[None]:
    """A Guard for the block, of all that is started in it."""
    with closing(Guard()) as guard, guard.watching():
        yield


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that are started inside the block do not hear what asks a process to end, in a group with ours or not.

    `timeout`, a closed terminal and many a script signal the whole group, and who works for us is still needed then.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGHUP, signal.SIGINT))
    try:
        yield  # a process inherits what the thread that starts it has blocked
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def exec_guarded(command: list[str], variables: Mapping[str, str]) -> NoReturn:
    """Become the program `command`, whose child processes are as those of a `guarded` block."""
    mark, lifeline, _ = _guard()
    os.set_inheritable(lifeline, True)
    os.execve(command[0], command, {**variables, **_environment(mark)})


def _environment(mark: str) -> dict[str, str]:
    # Ray sets the titles of its processes, and would write them over the variables that the guard looks for.
    return {mark: "1", "PYTHONSAFEPATH": "1", "SPT_NOENV": "1"}


def _guard() -> tuple[str, int, subprocess.Popen[bytes]]:
    """The mark of a new guard, the pipe that tells it of this process, and itself."""
    mark = f"LENS_GUARDED_{uuid.uuid4().hex}"
    ours, lifeline = os.pipe()
    with deaf_children():
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, mark, str(os.getpid())],
            stdin=ours,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    os.close(ours)
    return mark, lifeline, guard


def _watch(mark: str, parent: int) -> None:
    """Return when `parent` has no need of a guard any more, or has died and nothing lives that carries the mark."""
    while os.getppid() == parent:
        if select.select([sys.stdin], [], [], 1.0)[0]:
            if sys.stdin.buffer.read(1):
                return
            break
    quiet = 0
    while quiet < _QUIET_LOOKS:
        found = _marked(mark)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        quiet = 0 if found else quiet + 1
        time.sleep(_LOOK_S)


def _marked(mark: str) -> list[int]:
    """Processes that have inherited the mark, this one left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # another user's, or gone
            if mark.encode() in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


if __name__ == "__main__":
    _watch(sys.argv[1], int(sys.argv[2]))
