"""How commands speak: progress while they work, a result at their end; to a person, or as JSON lines to a log."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lens_core.cli.visible import visible

if TYPE_CHECKING:
    from lens_core.progress import Listener


@dataclass(frozen=True)
class Manner:
    """What `lens --quiet` and `lens --json` choose; both together leave the result alone, as JSON."""

    quiet: bool = False
    json: bool = False


FOR_A_PERSON = Manner()
manner: ContextVar[Manner] = ContextVar("manner", default=FOR_A_PERSON)


if_interrupted: ContextVar[str] = ContextVar("if_interrupted", default="")
"""What becomes of the work of the running command if it is interrupted, and how to resume it; empty: nothing to say."""


def warn(text: str) -> None:
    """Something that puts the result in doubt: on stderr, whatever the manner."""
    say(f"WARNING: {text}", err=True)


@contextmanager
def progress() -> Iterator[Listener]:
    """The listener that was asked for: bars or lines, JSON lines, or none."""
    from lens_core.cli.display import Display, JsonLines
    from lens_core.progress import ignore

    if manner.get().quiet:
        yield ignore
    elif manner.get().json:
        yield JsonLines()
    else:
        with Display() as display:
            yield display


def say(text: str, *, err: bool = False) -> None:
    """Print a line, or several, to stdout or stderr: how everything that is no table reaches a terminal."""
    typer.echo(visible(text), err=err)


def remark(text: str) -> None:
    """Something for a person to read before the result."""
    if manner.get() == FOR_A_PERSON:
        say(text)


def conclude(result: Any, shown: str | Callable[[], None]) -> None:
    """Say the result of a command: to a person as `shown`, else as one line of JSON.

    Args:
        result: plain data, paths, dataclasses, pydantic models; numbers that are not finite become null.
        shown: a text, or what prints one.
    """
    if manner.get().json:
        from pydantic_core import to_json

        typer.echo(to_json(result, inf_nan_mode="null").decode())
    elif isinstance(shown, str):
        say(shown)
    else:
        shown()


def relative(path: Path) -> str:
    """`path` as seen from here where it lies below, else in full."""
    return os.path.relpath(path) if path.absolute().is_relative_to(Path.cwd()) else str(path)
