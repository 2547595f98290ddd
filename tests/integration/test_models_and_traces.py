"""Policies and answers in a real MLflow store: logged models, champions, traces."""

import json
import os
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from lens_core import stages
from lens_core.cli.main import app
from lens_core.config import load_config
from lens_core.errors import LensError
from lens_core.stages.registration import read_counts, register, register_best
from lens_core.tracking import AnswerTrace, Tracking, log_policy, log_traces, stage_run, use_policy
from tests.helpers.results import evaluation_in, policy_in

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


def test_policy_is_logged_once_and_carries_what_its_evaluation_found(uri: str, tmp_path: Path) -> None:
    policy = policy_in(tmp_path / "policy")
    with stage_run(Tracking(uri, "models"), "train lens") as train:
        model = log_policy(train, "demo-lens", policy)
        assert log_policy(train, "demo-lens", policy) == model
        checkpoint = log_policy(train, "demo-lens-step-5", policy, 5)
    with stage_run(Tracking(uri, "models"), "evaluate lens") as evaluate:
        assert use_policy(evaluate, "other name", policy, train.run_id) == model
        evaluate.metrics({"pass_at_1": 0.25}, model=model)
    client = MlflowClient(tracking_uri=uri)
    stored = client.get_logged_model(model)
    assert [(metric.key, metric.value, metric.run_id) for metric in stored.metrics] == [
        ("pass_at_1", 0.25, evaluate.run_id)
    ]
    assert (stored.status.name, stored.source_run_id) == ("READY", train.run_id)
    assert client.get_logged_model(checkpoint).name == "demo-lens-step-5"
    outputs = client.get_run(train.run_id).outputs.model_outputs
    assert {(each.model_id, each.step) for each in outputs} == {(model, 0), (checkpoint, 5)}
    assert client.get_run(evaluate.run_id).inputs.model_inputs[0].model_id == model


@pytest.mark.parametrize(
    "name",
    ["qwen2.5-0.5b-gsm8k-lens", 'llama-3.1-8b/it\'s "100 %": ünï 数学', "x" * 200, ""],
    ids=["dots", "all", "long", "empty"],
)
def test_policies_of_any_name_are_logged_and_found(uri: str, tmp_path: Path, name: str) -> None:
    policy = policy_in(tmp_path / "policy")
    with stage_run(Tracking(uri, "names"), f"train {name}") as train:
        model = log_policy(train, name, policy)
    with stage_run(Tracking(uri, "names"), f"evaluate {name}") as evaluate:
        assert use_policy(evaluate, name, policy, train.run_id) == model


def test_configuration_with_a_dot_trains_and_evaluates_to_the_end(uri: str, tmp_path: Path, base: Path) -> None:
    name = "qwen2.5-0.5b-gsm8k"
    sizes = ["train.steps=1", "train.prompts_per_step=1", "train.group_size=2", "train.max_new_tokens=4"]
    data_of = ["data.train={kind: ladder, per_level: 4}", "data.test={kind: ladder, per_level: 1, seed: 5}"]
    small = [
        "train.warmup_steps=0",
        "evaluation.traces=0",
        "evaluation.n=2",
        "evaluation.ks=[1]",
        "evaluation.max_new_tokens=4",
    ]
    config = load_config("demo", [*sizes, *data_of, *small]).model_copy(update={"name": name})
    tracking, data = Tracking(uri, name), tmp_path / "data"
    stages.prepare(config, data, tracking)
    policy = stages.train(config, "lens", data, base, tmp_path / "policy", tracking=tracking)
    stages.train(config, "lens", data, base, policy, tracking=tracking, resume=True)
    evaluation = stages.evaluate(config, "lens", data, policy, tmp_path / "evaluation", tracking)
    found = register(config, policy, evaluation, tmp_path / "card", tracking)
    assert (found["model"], found["version"]) == (f"lens-{name}", "1")


