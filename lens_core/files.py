"""Files that others read: written whole or not at all, and read with one line for a person where they are damaged."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lens_core.errors import LensError

ROLLOUTS_FILE = "rollouts.jsonl"
"""Of an evaluation: graded completions, which are also what problems can be chosen by."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write into: at the end of the block all of it is on disk as `path`; if the block raises, nothing is."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """`text` as UTF-8."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Plain data, indented; a line break at the end."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object that `write_json` wrote.

    Raises:
        LensError: naming the file, if it is missing, empty, torn, or holds no object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LensError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise LensError(f"{path} is damaged ({error}): restore it, or choose another folder") from error
    if not isinstance(value, dict):
        raise LensError(f"{path} is damaged (it holds no object): restore it, or choose another folder")
    return value
