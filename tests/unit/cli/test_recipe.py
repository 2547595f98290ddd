"""`lens recipe`: what ships with the package, and what can be set."""

import json
import sys

import pytest
from typer.testing import CliRunner

from lens_core.cli.main import app, main
from lens_core.config import RunConfig, recipe_names
from lens_core.config.reference import objective_settings, settings_of


def test_list_says_what_each_recipe_needs() -> None:
    _, *lines = CliRunner().invoke(app, ["recipe", "list"]).output.splitlines()
    assert [line.split()[0] for line in lines] == recipe_names()
    (demo,) = [line for line in lines if line.startswith("demo ")]
    for part in ("2 CPU cores, 2 GB of memory", "0.05, measured", "protocol of arXiv 2510.08696 in small"):
        assert part in demo
    found = json.loads(CliRunner().invoke(app, ["recipe", "list", "--json"]).output)
    assert [each["name"] for each in found] == recipe_names()
    assert {"name", "model", "data", "source", "hardware", "hours", "reported"} == found[0].keys()
    of = {each["name"]: (each["model"], each["data"]) for each in found}
    assert of["demo"] == ("ladder-base", "ladder")
    assert of["qwen2.5-0.5b-gsm8k"] == ("Qwen/Qwen2.5-0.5B-Instruct", "gsm8k")


def test_explain_prints_one_setting_or_gives_it_as_json() -> None:
    shown = CliRunner().invoke(app, ["recipe", "explain", "train.clip"])
    assert shown.output == (
        "train.clip\n    number > 0, < 1, default 0.2\n"
        "    epsilon of the clipped importance ratio (eq. 3, arXiv 2510.08696).\n"
    )
    (found,) = json.loads(CliRunner().invoke(app, ["recipe", "explain", "train.clip", "--json"]).output)
    assert (found["path"], found["type"], found["default"], found["range"]) == (
        "train.clip",
        "number",
        "0.2",
        "> 0, < 1",
    )
    everything = json.loads(CliRunner().invoke(app, ["recipe", "explain", "--json"]).output)
    assert len(everything) == len(settings_of(RunConfig)) + len(objective_settings())


def test_explain_of_an_unknown_setting_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lens", "recipe", "explain", "train.mask_trunc"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith(
        "lens: there is no setting 'train.mask_trunc'; the nearest are train.mask_t"
    )
