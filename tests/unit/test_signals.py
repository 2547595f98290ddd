"""What ends a process from outside, as the process itself sees it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from lens_core.signals import ENDING, exiting, handled, interrupting, kept, undisturbed


def handlers() -> list[object]:
    return [signal.getsignal(each) for each in (*ENDING, signal.SIGINT)]


@pytest.mark.parametrize("context", [interrupting(), exiting(), undisturbed(), handled(print), kept()])
def test_handlers_are_afterwards_what_they_were(context: AbstractContextManager[None]) -> None:
    before = handlers()
    with context:
        pass
    assert handlers() == before


def test_interrupting_passes_the_signal_on_to_children() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with pytest.raises(SystemExit), interrupting():
        os.kill(os.getpid(), signal.SIGHUP)
    assert child.wait() == -signal.SIGTERM


def test_interrupting_leaves_alone_what_somebody_handles() -> None:
    heard: list[int] = []
    with handled(lambda number, _: heard.append(number)), interrupting():
        os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize("context", [exiting, interrupting])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_that_end_a_process_have_the_shells_exit_code(
    context: Callable[[], AbstractContextManager[None]], number: int, code: int
) -> None:
    with pytest.raises(SystemExit) as caught, context():
        os.kill(os.getpid(), number)
    assert caught.value.code == code


def test_undisturbed_hears_nothing() -> None:
    with undisturbed():
        for number in (*ENDING, signal.SIGINT):
            os.kill(os.getpid(), number)


def test_what_a_process_ignores_it_goes_on_to_ignore() -> None:
    """As under `nohup`."""
    code = (
        "import os, signal; from lens_core.signals import exiting, interrupting\n"
        "with interrupting(), exiting(): os.kill(os.getpid(), signal.SIGHUP); print('lives')"
    )
    command = ["/bin/sh", "-c", 'trap "" HUP; exec "$0" -c "$1"', sys.executable, code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "lives\n"


def test_library_that_takes_a_signal_gives_it_back() -> None:
    heard: list[int] = []
    with handled(lambda number, _: heard.append(number)):
        with kept():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as ray.init does with a handler of its own
        os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM]


def test_other_threads_handle_no_signals() -> None:
    before, inside = handlers(), []

    def run() -> None:
        with interrupting(), exiting(), undisturbed():
            inside.extend(handlers())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert inside == before
