"""Options that several commands share: in each one's signature, and made into a value once it is wanted."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from lens_core.cli.main import app as lens
from lens_core.cli.options import made_of_options, store_of
from lens_core.errors import LensError

MADE: list[str] = []


def make_door(
    color: Annotated[str, typer.Option(envvar="DOOR_COLOR", help="Paint.")] = "red",
    handles: Annotated[int, typer.Option()] = 1,
) -> str:
    MADE.append(color)
    return f"{color} with {handles}"


def app() -> typer.Typer:
    made = typer.Typer()

    @made.command()
    @made_of_options(door=make_door)
    def build(house: str, door: Callable[[], str], storeys: int = 1, is_open: bool = False) -> None:
        """Build a house."""
        typer.echo(f"{house}, {storeys}, {'open' if is_open else door()}")

    return made


def test_value_is_made_of_the_options() -> None:
    assert CliRunner().invoke(app(), ["hut"]).output == "hut, 1, red with 1\n"
    given = ["hut", "--color", "blue", "--storeys", "3", "--handles", "2"]
    assert CliRunner().invoke(app(), given).output == "hut, 3, blue with 2\n"
    assert CliRunner().invoke(app(), ["hut"], env={"DOOR_COLOR": "green"}).output == "hut, 1, green with 1\n"


def test_value_that_is_not_wanted_is_not_made() -> None:
    MADE.clear()
    assert CliRunner().invoke(app(), ["hut", "--is-open"]).output == "hut, 1, open\n"
    assert MADE == []


def test_options_are_checked_and_shown_like_the_commands_own() -> None:
    assert CliRunner().invoke(app(), ["hut", "--handles", "two"]).exit_code == 2
    shown = CliRunner().invoke(app(), ["--help"], env={"COLUMNS": "120", "TERM": "dumb"}).output
    assert "Build a house." in shown
    for part in ("--color", "Paint.", "DOOR_COLOR", "--handles", "--storeys"):
        assert part in shown
    assert "--door" not in shown


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command of `lens`, with its whole name."""
    if path:
        yield " ".join(path), group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


def test_help_speaks_only_of_options_that_the_command_has() -> None:
    """`lens pipeline submit` has no --home, and no SQLite database there."""
    spoken_of = 0
    for name, command in commands(typer.main.get_command(lens)):
        has = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        for each in command.params:
            mentioned = set(re.findall(r"--[a-z][\w-]+", getattr(each, "help", None) or ""))
            assert mentioned <= has, f"lens {name}: {each.name}"
            spoken_of += len(mentioned)
    assert spoken_of > 5


def test_home_that_no_address_can_name_is_refused(tmp_path: Path) -> None:
    """SQLite would open what stands before the question mark, a file outside of the home folder."""
    with pytest.raises(LensError, match=r"what\?mode=memory has a question mark in its name"):
        store_of(None, tmp_path / "what?mode=memory")
    assert store_of(None, tmp_path / "a b#c%41").startswith("sqlite:////")
