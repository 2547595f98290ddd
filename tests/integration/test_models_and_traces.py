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
from lens_core.stages.folder import TrainingDesign
from lens_core.stages.registration import read_counts, register, register_best
from lens_core.tracking import AnswerTrace, Tracking, charts_page, log_policy, log_traces, stage_run, use_policy
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
    against = stages.evaluate(config, "base", data, base, tmp_path / "base-evaluation", tracking)
    found = register(config, policy, evaluation, tmp_path / "card", tracking, against=against)
    assert (found["model"], found["version"]) == (f"lens-{name}", None)  # five problems are too few


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

    def attempt(name: str, right: tuple[int, ...], against: Path | None = None) -> dict[str, object]:
        evaluation = evaluation_in(tmp_path / name, name, right * 10, policy=policy)
        return register(config, policy, evaluation, tmp_path / f"{name}-card", tracking, against=against)

    base = evaluation_in(tmp_path / "base", "base", (0, 1, 1, 0) * 10)
    with pytest.raises(LensError, match=r"lens-demo has no champion yet, .*give the evaluation of .* as --against"):
        attempt("alone", (1, 1, 1, 1))
    worse = attempt("worse", (0, 0, 0, 0), base)
    assert worse["version"] is None
    assert str(worse["text"]).startswith("Not registered. worse is worse than base: Pass@1 -12.5 pp [")
    assert attempt("first", (1, 1, 1, 1), base)["version"] == "1"
    assert attempt("mixed", (4, 0, 1, 0))["version"] is None  # better on one, worse on two
    assert client.get_model_version_by_alias("lens-demo", "champion").tags["method"] == "first"
    better = attempt("better", (2, 2, 2, 3))
    assert better["version"] == "2"
    version = client.get_model_version_by_alias("lens-demo", "champion")
    assert (str(version.version), version.tags["method"]) == ("2", "better")
    assert version.tags["lens.weights"] == policy.as_uri()
    assert version.description.startswith("# lens-demo: better")
    said = "better is better than lens-demo version 1: Pass@1 +31.2 pp \\[+21.8, +37.7\\], p = 0.0002 (40 problems)."
    assert said in (tmp_path / "better-card/README.md").read_text()


def test_champion_of_other_problems_is_not_compared(uri: str, tmp_path: Path) -> None:
    config, tracking = load_config("demo"), Tracking(uri, "register")
    policy = policy_in(tmp_path / "policy")
    here = evaluation_in(tmp_path / "here", "lens", (1, 1) * 20, policy=policy)
    none = evaluation_in(tmp_path / "none", "base", (0, 0) * 20)
    register(config, policy, here, tmp_path / "a", tracking, name="lens-other", against=none)
    there = evaluation_in(tmp_path / "there", "lens", (2, 2) * 20, "e" * 64, policy)
    with pytest.raises(LensError, match=r"was evaluated on other problems .* give that folder as --against"):
        register(config, policy, there, tmp_path / "b", tracking, name="lens-other")
    again = evaluation_in(tmp_path / "again", "lens", (1, 1) * 20, "e" * 64)
    found = register(config, policy, there, tmp_path / "b", tracking, name="lens-other", against=again)
    assert found["version"] == "2"
    assert read_counts(there) == {f"p{index}": (4, 2) for index in range(40)}


def test_few_problems_promote_nobody_over_a_champion(uri: str, tmp_path: Path) -> None:
    config, tracking = load_config("demo"), Tracking(uri, "few")
    policy = policy_in(tmp_path / "policy")
    base = evaluation_in(tmp_path / "base", "base", (0,) * 29)
    evaluation = evaluation_in(tmp_path / "all-right", "all-right", (4,) * 29, policy=policy)
    card = tmp_path / "all-right-card"
    found = register(config, policy, evaluation, card, tracking, name="lens-few", against=base)
    assert (found["version"], found["gate"]["passed"]) == (None, False)
    assert found["text"].startswith("Not registered. Too few problems to tell all-right from base: Pass@1 +100.0 pp")
    assert "†" in (tmp_path / "all-right-card/README.md").read_text()


