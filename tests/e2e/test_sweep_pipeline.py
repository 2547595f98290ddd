"""The sweep pipeline as a whole: nine steps by KFP's local runner, each in a process of its own."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from lens_core.config import load_config
from lens_core.tracking import EXPERIMENT
from tests.helpers.pipelines import run, tracked
from tests.helpers.sweeps import design

pytestmark = [pytest.mark.e2e, pytest.mark.long]


def test_sweep_pipeline_trains_the_best_with_each_seed(tmp_path: Path) -> None:
    space = "{train.learning_rate: {choice: [1.0e-3]}}"
    sizes = ("train.steps=2", "evaluation.traces=0", "data.test.per_level=1", "study={seeds: [3, 4], reference: m}")
    found = run("sweep", design(Path("ladder-base"), *sizes, space=space), tmp_path)
    comparison = found.comparison()
    assert {each["model"] for each in comparison["evaluations"]} == {"base", "m-s3", "m-s4"}
    assert {each["method"] for each in comparison["trainings"]} == {"m-s3", "m-s4"}
    best = load_config(found.folder / "sweep/best.yaml")
    assert best.train.learning_rate == 1e-3
    assert json.loads((found.folder / "sweep/sweep.json").read_text())["best"]
    assert not (found.folder / "sweep/trials").exists()
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    seeds = {
        each.info.run_name: (each.data.params["train.learning_rate"], each.data.params["seed"])
        for each in client.search_runs([experiment.experiment_id], "tags.`lens.stage` LIKE 'train %'")
    }
    assert seeds == {"train m-s3": ("0.001", "3"), "train m-s4": ("0.001", "4")}
    assert tracked(tmp_path)[found.name] == "FINISHED"
