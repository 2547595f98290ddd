"""A recipe with import paths is code: nothing of it is run that nobody has allowed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lens_core.cli.main import app, main

RECIPE = """
extends: demo
name: foreign
methods: {lens: {objective: "stranger:objective"}}
train: {verifier: "stranger:verify"}
evaluation: {verifier: "stranger:verify"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A downloaded folder with a recipe and its code, which leaves `was-run`, as working directory."""
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    (tmp_path / "stranger.py").write_text("open('was-run', 'w').close()\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # as PYTHONPATH=. puts it there
    yield tmp_path
    sys.modules.pop("stranger", None)


@pytest.mark.parametrize(
    "arguments",
    [
        ["recipe", "show", "recipe.yaml"],
        ["recipe", "list"],
        ["train", "--recipe", "recipe.yaml", "--dry-run"],
        ["recipe", "show", "--allow-import", "recipe.yaml"],
    ],
)
def test_looking_at_a_recipe_imports_nothing(folder: Path, arguments: list[str]) -> None:
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.exception
    assert not (folder / "was-run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--recipe", "recipe.yaml"],
        ["study", "--config", "recipe.yaml"],
        ["sweep", "--config", "recipe.yaml"],
        ["evaluate", "policy", "--data", "data", "--config", "recipe.yaml"],
        ["data", "pass-rates", "policy", "--data", "data", "-o", "out", "--config", "recipe.yaml"],
        ["pipeline", "run", "--config", "recipe.yaml"],
        ["pipeline", "compile", "--config", "recipe.yaml"],
        ["pipeline", "submit", "--endpoint", "http://127.0.0.1:9", "--config", "recipe.yaml"],
    ],
)
def test_import_paths_are_refused_on_one_line_before_anything_is_imported_or_written(
    folder: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lens", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    for part in ("recipe.yaml", "stranger:", "--allow-import", "LENS_ALLOW_IMPORT"):
        assert part in line
    assert sorted(each.name for each in folder.iterdir()) == ["recipe.yaml", "stranger.py"]


@pytest.mark.parametrize("allowed_by", ["option", "variable", "command line"])
def test_allowed_functions_are_tried_before_any_work(
    folder: Path, allowed_by: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "stranger.py").write_text("open('was-run', 'w').close()\nverify = objective = 3\n", encoding="utf-8")
    arguments = ["train", "--recipe", "recipe.yaml"]
    if allowed_by == "option":
        arguments += ["--allow-import"]
    elif allowed_by == "variable":
        monkeypatch.setenv("LENS_ALLOW_IMPORT", "other,stranger")
    else:
        said = [f"{section}.verifier=stranger:verify" for section in ("train", "evaluation")]
        settings = ["methods={lens: {objective: 'stranger:objective'}}", *said]
        arguments = ["train", *(word for setting in settings for word in ("--set", setting))]
    monkeypatch.setattr(sys, "argv", ["lens", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert capsys.readouterr().err == "lens: methods.lens: objective 'stranger:objective' is a int, not a function\n"
    assert {each.name for each in folder.iterdir()} - {"__pycache__"} == {"recipe.yaml", "stranger.py", "was-run"}


def test_functions_of_python_itself_are_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`os:popen` would run a policy's own text in a shell."""
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.replace("stranger:verify", "os:popen").replace("stranger:objective", "lens"), "utf-8")
    monkeypatch.setattr(sys, "argv", ["lens", "train", "--recipe", str(path)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert "names code to run: train.verifier is os:popen" in capsys.readouterr().err


@pytest.mark.parametrize(
    "lens", [[str(Path(sys.executable).with_name("lens"))], [sys.executable, "-m", "lens_core.cli"]], ids=["lens", "-m"]
)
def test_lens_itself_runs_nothing_of_the_working_directory(
    lens: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "random", "torch", "yaml", "typer"):
        (tmp_path / f"{name}.py").write_text("open('was-run', 'w').close()\n", encoding="utf-8")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    subprocess.run([*lens, "recipe", "show", "demo"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert not (tmp_path / "was-run").exists()