def test_best_of_several_does_not_replace_a_champion_of_other_problems(uri: str, tmp_path: Path) -> None:
    config, tracking = load_config("demo"), Tracking(uri, "best")
    policies, evaluations = [], []
    for name, right in (("grpo", (1, 1) * 20), ("lens", (3, 2) * 20)):
        policies.append(policy_in(tmp_path / name))
        (policies[-1] / "training.json").write_text(json.dumps({"method": name}))
        evaluations.append(evaluation_in(tmp_path / f"{name}-evaluation", name, right, policy=policies[-1]))
    # In whatever order the two lists come.
    unbeaten = register_best(config, policies, evaluations, tmp_path / "0", tracking, "lens-best")
    assert (unbeaten["version"], "no champion yet" in unbeaten["text"]) == (None, True)
    base = evaluation_in(tmp_path / "base", "base", (0, 1) * 20)
    both = (policies[::-1], evaluations, tmp_path / "a", tracking, "lens-best")
    found = register_best(config, *both, base_evaluation=base)
    assert found["version"] == "1"
    assert found["text"].startswith("lens-best, version 1, is the champion. lens is better than base: Pass@1 +50.0 pp")
    version = MlflowClient(tracking_uri=uri).get_model_version_by_alias("lens-best", "champion")
    assert version.tags["lens.weights"] == policies[1].as_uri()
    there = [evaluation_in(tmp_path / "there", "lens", (4, 4) * 20, "e" * 64, policies[1])]
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


def test_evaluation_of_another_policy_is_refused_before_any_work(uri: str, tmp_path: Path) -> None:
    config, tracking = load_config("demo"), Tracking(uri, "identity")
    policy, other = policy_in(tmp_path / "policy"), policy_in(tmp_path / "other")
    (other / "model.safetensors").write_bytes(b"other weights")
    evaluation = evaluation_in(tmp_path / "evaluation", "lens", (4,) * 40, policy=other)
    with pytest.raises(LensError, match=r"is the evaluation of another policy .*run `lens evaluate .*policy`"):
        register(config, policy, evaluation, tmp_path / "card", tracking, against=evaluation)
    assert not (tmp_path / "card").exists()


def test_card_is_filled_from_the_policys_own_folder(uri: str, tmp_path: Path) -> None:
    """Not from the configuration that happens to be given."""
    given, own = load_config("demo"), load_config("qwen2.5-0.5b-gsm8k")
    policy = policy_in(tmp_path / "policy")
    evaluation = evaluation_in(tmp_path / "evaluation", "lens", (4,) * 40, policy=policy)
    base = evaluation_in(tmp_path / "base", "base", (0,) * 40)

    def card(name: str) -> str:
        register(given, policy, evaluation, tmp_path / name, Tracking(uri, "card"), name=name, against=base)
        return (tmp_path / name / "README.md").read_text()

    unknown = card("lens-unknown")
    assert "| Method | not known: the folder holds no training of lens-grpo |" in unknown
    assert "| Licence | not stated" in unknown  # the demo's base would have one
    method = own.methods["lens"]
    design = TrainingDesign(base=own.base, method=method, train=own.train, data_sha256="e" * 64)
    held = {"design": design.model_dump(mode="json"), "config": own.model_dump(mode="json"), "mlflow_run": ""}
    (policy / "run.json").write_text(json.dumps(held))
    (policy / "training.json").write_text(json.dumps({"method": "lens", "seconds": 1}))
    known = card("lens-known")
    assert "| Base policy | Qwen/Qwen2.5-0.5B-Instruct |" in known
    assert "| Method | lens (lens" in known
    assert f"SHA-256 {'e' * 64}" in known
    assert "| Configuration | qwen2.5-0.5b-gsm8k, SHA-256 " in known


def test_charts_of_the_runs_have_an_address_of_their_own(uri: str) -> None:
    with stage_run(Tracking(uri, "charts"), "train lens") as run:
        experiment = run.experiment_id
    assert charts_page("http://here:5000/", uri) == (
        f"http://here:5000/#/experiments/{experiment}/runs?compareRunsMode=CHART"
    )
