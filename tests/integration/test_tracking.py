"""Tracking with a real MLflow store."""

import os
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run

from lens_core.errors import LensError, StoppedError
from lens_core.tracking import (
    EXPERIMENT,
    Tracking,
    describe_store,
    end_parent,
    list_runs,
    new_run,
    parent_run,
    stage_run,
    unfinished_run,
    whole_run,
)

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'new' / 'mlflow.db'}"


def runs(uri: str, name: str) -> dict[str, Run]:
    """The runs of a pipeline run by their names."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    found = client.search_runs([experiment.experiment_id], f"tags.`lens.run` = '{name}'")
    return {run.info.run_name: run for run in found}


def test_stages_are_nested_in_one_parent(uri: str) -> None:
    tracking = Tracking(uri, "nested")
    for stage in ("prepare", "train lens"):
        with stage_run(tracking, stage):
            pass
    end_parent(tracking, "FINISHED")
    found = runs(uri, "nested")
    assert set(found) == {"nested", "prepare", "train lens"}
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    for stage in ("prepare", "train lens"):
        assert found[stage].data.tags["mlflow.parentRunId"] == found["nested"].info.run_id


def test_params_metrics_data_and_artifacts_arrive(uri: str, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}\n")
    with stage_run(Tracking(uri, "content"), "train") as run:
        run.params({"train": {"steps": 3, "schedule": None}})
        run.metrics({"reward": 0.5, "undefined": float("nan")}, step=1)
        run.metrics({"reward": 0.75}, step=2)
        run.dataset(tmp_path / "train.jsonl", "f" * 64, "train", 1)
        run.artifact(tmp_path / "train.jsonl")
    stored = runs(uri, "content")["train"]
    assert stored.data.params == {"train.steps": "3", "train.schedule": "None"}
    assert {key: value for key, value in stored.data.metrics.items() if not key.startswith("system/")} == {
        "reward": 0.75
    }
    assert stored.data.tags["data.train.sha256"] == "f" * 64
    assert stored.inputs.dataset_inputs[0].dataset.name == "train.jsonl"
    assert stored.inputs.dataset_inputs[0].dataset.profile == '{"num_rows": 1}'
    client = MlflowClient(tracking_uri=uri)
    assert [point.value for point in client.get_metric_history(stored.info.run_id, "reward")] == [0.5, 0.75]
    assert [item.path for item in client.list_artifacts(stored.info.run_id)] == ["requirements.txt", "train.jsonl"]
    location = Path(stored.info.artifact_uri.removeprefix("file://"))
    assert location.is_relative_to(Path(uri.removeprefix("sqlite:///")).parent)


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_stage_that_ends_early_is_not_left_running(uri: str, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), stage_run(Tracking(uri, status), "train"):
        raise error
    assert runs(uri, status)["train"].info.status == status


def test_parent_ends_as_its_stages_do_and_runs_again_when_resumed(uri: str) -> None:
    tracking = Tracking(uri, "resumed")
    with pytest.raises(ValueError, match="broken"), whole_run(tracking), stage_run(tracking, "train"):
        raise ValueError("broken")
    assert runs(uri, "resumed")["resumed"].info.status == "FAILED"
    with whole_run(tracking), stage_run(tracking, "train"):
        assert runs(uri, "resumed")["resumed"].info.status == "RUNNING"
    assert runs(uri, "resumed")["resumed"].info.status == "FINISHED"


def test_run_that_the_environment_names_is_joined_and_not_ended(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = parent_run(Tracking(uri, "outer"))
    monkeypatch.setenv("MLFLOW_RUN_ID", outer.run_id)
    with whole_run(Tracking(uri, "inner")), stage_run(Tracking(uri, "inner"), "train"):
        pass
    assert runs(uri, "outer")["outer"].info.status == "RUNNING"
    assert runs(uri, "inner")["train"].data.tags["mlflow.parentRunId"] == outer.run_id
    assert "inner" not in runs(uri, "inner")


def test_run_of_another_store_in_the_environment_is_named(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
    with pytest.raises(LensError, match=r"MLFLOW_RUN_ID is f+, a run that .* does not have: unset it"):
        parent_run(Tracking(uri, "x"))


def test_trials_are_nested_in_their_stage(uri: str) -> None:
    tracking = Tracking(uri, "nest")
    with whole_run(tracking), stage_run(tracking, "sweep") as run:
        new_run(tracking, "trial", "trial 1: alpha 0.5", run).end("FINISHED")
    rows = [row for row in list_runs(uri, 100) if row.run == "nest"]
    assert [(row.depth, row.name) for row in rows] == [(0, "nest"), (1, "sweep"), (2, "trial 1: alpha 0.5")]


def test_stage_says_where_it_comes_from_and_how_busy_the_machine_was(uri: str) -> None:
    with stage_run(Tracking(uri, "origin"), "train") as run:
        pass
    stored = runs(uri, "origin")["train"].data
    assert len(stored.tags["mlflow.source.git.commit"]) == 40
    assert stored.tags["lens.git_dirty"] in ("true", "false")
    assert stored.tags["lens.process"].split()[1] == str(os.getpid())
    assert 0 < stored.metrics["system/system_memory_usage_percentage"] <= 100
    assert stored.metrics["system/heartbeat_s"] == pytest.approx(time.time(), abs=60)
    pins = Path(download_artifacts(run_id=run.run_id, artifact_path="requirements.txt", tracking_uri=uri)).read_text()
    assert f"\nmlflow=={metadata.version('mlflow')}\n" in pins


def test_stage_that_failed_goes_on_in_the_same_run(uri: str) -> None:
    tracking, tags = Tracking(uri, "again"), {"lens.output": "file:///out"}
    first = new_run(tracking, "evaluate lens")
    first.tags(tags)
    first.end("FAILED")
    assert unfinished_run(tracking, "evaluate lens", {"lens.output": "file:///other"}) is None
    assert unfinished_run(tracking, "evaluate lens", tags) == first.run_id
    with stage_run(tracking, "evaluate lens", first.run_id):
        assert unfinished_run(tracking, "evaluate lens", tags) is None  # it runs
    assert runs(uri, "again")["evaluate lens"].info.status == "FINISHED"
    assert unfinished_run(tracking, "evaluate lens", tags) is None


def test_stage_of_a_cluster_ends_the_pipeline_run_with_it_when_it_fails(uri: str) -> None:
    with pytest.raises(ValueError, match="broken"), stage_run(Tracking(uri, "pods"), "train"):
        raise ValueError("broken")
    assert runs(uri, "pods")["pods"].info.status == "FAILED"


def test_stopped_training_is_killed_and_not_failed(uri: str) -> None:
    with pytest.raises(StoppedError), stage_run(Tracking(uri, "stopped"), "train"):
        raise StoppedError("asked to stop")
    assert runs(uri, "stopped")["train"].info.status == "KILLED"


def test_server_that_does_not_answer_is_named_at_once() -> None:
    with (
        pytest.raises(LensError, match=r"MLflow at http://127\.0\.0\.1:9 does not answer .*--tracking-uri"),
        stage_run(Tracking("http://127.0.0.1:9", "x"), "train"),
    ):
        pass


def test_deleted_experiment_is_named_with_the_command_that_brings_it_back(tmp_path: Path) -> None:
    """MLflow keeps a deleted experiment's name, and says of a new run only that the experiment must be active."""
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db", "r")
    experiment = parent_run(tracking).experiment_id
    client = MlflowClient(tracking_uri=tracking.uri)
    client.delete_experiment(experiment)
    for ask in (lambda: parent_run(tracking), lambda: describe_store(tracking.uri)):
        with pytest.raises(
            LensError, match=f"lens-grpo was deleted .*mlflow experiments restore --experiment-id {experiment}`"
        ):
            ask()
    client.restore_experiment(experiment)
    assert parent_run(tracking).experiment_id == experiment


