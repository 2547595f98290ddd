"""A sweep on real Ray Tune: what it leaves behind, resumption after a kill, failing trials, schedulers and searches."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from lens_core.config import RunConfig, load_config
from lens_core.errors import LensError
from lens_core.progress import Progress
from lens_core.stages.sweep import sweep
from lens_core.tracking import EXPERIMENT, Tracking
from lens_core.training.metrics_file import read_metrics
from tests.helpers.sweeps import SPACE, design

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_here")]

ROOT = Path(__file__).resolve().parents[2]


def two_at_a_time(base: Path, *overrides: str, space: str = SPACE) -> RunConfig:
    """On the six CPUs of the tests' cluster."""
    return design(base, "sweep.cpus_per_trial=3", *overrides, space=space)


def trial_runs(tracking: Tracking) -> list[Any]:
    client = MlflowClient(tracking_uri=tracking.uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return list(client.search_runs([experiment.experiment_id], "tags.`lens.stage` = 'trial'"))


@pytest.mark.long
def test_grid_goes_through_all_combinations_and_leaves_a_configuration_to_train(base: Path, tmp_path: Path) -> None:
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db", "sweep")
    seen: list[Progress] = []
    found = sweep(two_at_a_time(base), tmp_path / "sweep", tracking, seen.append)
    combinations = {
        (t["values"]["train.learning_rate"], t["values"]["methods.m.positive_weight"]) for t in found["trials"]
    }
    assert combinations == {(1e-3, 0.0), (1e-3, 0.5), (1e-4, 0.0), (1e-4, 0.5)}
    for trial in found["trials"]:
        assert trial["status"] == "finished"
        assert [report["step"] for report in trial["history"]] == [2, 4]
        assert trial["history"][-1]["tokens"] > trial["history"][0]["tokens"] > 0
        assert (Path(trial["folder"]) / "policy/model.safetensors").exists()
    # Data order and draws are the same for all: until the first update, so are the answers.
    firsts = [read_metrics(Path(trial["folder"]) / "policy")[0] for trial in found["trials"]]
    assert len({(first["lens/tokens/generated"], first["lens/confidence/wrong"]) for first in firsts}) == 1
    assert (seen[0].done, seen[-1].done, seen[-1].total) == (0, 4, 4)
    assert "best" in seen[-1].text
    assert [row[""] for row in seen[-1].rows] == ["finished"] * 4
    assert seen[-1].rows[0]["trial"] == found["best"]
    assert {row[""] for progress in seen for row in progress.rows} == {"running", "finished"}

    best = next(trial for trial in found["trials"] if trial["id"] == found["best"])
    config = load_config(tmp_path / "sweep/best.yaml")
    assert config.sweep is None
    assert config.train.learning_rate == best["values"]["train.learning_rate"]
    assert config.methods["m"].parameters["positive_weight"] == best["values"]["methods.m.positive_weight"]
    assert "Learning curves" in (tmp_path / "sweep/report.html").read_text()
    assert (tmp_path / "sweep/plots/learning-curves.png").exists()

    runs = trial_runs(tracking)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == 4
    assert {run.data.tags["lens.trial"] for run in runs} == {trial["id"] for trial in found["trials"]}
    assert all("pass_at_k" in run.data.metrics and "train.learning_rate" in run.data.params for run in runs)

    # Called again, it runs nothing.
    written = [path.stat().st_mtime_ns for path in (tmp_path / "sweep/trials").glob("*/policy/model.safetensors")]
    again = sweep(two_at_a_time(base), tmp_path / "sweep", tracking)
    assert again == found
    assert written == [
        path.stat().st_mtime_ns for path in (tmp_path / "sweep/trials").glob("*/policy/model.safetensors")
    ]


def test_failing_trials_are_recorded_and_the_others_go_on(base: Path, tmp_path: Path) -> None:
    space = "{methods.m.objective: {choice: [dr_grpo, 'tests.helpers.fakes:failing_objective']}}"
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db", "sweep")
    config = two_at_a_time(base, "train.prompts_per_step=3", "methods={m: {objective: dr_grpo}}", space=space)
    found = sweep(config, tmp_path / "sweep", tracking)
    by_status = {trial["status"]: trial for trial in found["trials"]}
    assert by_status.keys() == {"finished", "failed"}
    assert "this objective knows two groups" in by_status["failed"]["error"]
    assert found["best"] == by_status["finished"]["id"]
    assert {run.info.status for run in trial_runs(tracking)} == {"FINISHED", "FAILED"}


@pytest.mark.long
def test_sweep_in_which_everything_fails_says_the_first_cause(base: Path, tmp_path: Path) -> None:
    space = "{methods.m.objective: {choice: ['tests.helpers.fakes:failing_objective']}}"
    config = two_at_a_time(base, "train.prompts_per_step=3", "methods={m: {objective: dr_grpo}}", space=space)
    with pytest.raises(LensError, match=r"every trial of the sweep failed, the first with: .*knows two groups"):
        sweep(config, tmp_path / "sweep")


@pytest.mark.long
@pytest.mark.parametrize(
    ("scheduler", "tokens"),
    [
        ("asha", None),
        ("asha", 200),
        ("median", None),
    ],
)
def test_optuna_searches_ranges_and_schedulers_stop_trials(
    scheduler: str, tokens: int | None, base: Path, tmp_path: Path
) -> None:
    space = "{train.learning_rate: {loguniform: [1.0e-5, 1.0e-3]}, methods.m.positive_weight: {uniform: [0, 1]}}"
    overrides = ["sweep.search=optuna", f"sweep.scheduler={scheduler}", "sweep.trials=5", "train.steps=6"]
    overrides += [] if tokens is None else [f"train.max_tokens={tokens}"]
    found = sweep(two_at_a_time(base, *overrides, "sweep.validate_every=1", space=space), tmp_path / "sweep")
    assert len(found["trials"]) == 5
    assert all(1e-5 <= trial["values"]["train.learning_rate"] <= 1e-3 for trial in found["trials"])
    assert {trial["status"] for trial in found["trials"]} <= {"finished", "pruned"}
    assert any(trial["status"] == "finished" for trial in found["trials"])
    for trial in found["trials"]:
        last = trial["history"][-1]
        spent = last["step"] == 6 if tokens is None else last["tokens"] >= tokens
        assert spent == (trial["status"] == "finished")


@pytest.mark.long
def test_population_goes_on_from_checkpoints_of_its_best_with_other_values(base: Path, tmp_path: Path) -> None:
    space = (
        "{train.learning_rate: {loguniform: [1.0e-5, 1.0e-3]}, methods.m.positive_weight: {choice: [0.0, 0.5, 1.0]}}"
    )
    overrides = ["sweep.search=random", "sweep.scheduler=pbt", "sweep.trials=4", "train.steps=8"]
    found = sweep(two_at_a_time(base, *overrides, space=space), tmp_path / "sweep")
    assert [trial["status"] for trial in found["trials"]] == ["finished"] * 4
    assert all(1e-5 <= trial["values"]["train.learning_rate"] <= 1e-3 for trial in found["trials"])
    assert all(trial["history"][-1]["step"] == 8 for trial in found["trials"])
    # One that took over another's place has trained its own policy from a step in the middle, at its own rate.
    taken_over = 0
    for trial in found["trials"]:
        steps = read_metrics(Path(trial["folder"]) / "policy")
        taken_over += steps[0]["step"] > 1
        assert steps[-1]["learning_rate"] == pytest.approx(trial["values"]["train.learning_rate"])
    assert taken_over


KILLED = """
import sys
from pathlib import Path
from lens_core.stages.sweep import sweep
from tests.helpers.sweeps import design
sweep(design(Path(sys.argv[1]), "sweep.concurrent=1"), Path(sys.argv[2]))
"""


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_ended_sweep_names_no_best_and_runs_nothing_again_that_had_finished(
    number: signal.Signals, base: Path, tmp_path: Path
) -> None:
    output = tmp_path / "sweep"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-c", KILLED, str(base), str(output)]
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    trials = output / "trials.json"
    while not trials.exists() or len(json.loads(trials.read_text())["trials"]) < 2:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)  # it must not end by itself
    os.killpg(process.pid, number)
    assert process.wait() != 0
    assert not (output / "sweep.json").exists()
    finished = {each["id"]: each for each in json.loads(trials.read_text())["trials"] if each["status"] == "finished"}
    assert 0 < len(finished) < 4
    written = {id_: (output / "trials" / id_ / "policy/model.safetensors").stat().st_mtime_ns for id_ in finished}

    found = sweep(design(base, "sweep.concurrent=1"), output)
    assert [trial["status"] for trial in found["trials"]] == ["finished"] * 4
    for id_, before in written.items():
        assert (output / "trials" / id_ / "policy/model.safetensors").stat().st_mtime_ns == before


