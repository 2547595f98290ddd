"""`--quiet` and `--json`: general options, wherever they stand."""

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from lens_core.cli.main import app
from lens_core.cli.output import Manner, conclude, manner, progress
from lens_core.progress import Progress


@pytest.fixture(autouse=True)
def _own_manner() -> Iterator[None]:
    token = manner.set(Manner(quiet=True, json=True))
    yield
    manner.reset(token)


STEP = Progress("train lens", 3, 10, "reward 0.31")


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        ([], Manner()),
        (["--quiet"], Manner(quiet=True)),
        (["--json"], Manner(json=True)),
        (["-q", "--json"], Manner(quiet=True, json=True)),
    ],
)
def test_general_options_stand_before_or_behind_the_command(arguments: list[str], chosen: Manner) -> None:
    for command in ([*arguments, "recipe", "list"], ["recipe", "list", *arguments]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0
        assert manner.get() == chosen


def test_general_options_behind_two_dashes_belong_to_the_job() -> None:
    command = ["k8s", "launch", "--cluster", "none.yaml", "--run", "a", "--dry-run", "--", "lens", "demo", "--json"]
    CliRunner().invoke(app, command)
    assert manner.get() == Manner()


@pytest.mark.parametrize(
    ("chosen", "progress_lines", "result"),
    [
        (Manner(), 1, "a table"),
        (Manner(quiet=True), 0, "a table"),
        (Manner(json=True), 1, '{"report":"r.html","p":null}'),
        (Manner(quiet=True, json=True), 0, '{"report":"r.html","p":null}'),
    ],
)
def test_manners_differ_in_progress_and_result(
    capsys: pytest.CaptureFixture[str], chosen: Manner, progress_lines: int, result: str
) -> None:
    manner.set(chosen)
    with progress() as tell:
        tell(STEP)
    conclude({"report": "r.html", "p": float("nan")}, "a table")
    *told, last = capsys.readouterr().out.splitlines()
    assert len(told) == progress_lines
    assert last == result
    assert all(json.loads(line)["stage"] == "train lens" for line in told if chosen.json)


def test_recipe_as_json_is_the_configuration() -> None:
    done = CliRunner().invoke(app, ["recipe", "show", "demo", "--json", "--set", "train.steps=20"])
    assert json.loads(done.stdout)["train"]["steps"] == 20
