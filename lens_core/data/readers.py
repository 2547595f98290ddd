"""Readers: sources turned into Problems, row by row; a bad row is an error or is set aside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, Protocol

from pydantic import ValidationError

from lens_core.config import SourceConfig, describe
from lens_core.data.ladder import ladder
from lens_core.data.layouts import LAYOUTS, LeftOutError, RowError, answer_text, fields, level_number, look_up, required
from lens_core.data.problem import Problem
from lens_core.data.reasoning import reasoning_problems
from lens_core.data.tables import rows_of
from lens_core.errors import LensError
from lens_core.lookup import did_you_mean


@dataclass(frozen=True)
class BadRow:
    """A row that is no problem, with the reason."""

    file: str
    line: int
    reason: str
    row: str


class Reading(Protocol):
    """What is told of a source while it is read."""

    def bad_row(self, bad: BadRow) -> None:
        """A row that is no problem; raise to stop, return to go on."""

    def left_out(self, reason: str) -> None:
        """A sound row that is of no use."""

    def at(self, share: float) -> None:
        """A row has been read, and with it so much of the source, from 0 to 1."""


class Strict:
    """Stops at the first bad row, and does not count."""

    def bad_row(self, bad: BadRow) -> None:
        stop_at(bad)

    def left_out(self, reason: str) -> None: ...

    def at(self, share: float) -> None: ...


def stop_at(bad: BadRow) -> NoReturn:
    """The default for bad rows: stop, naming file, line and remedy."""
    raise LensError(f"{bad.file}:{bad.line}: {bad.reason}; correct the row, or set bad rows aside with --skip-bad-rows")


Convert = Callable[[Mapping[str, Any]], dict[str, Any]]


def read_source(source: SourceConfig, reading: Reading, taken: set[str] | None = None) -> Iterator[Problem]:
    """Yield the problems of `source` in its order, before `levels` and `limit` are applied. Only ids are kept in
    memory.

    Args:
        taken: ids that other problems have; those of this source are added. One that is there already is changed.

    Raises:
        LensError: if the source cannot be read, or holds no row at all.
    """
    ids = set() if taken is None else taken
    if source.path is None:
        generated = _ladder(source) if source.kind == "ladder" else reasoning_problems(source)
        for number, problem in enumerate(generated, start=1):
            yield _unique(problem, number, ids)
        return
    _require_columns(source)
    convert, origin, empty = _converter(source), _name(source), True
    for name, row in rows_of(source):
        empty = False
        reading.at(row.share)
        try:
            problem = _problem(row.value, f"{name}-{row.line}", origin, convert)
        except RowError as error:
            text = json.dumps(row.value, default=str) if row.text is None else row.text
            reading.bad_row(BadRow(source.path, row.line, str(error), text))
        except LeftOutError as reason:
            reading.left_out(str(reason))
        else:
            yield _unique(problem, row.line, ids)
    if empty:
        raise LensError(f"{source.path} holds no rows")


def _unique(problem: Problem, line: int, ids: set[str]) -> Problem:
    """Problem.id is unique within a file."""
    while problem.id in ids:
        problem = problem.model_copy(update={"id": f"{problem.id}-{line}"})
    ids.add(problem.id)
    return problem


def _ladder(source: SourceConfig) -> list[Problem]:
    assert source.per_level is not None
    try:
        return ladder(source.per_level, source.seed, *([source.levels] if source.levels else []))
    except ValueError as error:
        raise LensError(f"ladder: {error}") from error


def _problem(row: Any, name: str, origin: str | None, convert: Convert) -> Problem:
    if isinstance(row, RowError):
        raise row
    if not isinstance(row, Mapping):
        raise RowError(f"the row is {type(row).__name__}, not an object")
    found = convert(row)
    if origin is not None:
        part = found.pop("origin", None)
        found = {"id": name, "source": f"{origin}/{part}" if isinstance(part, str) else origin, **found}
    try:
        return Problem.model_validate({key: value for key, value in found.items() if value is not None})
    except ValidationError as error:
        raise RowError(describe(error)) from error


def _name(source: SourceConfig) -> str | None:
    """Problem.source; None where the rows say it themselves."""
    if source.name is not None or source.kind == "problems":
        return source.name
    path = Path(source.path or "")
    return (path.stem if path.is_file() else path.name) if source.kind == "huggingface" else source.kind


def _converter(source: SourceConfig) -> Convert:
    if source.kind == "problems":
        return _ours
    if source.kind == "huggingface":
        columns = {} if source.columns is None else {str(field): name for field, name in source.columns.items()}
        return lambda row: _mapped(columns, row)
    layout = LAYOUTS[source.kind]
    return lambda row: fields(layout, row, source.synthetic)


_LOOKED_AT = 100
"""Rows in which each column of `columns` has to be found once."""


def _require_columns(source: SourceConfig) -> None:
    """Refuse `columns` with a name that no row has: a slip there is no fault of the rows.

    Raises:
        LensError: naming the column, and those that there are.
    """
    if source.columns is None:
        return
    rows = [row.value for _, row in islice(rows_of(source), _LOOKED_AT) if isinstance(row.value, Mapping)]
    names = dict.fromkeys(str(name) for row in rows for name in row)
    for field, column in source.columns.items():
        if rows and not any(_has(row, column) for row in rows):
            raise LensError(
                f"{source.path} has no column {column!r}, which columns.{field} names; it has {', '.join(names)}"
                f"{did_you_mean(column, names)}"
            )


def _has(row: Mapping[str, Any], column: str) -> bool:
    return column in row or look_up(row, (column,)) is not None


def _mapped(columns: Mapping[str, str], row: Mapping[str, Any]) -> dict[str, Any]:
    """Any columns, by a mapping from our field to theirs."""
    found = {field: required(row, column) for field, column in columns.items()}
    found["answer"] = answer_text(found["answer"])
    if "level" in found:
        found["level"] = level_number(found["level"])
    return found


def _ours(row: Mapping[str, Any]) -> dict[str, Any]:
    """One of our own rows; a hand-written one may give its answer as a number."""
    return {**row, "answer": answer_text(required(row, "answer"))}
