"""Names that people write: the nearest known one, and functions by their import path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pkgutil import resolve_name
from typing import Any

_PATH = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """`; did you mean train.steps?`, where a known name is near; else nothing.

    Args:
        prefix: shown before the name.
    """
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def is_path(name: str) -> bool:
    """Whether `name` reads `package.module:function`."""
    return _PATH.fullmatch(name) is not None


def find_function(path: str, role: str) -> Callable[..., Any]:
    """The function at `package.module:function`.

    Args:
        role: what the function is for, as errors say it: `objective`, `verifier`.

    Raises:
        ValueError: if there is none, on one line.
    """
    module, _, name = path.partition(":")
    try:
        resolve_name(f"{module}:")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a user's module may raise anything while it is imported
        absent = isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]
        remedy = "; install the package, or put its folder into PYTHONPATH" if absent else ""
        raise ValueError(f"{role} {path!r} cannot be imported: {described(error)}{remedy}") from error
    try:
        found = resolve_name(path)
    except AttributeError as error:
        raise ValueError(f"{role} {path!r} is not there: module {module!r} has no {name!r}") from error
    if not callable(found):
        raise ValueError(f"{role} {path!r} is a {type(found).__name__}, not a function")
    return found


def described(error: BaseException) -> str:
    """Type and first line of what a user's code raised."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
