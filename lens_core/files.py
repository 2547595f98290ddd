"""Files that others read: written whole or not at all, and read with one line for a person where they are damaged."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lens_core.errors import LensError, first_line

ROLLOUTS_FILE = "rollouts.jsonl"
"""Of an evaluation: graded completions, which are also what problems can be chosen by."""


def require_regular(path: Path) -> None:
    """Refuse a pipe, a device or a socket, which may block or never end; what is not there is left to who opens it.

    Raises:
        LensError: naming it; of what is no path at all, too.
    """
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:  # half of a pair of surrogates, which JSON and YAML can write
        raise LensError(f"{str(path)!r} is no path: it holds what is no character") from error
    if "\0" in str(path):
        raise LensError(f"{str(path)!r} is no path: it holds a null character")
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):  # False, too, where we may not look
        raise LensError(f"{path} is neither a file nor a folder (a pipe or a device perhaps): give a regular file")


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


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """The object that `write_json` wrote.

    Args:
        keys: what it holds at least.

    Raises:
        LensError: naming the file, if it is missing, empty, torn, or holds no object, or one without the keys.
    """
    require_regular(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise LensError(f"{path} cannot be read: {error.strerror}") from error
    return _parsed(text, str(path), keys)


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Add lines, given without their ends, to a JSON Lines file: all of them or, if it cannot be written, none.

    What a kill or a full disk had cut short at the end of the file is cut off first.

    Raises:
        OSError: if it cannot be written.
    """
    left = "".join(f"{line}\n" for line in lines).encode("utf-8")
    with path.open("ab", buffering=0) as file:
        end = _whole_bytes(path)
        file.truncate(end)
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise


def read_lines(path: Path, *keys: str) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file, of which the last may have been cut short: it is left out.

    Args:
        keys: what each holds at least.

    Raises:
        LensError: naming file and line, if it is missing or damaged.
    """
    require_regular(path)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield _parsed(line, f"{path}:{number}", keys)
    except OSError as error:
        raise LensError(f"{path} cannot be read: {error.strerror}") from error


def _parsed(text: bytes, place: str, keys: Sequence[str]) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(place, first_line(error)) from error
    if not isinstance(value, dict):
        raise _damaged(place, "it holds no object")
    for key in keys:
        if key not in value:
            raise _damaged(place, f"it lacks {key}")
    return value


def _whole_bytes(path: Path) -> int:
    """Length of a file of lines without what is cut short at its end."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return 0
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return size
        file.seek(0)
        return file.read().rfind(b"\n") + 1


def _damaged(place: str, cause: str) -> LensError:
    return LensError(f"{place} is damaged ({cause}): restore it, or choose another folder")
