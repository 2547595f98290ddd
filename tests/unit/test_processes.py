"""Child processes run nothing of the working directory, and do not outlive who started them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lens_core.processes import Guard, guarded, python

SAYS_WHICH = "import json; print(json.__file__)"


@pytest.fixture
def downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module that is called as one of Python's own, as working directory."""
    (tmp_path / "json.py").write_text("print('code of a stranger')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return tmp_path


def test_working_directory_is_not_imported_from(downloaded: Path) -> None:
    found = subprocess.run(python("-c", SAYS_WHICH), capture_output=True, text=True, check=True).stdout
    assert "stranger" not in found
    assert not found.startswith(str(downloaded))


def test_python_path_names_the_working_directory(downloaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ".")
    found = subprocess.run(python("-c", SAYS_WHICH), capture_output=True, text=True, check=True).stdout
    assert found.startswith("code of a stranger")


def test_processes_of_a_library_do_not_import_from_it_either(downloaded: Path) -> None:
    assert downloaded == Path.cwd()
    command = [sys.executable, "-c", SAYS_WHICH]
    with guarded():
        guarded_one = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "stranger" not in guarded_one
    assert "stranger" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


GRANDCHILD = "import time; time.sleep(600)"
CHILD = f"""
import subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", {GRANDCHILD!r}], start_new_session=True)
print(grandchild.pid, flush=True)
time.sleep(600)
"""
DRIVER = f"""
import subprocess, sys, time
from lens_core.processes import guarded
with guarded():
    child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE, text=True)
    print(child.pid, child.stdout.readline(), flush=True)
    if sys.argv[1] == "stays":
        time.sleep(600)
"""


def start_driver(manner: str) -> "tuple[subprocess.Popen[str], list[psutil.Process]]":
    """A process in a guarded block, its child, and a grandchild that has left its session."""
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, manner], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    return driver, [psutil.Process(int(pid)) for pid in driver.stdout.readline().split()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_what_a_killed_process_has_started_is_killed(number: signal.Signals) -> None:
    driver, family = start_driver("stays")
    driver.send_signal(number)
    assert driver.wait() == -number
    assert psutil.wait_procs(family, timeout=30)[1] == []


def test_guard_outlives_signals_to_the_whole_group() -> None:
    driver, family = start_driver("stays")
    guard = next(each for each in psutil.Process(driver.pid).children() if each not in family)
    guard.send_signal(signal.SIGTERM)
    guard.send_signal(signal.SIGHUP)
    driver.kill()
    driver.wait()
    assert psutil.wait_procs([guard, *family], timeout=30)[1] == []


def test_what_runs_when_the_block_ends_is_left_alone() -> None:
    driver, family = start_driver("leaves")
    assert driver.wait() == 0
    assert all(each.is_running() for each in family)
    for each in family:
        each.kill()


def test_death_of_a_guard_disturbs_nobody() -> None:
    with guarded():
        for child in psutil.Process().children():
            if "LENS_GUARDED_" in " ".join(child.cmdline()):
                child.kill()
                child.wait()


def test_environment_is_afterwards_what_it_was() -> None:
    before = dict(os.environ)
    with guarded():
        assert dict(os.environ) != before
    assert dict(os.environ) == before


def test_program_that_a_process_becomes_is_guarded_too() -> None:
    code = (
        "import os, sys; from lens_core.processes import exec_guarded, python\n"
        f"exec_guarded(python('-c', {CHILD!r}), os.environ)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    grandchild = psutil.Process(int(driver.stdout.readline()))
    driver.kill()
    driver.wait()
    assert psutil.wait_procs([grandchild], timeout=30)[1] == []


ENGINE = """
import multiprocessing, os, sys, time
from lens_core.processes import Guard
if __name__ == "__main__":
    guard = Guard()
    with guard.watching():  # as vLLM starts its engine: a process that outlives the block
        engine = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
        engine.start()
    assert not any(name.startswith("LENS_GUARDED_") for name in os.environ)
    print(engine.pid, flush=True)
    sys.stdin.readline()
    engine.kill()
    guard.close()
"""


def test_guard_goes_beyond_the_block_in_which_a_process_was_started(tmp_path: Path) -> None:
    (tmp_path / "engine.py").write_text(ENGINE, "utf-8")
    driver = subprocess.Popen(python(str(tmp_path / "engine.py")), stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    engine = psutil.Process(int(driver.stdout.readline()))
    guards = [each for each in psutil.Process(driver.pid).children() if each.pid != engine.pid]
    driver.kill()
    driver.wait()
    assert psutil.wait_procs([engine, *guards], timeout=30)[1] == []


def test_guard_that_is_closed_is_gone(tmp_path: Path) -> None:
    before = psutil.Process().children()
    guard = Guard()
    assert len(psutil.Process().children()) == len(before) + 1
    guard.close()
    assert psutil.Process().children() == before