def test_answers_can_be_filtered_by_verdict(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////nowhere/else.db")
    answers = [
        AnswerTrace("1+1", "2", "correct", "", 0.9, {"problem": "p0"}),
        AnswerTrace("1+2", "4", "wrong", "4 is not 3", 0.8, {"problem": "p1"}),
    ]
    with stage_run(Tracking(uri, "traces"), "evaluate lens") as run:
        log_traces(run, "lens", answers, None)
    assert os.environ["MLFLOW_TRACKING_URI"] == "sqlite:////nowhere/else.db"
    client = MlflowClient(tracking_uri=uri)
    assert len(client.search_traces(locations=[run.experiment_id], run_id=run.run_id)) == 2
    (wrong,) = client.search_traces(locations=[run.experiment_id], filter_string="tags.verdict = 'wrong'")
    assert (json.loads(wrong.data.request), json.loads(wrong.data.response)) == ("1+2", "4")
    columns = {each.name: each.feedback.value for each in wrong.info.assessments}
    assert columns == {"verdict": "wrong", "confidence": 0.8}
    assert wrong.info.tags["problem"] == "p1"


def test_champion_is_replaced_only_by_a_policy_that_beats_it(uri: str, tmp_path: Path) -> None:
    config, tracking = load_config("demo"), Tracking(uri, "register")
    client, policy = MlflowClient(tracking_uri=uri), policy_in(tmp_path / "policy")

    def attempt(name: str, right: tuple[int, ...]) -> dict[str, object]:
        evaluation = evaluation_in(tmp_path / name, name, right * 10)
        return register(config, policy, evaluation, tmp_path / f"{name}-card", tracking)

    assert attempt("first", (1, 1, 1, 1))["version"] == "1"
    assert attempt("mixed", (4, 0, 1, 0))["version"] is None  # better on one, worse on two
    assert client.get_model_version_by_alias("lens-demo", "champion").tags["method"] == "first"
    better = attempt("better", (2, 2, 2, 3))
    assert better["version"] == "2"
    version = client.get_model_version_by_alias("lens-demo", "champion")
    assert (str(version.version), version.tags["method"]) == ("2", "better")
    assert version.tags["lens.weights"] == policy.as_uri()
    assert version.description.startswith("# lens-demo: better")
    assert "+31.2 [+21.8, +37.7] points against the champion before" in (tmp_path / "better-card/README.md").read_text()


def test_champion_of_other_problems_is_not_compared(uri: str, tmp_path: Path) -> None:
    config, tracking = load_config("demo"), Tracking(uri, "register")
    policy, here = policy_in(tmp_path / "policy"), evaluation_in(tmp_path / "here", "lens", (1, 1) * 20)
    register(config, policy, here, tmp_path / "a", tracking, name="lens-other")
    there = evaluation_in(tmp_path / "there", "lens", (2, 2) * 20, "e" * 64)
    with pytest.raises(LensError, match=r"was evaluated on other problems .* give that folder as --against"):
        register(config, policy, there, tmp_path / "b", tracking, name="lens-other")
    again = evaluation_in(tmp_path / "again", "lens", (1, 1) * 20, "e" * 64)
    found = register(config, policy, there, tmp_path / "b", tracking, name="lens-other", against=again)
    assert found["version"] == "2"
    assert read_counts(there) == {f"p{index}": (4, 2) for index in range(40)}


def test_few_problems_promote_nobody_over_a_champion(uri: str, tmp_path: Path) -> None:
    config, tracking = load_config("demo"), Tracking(uri, "few")
    policy = policy_in(tmp_path / "policy")
    for name, right in (("first", (0,) * 29), ("all-right", (4,) * 29)):
        evaluation = evaluation_in(tmp_path / name, name, right)
        found = register(config, policy, evaluation, tmp_path / f"{name}-card", tracking, name="lens-few")
    assert (found["version"], found["gate"]["passed"]) == (None, False)
    assert found["text"].startswith("not registered, for it rests on fewer than 30 problems: Pass@1 +100.0")
    assert "†" in (tmp_path / "all-right-card/README.md").read_text()


def test_best_of_several_does_not_replace_a_champion_of_other_problems(uri: str, tmp_path: Path) -> None:
    config, tracking = load_config("demo"), Tracking(uri, "best")
    policies, evaluations = [], []
    for name, right in (("grpo", (1, 1)), ("lens", (3, 2))):
        policies.append(policy_in(tmp_path / name))
        (policies[-1] / "training.json").write_text(json.dumps({"method": name}))
        evaluations.append(evaluation_in(tmp_path / f"{name}-evaluation", name, right))
    # In whatever order the two lists come.
    found = register_best(config, policies[::-1], evaluations, tmp_path / "a", tracking, "lens-best")
    assert (found["version"], found["text"]) == ("1", "lens-best, version 1, is the champion: the first of its name")
    version = MlflowClient(tracking_uri=uri).get_model_version_by_alias("lens-best", "champion")
    assert version.tags["lens.weights"] == policies[1].as_uri()
    there = [evaluation_in(tmp_path / "there", "lens", (4, 4), "e" * 64)]
    held = register_best(config, policies, there, tmp_path / "b", tracking, "lens-best")
    assert held["version"] is None
    assert json.loads((tmp_path / "b/registration.json").read_text()) == held
    assert "on other problems" in (tmp_path / "b/README.md").read_text()
    with pytest.raises(LensError, match="lens-best cannot be registered without MLflow"):
        register_best(config, policies, there, tmp_path / "c", None, "lens-best")


def test_runs_command_lists_and_compares(uri: str, tmp_path: Path) -> None:
    tracking = Tracking(uri, "listed")
    for name, alpha in (("train a", 0.1), ("train b", 0.2)):
        with stage_run(tracking, name) as run:
            run.params({"alpha": alpha, "steps": 3})
            run.metrics({"reward": alpha})
    listed = CliRunner().invoke(app, ["runs", "--json", "--tracking-uri", uri])
    rows = [row for row in json.loads(listed.stdout) if row["run"] == "listed"]
    assert [row["name"] for row in rows] == ["listed", "train a", "train b"]
    arguments = ["runs", "listed/train a", rows[2]["id"][:12], "--tracking-uri", uri]
    compared = CliRunner().invoke(app, arguments, env={"COLUMNS": "120"}).stdout
    assert "alpha" in compared
    assert "+0.1" in compared
    assert "steps" not in compared  # the same in both
    assert "system/" not in compared
