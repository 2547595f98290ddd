"""A shipped recipe's values are not meant for a model or data of somebody's own: theirs are taken, or asked for."""

import json
import sys
from pathlib import Path

import pytest

from lens_core.cli import main
from lens_core.cli.options import Own, settings_of
from lens_core.config import RunConfig, load_config
from lens_core.data.problem import write_problems
from lens_core.errors import LensError
from tests.helpers.results import policy_in


def trained(folder: Path, config: RunConfig) -> Path:
    (policy_in(folder) / "run.json").write_text(
        json.dumps({"design": {}, "config": config.model_dump(mode="json"), "mlflow_run": ""})
    )
    return folder


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["lens", *arguments])
    with pytest.raises(SystemExit) as left:
        main.main()
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train", "--data", "mine"], "--data mine"),
        (["train", "--base", "mine", "--dry-run"], "--base mine"),
        (["train", "-s", "data.train={kind: gsm8k, path: mine.jsonl}"], "-s data.train=..."),
        (["train", "-s", "base=my/model"], "-s base=..."),
        (["evaluate", "mine", "--data", "data"], "mine"),
        (["register", "mine", "--evaluation", "evaluation"], "mine"),
        (["data", "pass-rates", "mine", "--data", "data", "-o", "out"], "mine"),
        (["sweep", "--data", "mine"], "--data mine"),
        (["pipeline", "run", "-s", "base=my/model"], "-s base=..."),
    ],
)
def test_what_somebody_brings_needs_a_recipe_and_gets_none_silently(
    arguments: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refused(monkeypatch, capsys, *arguments)
    assert said.startswith(f"lens: {named} needs a configuration that fits it: add --recipe")
    assert list(tmp_path.iterdir()) == []


def test_policys_own_configuration_is_taken_with_what_is_said_besides(tmp_path: Path) -> None:
    config = load_config("qwen2.5-0.5b-gsm8k")
    own = Own("--base policy", (trained(tmp_path / "policy", config),))
    assert settings_of(None, None, own) == config
    assert settings_of(None, ["train.steps=3", "train.warmup_steps=0"], own).train.steps == 3
    assert settings_of("demo", None, own) == load_config("demo")  # what is said counts more


def test_shipped_base_has_the_recipe_that_it_was_made_for() -> None:
    assert settings_of(None, None, Own("ladder-base", ("ladder-base",))) == load_config("demo")


def test_nothing_brought_is_the_demo_and_no_error_names_a_recipe_that_nobody_gave() -> None:
    assert settings_of(None, ["train.seed=3"]).name == "demo"
    for config in (None, "demo"):
        with pytest.raises(LensError, match=r"^train\.stepz: there is no such key; did you mean train\.steps\?$"):
            settings_of(config, ["train.stepz=3"])
    with pytest.raises(LensError, match=r"^train: warmup_steps 8 exceeds steps 6: lower train\.warmup_steps too"):
        settings_of(None, ["train.steps=6"])


def test_error_of_a_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("extends: demo\ntrain: {stepz: 3}\n")
    with pytest.raises(LensError, match=r"my\.yaml: train\.stepz: there is no such key"):
        settings_of(str(tmp_path / "my.yaml"), ["train.seed=1"])


def test_data_that_somebody_brings_is_not_tested_on_the_demos_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lens_core.data.ladder import ladder

    monkeypatch.chdir(tmp_path)
    write_problems(ladder(4, 7), Path("mine.jsonl"))
    source = "data.train={kind: problems, path: mine.jsonl, license: mit}"
    monkeypatch.setattr(sys, "argv", ["lens", "--json", "data", "prepare", "-o", "data", "-s", source])
    with pytest.raises(SystemExit) as left:
        main.main()
    assert left.value.code in (0, None)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["train"] + found["test"] == 20  # and a tenth is held out
    assert found["test"] == 2
    assert [source["licence"] for source in found["sources"]] == ["mit"]
    assert "<h1>Data in data</h1>" in Path("data/data_card.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workers", "abc"], "--workers is 'abc'"),
        (["--method", "nope"], "the configuration has no method 'nope'"),
        (["--method", "lenss"], "did you mean lens?"),
        (["--workers", "3"], "128 completions a step (prompts_per_step x group_size) do not divide over 3 processes"),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_bad_input_of_a_training_fails_before_anything_is_prepared(
    arguments: list[str],
    said: str,
    dry: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(monkeypatch, capsys, "train", *arguments, *(["--dry-run"] if dry else []))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--recipe", "demo", "--data", "nowhere"], "nowhere holds no prepared data"),
        (["--recipe", "demo", "--base", "nowhere"], "--base nowhere is neither a folder nor a name on the hub"),
        (["--recipe", "demo", "-s", "data.train={kind: gsm8k, path: no.jsonl}"], "no.jsonl cannot be read"),
    ],
)
def test_dry_run_looks_for_what_it_names(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(monkeypatch, capsys, "train", "--dry-run", *arguments)
