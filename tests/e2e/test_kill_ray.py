"""kill -9 and Ctrl-C of a whole Ray training, driver and workers: resumed, it is the undisturbed one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lens_core import stages
from lens_core.config import load_config
from lens_core.training.metrics_file import read_metrics
from tests.helpers.fakes import save_tiny_policy
from tests.helpers.ray_processes import training_workers
from tests.helpers.ray_training import TO_BE_KILLED, assert_same_training

pytestmark = [pytest.mark.e2e, pytest.mark.long]

SETTINGS = [*TO_BE_KILLED, "train.checkpoint_every=10"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_ended_driver_is_resumed_to_the_same_result(number: signal.Signals, code: int, tmp_path: Path) -> None:
    config = load_config("demo", SETTINGS)
    base, data = save_tiny_policy(tmp_path / "base"), stages.prepare(config, tmp_path / "data")
    whole = stages.train(config, "m", data, base, tmp_path / "whole")

    output = tmp_path / "killed"
    command = [str(Path(sys.executable).with_name("lens")), "train", "-c", "demo", "--workers", "2", "--method", "m"]
    command += ["--data", str(data), "--base", str(base), "-o", str(output), "--home", str(tmp_path / "home")]
    command += [word for setting in SETTINGS for word in ("--set", setting)]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while len(read_metrics(output)) < 15:
        with pytest.raises(subprocess.TimeoutExpired):
            driver.wait(0.1)  # it must not end by itself
    family = psutil.Process(driver.pid).children(recursive=True)
    workers = training_workers(driver.pid)
    assert len(workers) == 2
    os.kill(driver.pid, number)
    assert driver.wait() == code
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive, f"they train on without a driver: {alive}"
    assert psutil.wait_procs(family, timeout=30)[1] == []  # of itself, Ray's agents live for minutes
    assert 15 <= len(read_metrics(output)) < 60

    subprocess.run([*command, "--resume"], check=True, stdout=subprocess.DEVNULL)
    assert len(read_metrics(output)) == 60
    assert_same_training(output, whole, 1e-4)
    assert json.loads((output / "training.json").read_text())["steps"] == 60
