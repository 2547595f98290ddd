"""Readers: files and data sets of several forms, turned into Problems; a bad row is an error or is set aside."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lens_core.config import SourceConfig
from lens_core.data.ladder import ladder
from lens_core.data.problem import Problem
from lens_core.errors import LensError, first_line
from lens_core.sections import describe


@dataclass(frozen=True)
class BadRow:
    """A row that is no problem, with the reason."""

    file: str
    line: int
    reason: str
    row: str


class RowError(ValueError):
    """Why one row is no problem."""


def read_source(source: SourceConfig, on_bad_row: Callable[[BadRow], None]) -> Iterator[Problem]:
    """Yield the problems of `source` in its order, before `levels` and `limit` are applied.

    Args:
        on_bad_row: called for each bad row; raise from it to stop (see `stop_at`), return to go on.

    Raises:
        LensError: if the source cannot be read, or holds no row at all.
    """
    if source.kind == "ladder":
        assert source.per_level is not None
        try:
            yield from ladder(source.per_level, source.seed, *([source.levels] if source.levels else []))
        except ValueError as error:
            raise LensError(f"ladder: {error}") from error
        return
    assert source.path is not None
    if source.kind == "huggingface":
        columns = {} if source.columns is None else {str(field): name for field, name in source.columns.items()}
        rows: Iterable[tuple[int, str, Any]] = _dataset_rows(source)
        name, convert = Path(source.path).name, _mapped(columns)
    else:
        rows = _json_lines(Path(source.path))
        name, convert = Path(source.path).stem, _CONVERTERS[source.kind]
    empty = True
    ids: set[str] = set()
    for line, text, row in rows:
        empty = False
        try:
            problem = _problem(row, line, name, source, convert)
        except RowError as error:
            on_bad_row(BadRow(source.path, line, str(error), text))
            continue
        while problem.id in ids:  # Problem.id is unique within a file
            problem = problem.model_copy(update={"id": f"{problem.id}-{line}"})
        ids.add(problem.id)
        yield problem
    if empty:
        raise LensError(f"{source.path} holds no rows")


def stop_at(bad: BadRow) -> None:
    """The default for bad rows: stop, naming file, line and remedy."""
    raise LensError(f"{bad.file}:{bad.line}: {bad.reason}; mend the row, or set bad rows aside with --skip-bad-rows")


_BRACE_OR_ESCAPE = re.compile(r"\\.|[{}]", re.DOTALL)  # an escaped brace opens and closes nothing


def last_boxed(text: str) -> str | None:
    """Content of the last `\\boxed{...}` in `text`, nested braces included; None if there is none, or it never ends."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len("\\boxed")
    for token in _BRACE_OR_ESCAPE.finditer(text, begin):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if depth == 0:
            return text[begin + 1 : token.start()]
    return None


def _problem(
    row: Any, line: int, name: str, source: SourceConfig, convert: Callable[[dict[str, Any]], dict[str, Any]]
) -> Problem:
    if isinstance(row, RowError):
        raise row
    if not isinstance(row, dict):
        raise RowError(f"the row is {type(row).__name__}, not an object")
    fields = convert(row)
    if source.kind != "problems":
        default_source = "gsm8k" if source.kind == "gsm8k" else name
        fields = {"id": f"{name}-{line}", "source": default_source, **fields}
    try:
        return Problem.model_validate({key: value for key, value in fields.items() if value is not None})
    except ValidationError as error:
        raise RowError(describe(error)) from error


def _json_lines(path: Path) -> Iterator[tuple[int, str, Any]]:
    """(line number, raw text, parsed row or the RowError that it is) of each line that is not blank."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise LensError(f"{path} cannot be read: {error.strerror}; give the path of a JSON Lines file") from error
    for number, raw in enumerate(lines, start=1):
        text = raw.decode("utf-8", errors="replace")
        if not text.strip():
            continue
        try:
            yield number, text, json.loads(raw.decode("utf-8"), parse_constant=_not_a_number)
        except UnicodeDecodeError:
            yield number, text, RowError("the line is not valid UTF-8")
        except (ValueError, RecursionError) as error:  # ValueError: also an integer of more than 4,300 digits
            yield number, text, RowError(f"the line is not valid JSON ({error})")


def _dataset_rows(source: SourceConfig) -> Iterator[tuple[int, str, Any]]:
    from datasets import load_dataset

    assert source.path is not None
    split = "train" if source.split is None else source.split
    try:
        dataset = load_dataset(source.path, split=split)
    except Exception as error:  # the library raises many kinds, its own and those of its file systems
        raise LensError(f"data set {source.path} (split {split}) cannot be loaded: {first_line(error)}") from error
    for number, row in enumerate(dataset, start=1):
        yield number, json.dumps(row, default=str), row


def _not_a_number(name: str) -> float:
    """Python's parser takes NaN and Infinity, which JSON does not have."""
    raise ValueError(f"{name} is no JSON number")


def _required(row: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if name in row:
            return row[name]
    raise RowError(f"the row has no {' or '.join(map(repr, names))}; it has {', '.join(map(repr, row)) or 'nothing'}")


def _answer(value: Any) -> str:
    """A gold answer as text; numbers are taken as they would be written."""
    finite = not isinstance(value, float) or math.isfinite(value)  # 1e999, and a table's empty cell, are not
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not finite:
        raise RowError(f"the answer is {json.dumps(value, default=str)[:60]}; it must be a text or a finite number")
    return str(value)


def _level(value: Any) -> int | None:
    """A level as a number: 3, "3" or "Level 3"; None where there is none ("Level ?" in MATH)."""
    if value is None or isinstance(value, int):
        return value
    match = re.search(r"(?<!\d)\d{1,9}(?!\d)", str(value))
    return int(match[0]) if match else None


def _gsm8k(row: dict[str, Any]) -> dict[str, Any]:
    """`question` and an `answer` that ends in `#### 18`, or the same with `problem`, `solution` and a bare `answer`."""
    answer = _answer(_required(row, "answer"))
    solution = row.get("solution")
    if "####" in answer:
        solution, _, answer = answer.rpartition("####")
    return {
        "prompt": _required(row, "problem", "question"),
        "answer": answer.strip().replace(",", ""),
        "solution": solution,
    }


def _math(row: dict[str, Any]) -> dict[str, Any]:
    """MATH and its relatives: `problem`, `level`, `subject`, and an `answer` or a `solution` with a boxed one."""
    answer = row.get("answer")
    solution = row.get("solution")
    if answer is None and isinstance(solution, str):
        answer = last_boxed(solution)
    if answer is None:
        raise RowError("the row has neither an 'answer' nor a 'solution' with a \\boxed answer")
    return {
        "prompt": _required(row, "problem", "question"),
        "answer": _answer(answer),
        "level": _level(row.get("level")),
        "subject": row.get("subject", row.get("type", row.get("subfield"))),
        "solution": solution if isinstance(solution, str) else None,
    }


def _mapped(columns: Mapping[str, str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Any columns, by a mapping from our field to theirs."""

    def convert(row: dict[str, Any]) -> dict[str, Any]:
        fields = {field: _required(row, column) for field, column in columns.items()}
        fields["answer"] = _answer(fields["answer"])
        if "level" in fields:
            fields["level"] = _level(fields["level"])
        return fields

    return convert


def _ours(row: dict[str, Any]) -> dict[str, Any]:
    """One of our own rows; a hand-written one may give its answer as a number."""
    return {**row, "answer": _answer(_required(row, "answer"))}


_CONVERTERS = {"gsm8k": _gsm8k, "math": _math, "problems": _ours}
