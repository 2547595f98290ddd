"""kill -9 at ten random moments: the resumed training is the undisturbed one, bit for bit, in one MLflow run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from lens_core import stages
from lens_core.tracking import EXPERIMENT
from lens_core.training.metrics_file import read_metrics
from tests.helpers.curves import curve
from tests.helpers.fakes import save_tiny_policy
from tests.helpers.lives import configuration

pytestmark = [pytest.mark.e2e, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]
KILLS = 10


def run(folder: Path, base: Path, data: Path, kills: int) -> tuple[Path, str, str]:
    """`(output, MLflow store, what lives.py printed)` of a training with so many kills."""
    output, store = folder / "output", f"sqlite:///{folder}/mlflow.db"
    command = [sys.executable, str(ROOT / "tests/helpers/lives.py"), base, data, output, store, kills]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    result = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=800)
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    return output, store, result.stdout


def test_killed_training_is_the_undisturbed_one_bit_for_bit(tmp_path: Path) -> None:
    base, data = save_tiny_policy(tmp_path / "base"), stages.prepare(configuration(), tmp_path / "data")
    whole, _, _ = run(tmp_path / "whole", base, data, kills=0)
    output, store, lives = run(tmp_path / "killed", base, data, KILLS)
    assert lives.count(": -9 after step") == KILLS, lives
    assert "-9 after step 100" not in lives, f"the training ended before it was killed:\n{lives}"
    assert curve(output) == curve(whole)
    assert (output / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()

    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    (found,) = client.search_runs([experiment.experiment_id], "tags.`lens.stage` = 'train lens'")
    assert found.info.status == "FINISHED"
    assert found.info.run_id == json.loads((output / "run.json").read_text())["mlflow_run"]
    losses = [(point.step, point.value) for point in client.get_metric_history(found.info.run_id, "loss")]
    assert losses == [(step["step"], step["loss"]) for step in read_metrics(whole)]
