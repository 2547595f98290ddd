"""The CLI's words and exit codes, through its entry point."""

import json
from pathlib import Path

import pytest

from lens_core.cli import main
from lens_core.errors import LensError
from tests.helpers.fakes import save_tiny_policy

pytestmark = pytest.mark.integration


def lens(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Exit code of `lens ARGUMENTS`."""
    monkeypatch.setattr("sys.argv", ["lens", *arguments])
    with pytest.raises(SystemExit) as left:
        main.main()
    return left.value.code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--nope"], "No such option: --nope"),
        (["nope"], "No such command 'nope'"),
        (["evaluate"], "Missing argument 'MODEL'"),
        (["compare", "nowhere", "elsewhere"], "nowhere is no evaluation's folder"),
        (["view", "nowhere"], "nowhere holds no finished evaluation"),
        (["demo", "-s", "train.group_size=1"], "train.group_size"),
        (["demo", "-s", "methods.lens.alpha=-1"], "alpha is -1"),
        (["demo", "-s", "evaluation.ks=[32]"], "k = 32 exceeds n = 16"),
        (["demo", "--tracking-uri", "http://127.0.0.1:9"], "MLflow at http://127.0.0.1:9 does not answer"),
        (["runs", "a"], "takes no run or two to compare, not 1"),
        (["runs", "a", "b"], "there is no run a"),
        (["register", "nowhere", "--evaluation", "none", "-c", "demo"], "none holds no finished evaluation"),
        (["pipeline", "run", "-c", "nope.yaml"], "neither a recipe"),
        (["pipeline", "submit", "--endpoint", "http://127.0.0.1:9"], "KFP endpoint http://127.0.0.1:9"),
        (["data", "ladder", "-o", "x", "--per-level", "9999"], "distinct problems"),
        (["train", "-c", "demo", "--data", "nowhere", "-o", "out"], "nowhere/train.jsonl cannot be read"),
        (["data", "prepare", "-o", "out", "-s", "data.train={kind: math, path: no.jsonl}"], "no.jsonl cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert lens(monkeypatch, *arguments) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.splitlines()) == 1


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["lens", "pipeline", "run", "-c", "nope.yaml", "--debug"])
    with pytest.raises(LensError):
        main.main()


@pytest.mark.parametrize(
    "command",
    [
        ["demo"],
        ["train"],
        ["evaluate"],
        ["compare"],
        ["view"],
        ["data", "prepare"],
        ["data", "ladder"],
        ["base", "train"],
        ["pipeline", "run"],
        ["pipeline", "compile"],
        ["pipeline", "submit"],
        ["pipeline", "status"],
        ["pipeline", "logs"],
        ["pipeline", "cancel"],
        ["pipeline", "schedule"],
        ["pipeline", "schedule", "list"],
        ["pipeline", "schedule", "pause"],
        ["pipeline", "schedule", "resume"],
        ["pipeline", "schedule", "delete"],
        ["recipe", "list"],
        ["recipe", "show"],
        ["register"],
        ["runs"],
        ["ui"],
        ["doctor"],
    ],
)
def test_every_help_shows_an_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert not lens(monkeypatch, *command, "--help")
    assert f"Example: lens {' '.join(command)}" in " ".join(capsys.readouterr().out.split())


def test_train_and_evaluate_by_hand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    values = ("data.train.per_level=4", "data.test.per_level=2", "train.steps=1", "train.warmup_steps=0")
    small = [f"--set={value}" for value in values]
    assert not lens(monkeypatch, "data", "prepare", "-o", "data", *small)
    base = save_tiny_policy(tmp_path / "tiny")
    assert not lens(monkeypatch, "train", "-c", "demo", "--data", "data", "--base", str(base), "-o", "policy", *small)
    assert not lens(monkeypatch, "evaluate", "policy", "--data", "data", "-o", "evaluation", "-n", "2", "-k", "1,2")
    assert "policy" in capsys.readouterr().out
    assert {"model.safetensors", "metrics.jsonl", "training.json"} <= {p.name for p in (tmp_path / "policy").iterdir()}
    written = {"evaluation.json", "rollouts.jsonl", "passk.json", "viewer.html"}
    assert {p.name for p in (tmp_path / "evaluation").iterdir()} == written


OUTPUTS = (
    *(["train"], ["train", "--resume"], ["evaluate", "ladder-base", "--data", "nowhere"], ["study"], ["sweep"]),
    *(
        ["base", "train"],
        ["base", "smollm2"],
        ["data", "prepare"],
        ["register", "ladder-base", "--evaluation", "nowhere"],
    ),
    ["pipeline", "compile"],
)


@pytest.mark.parametrize("command", OUTPUTS, ids=" ".join)
def test_no_command_writes_into_a_folder_of_somebody_else(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    theirs = {"README.md": "mine", "config.json": "{}", "checkpoint-5/optimizer.pt": ""}
    for name, text in theirs.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert lens(monkeypatch, *command, "-o", "mine") == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("lens: mine is not empty, and does not hold a")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {str(path.relative_to(tmp_path / "mine")): path.read_text() for path in files} == theirs


def test_folder_of_another_command_is_said_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ("--set=data.train.per_level=4", "--set=data.test.per_level=2")
    assert not lens(monkeypatch, "data", "prepare", "-o", "data", *small)
    assert lens(monkeypatch, "evaluate", "ladder-base", "--data", "data", "-o", "data") == 2
    assert "lens: data holds a data folder: choose another folder for an evaluation" in capsys.readouterr().err
    assert not lens(monkeypatch, "data", "prepare", "-o", "data", *small)  # its own, made anew


def test_refused_training_leaves_the_data_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    base = str(save_tiny_policy(tmp_path / "tiny"))
    values = ("data.test.per_level=2", "train.steps=1", "train.warmup_steps=0", "train.checkpoint_every=1")
    small = ["-c", "demo", "--base", base, "-o", "policy", *(f"--set={value}" for value in values)]
    assert not lens(monkeypatch, "train", *small, "--set=data.train.per_level=4")
    before = (tmp_path / "policy/data/train.jsonl").read_bytes()
    assert lens(monkeypatch, "train", *small, "--set=data.train.per_level=5") == 2
    assert "policy holds checkpoints of an earlier training" in capsys.readouterr().err
    assert (tmp_path / "policy/data/train.jsonl").read_bytes() == before


def test_json_lines_of_a_training_are_json_to_the_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    base = str(save_tiny_policy(tmp_path / "tiny"))
    values = ("data.train.per_level=4", "data.test.per_level=2", "train.steps=2", "train.warmup_steps=0")
    small = [f"--set={value}" for value in values]
    assert not lens(monkeypatch, "train", "-c", "demo", "--base", base, "-o", "policy", *small, "--json")
    *progress, result = map(json.loads, capsys.readouterr().out.splitlines())
    trained = [each["done"] for each in progress if each["stage"] == "train lens"]
    assert (trained[0], trained[-1]) == (0, 2)
    assert {each["stage"] for each in progress} == {"prepare", "train lens"}
    assert (result["policy"], result["method"], result["steps"]) == ("policy", "lens", 2)


def test_policy_folder_that_is_no_model_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    lens(monkeypatch, "data", "prepare", "-o", "data", "-s", "data.train.per_level=4", "-s", "data.test.per_level=2")
    assert lens(monkeypatch, "evaluate", "data", "-c", "demo", "--data", "data", "-o", "out") == 2
    assert "data holds no causal language model" in capsys.readouterr().err
