"""kill -9 of each kind of process at random moments: no orphans, readable files, in the end the undisturbed result."""

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from lens_core import stages
from lens_core.config import load_config
from lens_core.files import read_json
from tests.helpers.cli import REDUCED, command
from tests.helpers.fakes import save_tiny_policy
from tests.helpers.ray_training import TO_BE_KILLED, assert_same_training

pytestmark = [pytest.mark.e2e, pytest.mark.chaos, pytest.mark.timeout(3600)]

KILLS = 5
ORPHAN_S = 30.0
TRAINING = (*TO_BE_KILLED, "train.checkpoint_every=5", "train.max_failures=20")


def has(words: str) -> Callable[[psutil.Process], bool]:
    """A process whose title or command says `words`."""

    def fits(process: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess):
            return words in process.name() or words in " ".join(process.cmdline())
        return False

    return fits


VICTIMS: dict[str, Callable[[psutil.Process], bool]] = {
    "step": has("-m kfp.dsl.executor_main"),
    "grader": has("lens_core.verify.worker"),
    "Ray worker": has("RayTrainWorker"),
    "rollout actor": has("RolloutWorker"),
}
"""By kind; the driver and the pipeline are what was started."""


def living(processes: list[psutil.Process]) -> Iterator[psutil.Process]:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process


def kill_one(process: "subprocess.Popen[bytes]", victim: str, after_s: float) -> tuple[int, bool]:
    """Kill a process of this kind that `process` has started, or itself, so long after there is one.

    Gives the exit code of `process`, and whether anything was killed before that.
    """
    own, fits = psutil.Process(process.pid), VICTIMS.get(victim)

    def victims() -> list[psutil.Process]:
        return [own] if fits is None else list(filter(fits, living(own.children(recursive=True))))

    while process.poll() is None and not victims():
        time.sleep(0.05)
    family: list[psutil.Process] = []
    killed = False
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        family = own.children(recursive=True)
        for each in victims()[-1:]:
            each.kill()
            killed = True
    code = process.wait(600)
    assert list(living(psutil.wait_procs(family, timeout=ORPHAN_S)[1])) == []
    return code, killed


CODES = {"driver": -9, "pipeline": -9, "step": 2}
"""With which a command ends that loses such a process; of others it is done nevertheless."""


def disturbed(words: list[str], victim: str, last_s: float, again: tuple[str, ...] = ()) -> None:
    """Run a command that is disturbed KILLS times, and then to its end.

    Args:
        last_s: the latest moment after the victim was there.
        again: words of the repeated command.
    """
    moments = random.Random(victim)
    kills = 0
    for life in range(KILLS):
        process = subprocess.Popen([*words, *(again if life else ())], stdout=subprocess.DEVNULL)
        code, killed = kill_one(process, victim, moments.uniform(0.0, last_s))
        assert code == (CODES.get(victim, 0) if killed else 0), f"life {life}"
        kills += killed
    assert kills
    subprocess.run([*words, *again], check=True, stdout=subprocess.DEVNULL)


def evaluations(home: Path) -> Any:
    (folder,) = (home / "runs").iterdir()
    return read_json(folder / stages.COMPARISON_FILE)["evaluations"]


@pytest.fixture(scope="module")
def whole_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("whole") / "home"
    subprocess.run(command("demo", "--home", str(home), overrides=REDUCED), check=True, stdout=subprocess.DEVNULL)
    return home


@pytest.mark.parametrize("victim", ["pipeline", "step", "grader"])
def test_disturbed_pipeline_comes_to_the_same_end(victim: str, whole_pipeline: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    disturbed(command("demo", "--home", str(home), overrides=REDUCED), victim, last_s=30.0)
    assert evaluations(home) == evaluations(whole_pipeline)


@pytest.mark.parametrize("victim", ["driver", "Ray worker", "rollout actor", "grader"])
def test_disturbed_training_on_ray_comes_to_the_same_end(victim: str, tmp_path: Path) -> None:
    settings = (*TRAINING, "train.rollouts={workers: 1}") if victim == "rollout actor" else TRAINING
    config = load_config("demo", TRAINING)
    base, data = save_tiny_policy(tmp_path / "base"), stages.prepare(config, tmp_path / "data")
    whole = stages.train(config, "m", data, base, tmp_path / "whole")
    output = tmp_path / "disturbed"
    words = command("train", "-c", "demo", "--workers", "2", "--method", "m", "--data", str(data), "--base", str(base))
    words += ["-o", str(output), "--home", str(tmp_path / "home")]
    words += [word for setting in settings for word in ("--set", setting)]
    disturbed(words, victim, last_s=30.0, again=("--resume",))
    assert_same_training(output, whole, 1e-4)


@pytest.mark.parametrize("victim", ["driver", "grader"])
def test_disturbed_training_in_one_process_comes_to_the_same_end(victim: str, tmp_path: Path) -> None:
    """The metrics' sender is a thread of the driver, and dies with it."""
    config = load_config("demo", TRAINING)
    base, data = save_tiny_policy(tmp_path / "base"), stages.prepare(config, tmp_path / "data")
    whole = stages.train(config, "m", data, base, tmp_path / "whole")
    output = tmp_path / "disturbed"
    words = command("train", "-c", "demo", "--method", "m", "--data", str(data), "--base", str(base), "-o", str(output))
    words += ["--home", str(tmp_path / "home"), *(word for setting in TRAINING for word in ("--set", setting))]
    disturbed(words, victim, last_s=15.0, again=("--resume",))
    assert_same_training(output, whole, 0.0)
    assert (output / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