def test_data_that_cannot_be_read_is_refused_before_any_trial(base: Path, tmp_path: Path) -> None:
    with pytest.raises(LensError, match=r"nowhere/train\.jsonl cannot be read"):
        sweep(design(base), tmp_path / "sweep", data=tmp_path / "nowhere")
    assert not (tmp_path / "sweep").exists()


@pytest.mark.long
def test_sweep_of_several_updates_a_batch_reports_what_was_last_drawn(base: Path, tmp_path: Path) -> None:
    """The paper's protocol: reward and tokens are logged with the first of the four updates on a batch."""
    config = two_at_a_time(
        base,
        "train.updates_per_batch=4",
        "train.steps=6",
        "train.log_every=4",
        "sweep.validate_every=4",
        space="{methods.m.positive_weight: {choice: [0.0, 0.5]}}",
    )
    found = sweep(config, tmp_path / "sweep")
    for trial in found["trials"]:
        assert trial["status"] == "finished", trial["error"]
        # The last step is no multiple of four, and is logged and measured all the same.
        assert [report["step"] for report in trial["history"]] == [4, 6]
        metrics = read_metrics(Path(trial["folder"]) / "policy")
        assert [step["step"] for step in metrics] == [4, 6]
        assert [step["lens/tokens/generated"] for step in metrics] == [each["tokens"] for each in trial["history"]]