FIRST = """
import sys
from lens_core.tracking import Tracking, parent_run
print(parent_run(Tracking(sys.argv[1], "demo")).run_id)
"""


def test_commands_that_open_a_new_store_at_once_share_it(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/home/mlflow.db"
    command = [sys.executable, "-c", FIRST, uri]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(found) == 1
    assert {path.name for path in (tmp_path / "home").iterdir()} == {"mlflow.db", "mlflow.db.lock"}


def test_store_whose_making_was_killed_is_made_anew(tmp_path: Path) -> None:
    """In the middle of its migrations, which do not go on by themselves."""
    killed = f"""
import os, signal
from mlflow.store.db import utils
utils._upgrade_db = lambda engine: os.kill(os.getpid(), signal.SIGKILL)
{FIRST}"""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert subprocess.run([sys.executable, "-c", killed, uri]).returncode == -signal.SIGKILL
    (tmp_path / "mlflow.db.partial-journal").write_text("of another database")
    assert parent_run(Tracking(uri, "demo")).run_id
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


KILLED_IN_A_TRANSACTION = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("pragma cache_size = 2")  # what does not fit goes into the file before the transaction ends
database.execute("begin")
database.execute("update runs set name = hex(zeroblob(100000))")
database.executemany("insert into tags values (?, ?, ?)", ((f"k{n}", "v" * 900, sys.argv[2]) for n in range(500)))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_store_goes_on_after_a_kill_in_the_middle_of_a_transaction(tmp_path: Path) -> None:
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db", "r")
    run = parent_run(tracking)
    command = [sys.executable, "-c", KILLED_IN_A_TRANSACTION, str(tmp_path / "mlflow.db"), run.run_id]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "mlflow.db-journal").stat().st_size > 0
    assert parent_run(tracking).run_id == run.run_id
