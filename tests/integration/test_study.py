"""A study on real Ray: resumed where it was stopped, failures kept apart, and what it says."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from lens_core.config import RunConfig, load_config
from lens_core.errors import LensError
from lens_core.progress import Progress
from lens_core.stages.study import study
from lens_core.tracking import EXPERIMENT, Tracking
from lens_core.training.metrics_file import read_metrics

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_here")]


def design(base: Path, methods: str) -> RunConfig:
    train = ["steps=12", "prompts_per_step=3", "group_size=4", "max_new_tokens=8", "warmup_steps=0", "max_tokens=700"]
    others = [
        f"base={base}",
        "data.train.per_level=4",
        "data.test.per_level=2",
        "evaluation.n=2",
        "evaluation.ks=[1,2]",
        "evaluation.max_new_tokens=8",
        "study.seeds=[0,1]",
        "study.cpus_per_training=3",  # of the six of the cluster: two side by side
        f"methods={methods}",
    ]
    return load_config("ladder-quick", [*(f"train.{each}" for each in train), *others])


def test_study_goes_on_where_it_was_stopped_and_keeps_failures_apart(base: Path, tmp_path: Path) -> None:
    config = design(base, "{grpo: {objective: nsr}, bad: {objective: 'tests.helpers.fakes:failing_objective'}}")
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db", "study")
    seen: list[Progress] = []
    found = study(config, tmp_path / "study", tracking, seen.append)
    assert sorted(found["failed"]) == ["bad-s0", "bad-s1"], found["failed"]
    assert "this objective knows two groups" in found["failed"]["bad-s0"]
    assert [(progress.done, progress.total) for progress in seen] == [(done, 4) for done in range(5)]
    assert found["pass_at_k"]["1"]["grpo"]["mean"]["seeds"] == 2
    assert json.loads((tmp_path / "study/study.json").read_text()) == found
    assert "bad-s0" in (tmp_path / "study/report.html").read_text()

    # A training ends with the step that spends the budget.
    lines = (tmp_path / "study/cells/grpo-s0/policy/metrics.jsonl").read_text().splitlines()
    spent = [json.loads(line)["lens/tokens/generated"] for line in lines]
    assert spent[-2] < 700 <= spent[-1]
    assert len(spent) < 12
    assert json.loads((tmp_path / "study/cells/grpo-s0/policy/training.json").read_text())["steps"] == len(spent)

    before = [path.stat().st_mtime_ns for path in (tmp_path / "study/cells").glob("grpo-*/evaluation/*")]
    again = study(config, tmp_path / "study", tracking, seen.append)
    assert again == found
    assert before == [path.stat().st_mtime_ns for path in (tmp_path / "study/cells").glob("grpo-*/evaluation/*")]

    client = MlflowClient(tracking_uri=tracking.uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs = client.search_runs([experiment.experiment_id], "tags.`lens.stage` LIKE 'train %'")
    by_stage = {run.info.run_name: run.info.status for run in runs}
    assert by_stage == {
        "train grpo-s0": "FINISHED",
        "train grpo-s1": "FINISHED",
        "train bad-s0": "FAILED",
        "train bad-s1": "FAILED",
    }


def test_study_in_which_everything_fails_says_the_first_cause(base: Path, tmp_path: Path) -> None:
    config = design(base, "{grpo: {objective: 'tests.helpers.fakes:failing_objective'}}")
    with pytest.raises(LensError, match=r"every training of the study failed; grpo-s\d: .*knows two groups"):
        study(config, tmp_path / "study")


def test_folder_of_another_study_is_refused(base: Path, tmp_path: Path) -> None:
    begun = design(base, "{grpo: {objective: nsr}}").model_dump(mode="json")
    (tmp_path / "design.json").write_text(json.dumps({"config": begun}))
    with pytest.raises(LensError, match=r"was begun with methods\.grpo\.objective nsr, now grpo: go on with"):
        study(design(base, "{grpo: {objective: grpo}}"), tmp_path)


def test_configuration_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LensError, match="demo has no `study` section"):
        study(load_config("demo"), tmp_path)


def test_study_of_several_updates_a_batch_has_results(base: Path, tmp_path: Path) -> None:
    """The paper's protocol: reward and tokens are logged with the first of the four updates on a batch."""
    methods = "{grpo: {objective: nsr}, other: {objective: nsr, positive_weight: 0.5}}"
    config = design(base, methods).with_values(
        {"train.updates_per_batch": 4, "train.steps": 10, "train.max_tokens": None, "train.log_every": 1}
    )
    found = study(config, tmp_path / "study")
    assert found["failed"] == {}
    histories = [read_metrics(tmp_path / f"study/cells/grpo-s{seed}/policy") for seed in (0, 1)]
    drawn = [[step for step in steps if "reward" in step] for steps in histories]
    for steps, of_batches in zip(histories, drawn, strict=True):
        assert [step["step"] for step in steps] == list(range(1, 11))
        assert [step["step"] for step in of_batches] == [1, 5, 9]
    assert found["tokens"]["grpo"]["generated"] == sum(of[-1]["lens/tokens/generated"] for of in drawn) / 2
    assert found["token_target"] == pytest.approx(sum(step["reward"] for of in drawn for step in of) / 6)
