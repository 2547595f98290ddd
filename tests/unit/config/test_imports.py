"""Import paths in a configuration: code that is run only once somebody has allowed it."""

import sys
from pathlib import Path

import pytest

from lens_core.config import (
    RunConfig,
    check_imports,
    import_paths,
    load_config,
    recipe_names,
    refuse_imports,
)
from lens_core.errors import LensError

VERIFIERS = "train: {verifier: 'stranger.judge:verify'}\nevaluation: {verifier: 'stranger.judge:verify'}\n"
OBJECTIVE = "methods: {own: {objective: 'stranger.objectives:mine', weight: 2}}\n"


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that leaves a mark where it is imported."""
    package = tmp_path / "stranger"
    package.mkdir()
    for name in ("__init__", "judge", "objectives"):
        (package / f"{name}.py").write_text("raise SystemExit('code of a stranger')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(f"extends: demo\nname: foreign\n{text}", encoding="utf-8")
    return path


@pytest.mark.parametrize("text", [VERIFIERS, OBJECTIVE])
def test_reading_imports_nothing(text: str, stranger: Path) -> None:
    config = load_config(recipe(stranger, text))
    assert RunConfig.model_validate_json(config.model_dump_json()) == config  # as a pipeline's step reads it
    assert config.with_values({"train.steps": 30}).train.steps == 30
    assert "stranger" not in sys.modules


def test_all_places_of_import_paths_are_found(tmp_path: Path) -> None:
    sweep = "sweep: {method: own, k: 1, space: {methods.own.objective: {choice: [lens, 'other.objectives:f']}}}\n"
    config = load_config(recipe(tmp_path, f"{VERIFIERS}{OBJECTIVE}{sweep}data: {{validation: 4}}\n"))
    assert import_paths(config) == {
        "stranger.judge:verify": "train.verifier",
        "stranger.objectives:mine": "methods.own.objective",
        "other.objectives:f": "sweep.space.methods.own.objective",
    }


def test_what_the_package_ships_names_no_code() -> None:
    assert {name: import_paths(load_config(name)) for name in recipe_names()} == {name: {} for name in recipe_names()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (VERIFIERS, "train.verifier is stranger.judge:verify"),
        (OBJECTIVE, "methods.own.objective is stranger.objectives:mine"),
    ],
)
def test_import_paths_of_a_file_are_refused_on_one_line(text: str, said: str, stranger: Path) -> None:
    path = recipe(stranger, text)
    with pytest.raises(LensError, match=r"^[^\n]*$") as error:
        refuse_imports(load_config(path), str(path))
    for part in (said, "--allow-import", "LENS_ALLOW_IMPORT", str(path)):
        assert part in str(error.value)
    assert "stranger" not in sys.modules


def test_what_was_said_on_the_command_line_is_allowed_and_no_more(tmp_path: Path) -> None:
    path = recipe(tmp_path, VERIFIERS)
    own = ["train.verifier=mine.judge:verify", "evaluation.verifier=mine.judge:verify"]
    refuse_imports(load_config(path, own), str(path), own)
    methods = ["methods={m: {objective: 'mine.objectives:f'}}"]
    refuse_imports(load_config("demo", methods), "demo", methods)
    similar = ["name=stranger.judge"]
    with pytest.raises(LensError, match="stranger"):
        refuse_imports(load_config(path, similar), str(path), similar)


@pytest.mark.parametrize(
    ("trusted", "is_allowed"),
    [("stranger", True), ("other, stranger.judge", True), ("strange", False), ("stranger.jud", False), ("", False)],
)
def test_trusted_packages_may_be_named(
    trusted: str, is_allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENS_ALLOW_IMPORT", trusted)
    config = load_config(recipe(tmp_path, VERIFIERS))
    if is_allowed:
        refuse_imports(config, "recipe.yaml")
    else:
        with pytest.raises(LensError, match="names code to run"):
            refuse_imports(config, "recipe.yaml")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["methods={m: {objective: 'nowhere:f'}}"], "methods.m: objective 'nowhere:f' cannot be imported"),
        (
            ["train.verifier=math:nothing", "evaluation.verifier=math:nothing"],
            "evaluation.verifier: verifier 'math:nothing' is not there",
        ),
    ],
)
def test_what_cannot_be_imported_is_named_before_any_work(overrides: list[str], message: str) -> None:
    with pytest.raises(LensError, match=r"^[^\n]*$") as error:
        check_imports(load_config("demo", overrides))
    assert str(error.value).startswith(message)
