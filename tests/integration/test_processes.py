"""What libraries start for us: it ends with us, kill -9 included, and runs nothing of the working directory."""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import requests

from tests.helpers.cli import REDUCED, command
from tests.helpers.ports import free_port

pytestmark = pytest.mark.integration

STRANGERS = ("json", "random", "re", "torch", "colorsys", "mlflow", "kfp", "ray", "uvicorn")
_PATIENCE_S = 300


@pytest.fixture
def downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder full of modules that leave `was-run` where they are imported."""
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name in STRANGERS:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'was-run')!r}, 'a').write('{name} ')\n", "utf-8")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return folder


def says(process: psutil.Process, words: str) -> bool:
    with suppress(psutil.Error):  # it may just have ended
        return words in " ".join(process.cmdline())
    return False


def killed_once(driver: "subprocess.Popen[bytes]", words: str) -> list[psutil.Process]:
    """Kill `driver` once it has started a process with these words in its command; all that it had started."""
    own, deadline = psutil.Process(driver.pid), time.monotonic() + _PATIENCE_S
    while True:
        family = own.children(recursive=True)
        if any(says(each, words) for each in family):
            driver.kill()
            driver.wait()
            return family
        assert driver.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline


@pytest.mark.long
def test_killed_pipeline_leaves_no_step(downloaded: Path, tmp_path: Path) -> None:
    words = command("demo", "--home", str(tmp_path / "home"), overrides=REDUCED)
    driver = subprocess.Popen(words, cwd=downloaded, stdout=subprocess.DEVNULL)
    family = killed_once(driver, "kfp.dsl.executor_main")
    assert psutil.wait_procs(family, timeout=30)[1] == []
    assert not (downloaded / "was-run").exists()
    subprocess.run(words, cwd=downloaded, check=True, stdout=subprocess.DEVNULL)
    assert not (downloaded / "was-run").exists()


@pytest.mark.long
def test_mlflow_ui_runs_nothing_of_the_working_directory_and_ends_whole(downloaded: Path, tmp_path: Path) -> None:
    port = free_port()
    words = command("ui", "--home", str(tmp_path / "home"), "--port", str(port))
    driver = subprocess.Popen(words, cwd=downloaded, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            requests.get(f"http://127.0.0.1:{port}/health", timeout=1).raise_for_status()
            break
        except requests.RequestException:
            assert driver.poll() is None, "it ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.1)
    family = killed_once(driver, "uvicorn")
    assert psutil.wait_procs(family, timeout=30)[1] == []
    assert not (downloaded / "was-run").exists()


TASKS = """
from pathlib import Path
from lens_core.distributed.tasks import run_tasks

def imports():
    import colorsys, json, sys
    assert str(Path.cwd()) not in sys.path, sys.path

print(dict(run_tasks(imports, {"one": ()}, 1, 0)))
"""


def test_ray_workers_import_nothing_of_the_working_directory(downloaded: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-P", "-c", TASKS], cwd=downloaded, capture_output=True, text=True, timeout=_PATIENCE_S
    )
    assert found.stdout == "{'one': None}\n", found.stderr
    assert not (downloaded / "was-run").exists()
