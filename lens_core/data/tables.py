"""Tables: rows of JSON Lines, JSON, Parquet and CSV files, and data sets of Hugging Face's library, one at a time."""

from __future__ import annotations

import codecs
import csv
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from lens_core.config import SourceConfig
from lens_core.data.layouts import RowError
from lens_core.errors import LensError, first_line
from lens_core.files import require_regular

_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".csv": "csv", ".tsv": "csv"}
_FIRST_BYTES = 4096


@dataclass(frozen=True)
class TableRow:
    """One row of a table."""

    line: int
    """Of the file, or place of the row; from 1."""
    value: Any
    """The row, or the RowError that it is."""
    share: float
    """How much of the table has been read with it, from 0 to 1."""
    text: str | None = None
    """As it stands in the file, where it is one line."""


def rows_of(source: SourceConfig) -> Iterator[tuple[str, TableRow]]:
    """(name of the table, row) of each row of `source`, its subsets one after the other.

    Raises:
        LensError: if it cannot be read.
    """
    assert source.path is not None
    path = Path(source.path)
    require_regular(path)
    if _is_data_set(source, path):
        subsets = source.subset or (None,)
        for index, subset in enumerate(subsets):
            name = path.name if subset is None or len(subsets) == 1 else f"{path.name}-{subset}"
            for row in _data_set(source, subset):
                yield name, TableRow(row.line, row.value, (index + row.share) / len(subsets))
        return
    if source.split is not None or source.subset:
        raise LensError(f"{path} is a file: split and subset belong to data sets; leave them out")
    try:
        for row in _READERS[_format(path)](path):
            yield path.stem, row
    except OSError as error:
        raise LensError(f"{path} cannot be read: {error.strerror or error}; give the path of a data file") from error


def require_there(source: SourceConfig) -> None:
    """Refuse a source whose file is not there; a data set on the hub is not asked for.

    Raises:
        LensError: naming the file.
    """
    if source.path is None:
        return
    path = Path(source.path)
    if not path.exists() and not _is_data_set(source, path):
        raise LensError(f"{path} cannot be read: No such file or directory; give the path of a data file")


def _is_data_set(source: SourceConfig, path: Path) -> bool:
    """A folder, or a name on the hub: `owner/name`, without the suffix of a data file."""
    if path.is_dir():
        return True
    if path.is_file() or path.suffix in (*_SUFFIXES, ".json"):
        return False
    return source.kind == "huggingface" or (len(path.parts) == 2 and not path.is_absolute())


def _format(path: Path) -> str:
    """By what the file holds, and where that is open, by its name."""
    with path.open("rb") as file:
        head = file.read(_FIRST_BYTES).removeprefix(codecs.BOM_UTF8)
    if head.startswith(b"PAR1"):
        return "parquet"
    if path.suffix in _SUFFIXES:
        return _SUFFIXES[path.suffix]
    if head.lstrip()[:1] == b"[":
        return "json"
    if head.lstrip()[:1] == b"{":
        return "jsonl" if _is_whole_row(path) else "json"
    return "csv" if head.strip() and path.suffix != ".json" else "jsonl"


def _is_whole_row(path: Path) -> bool:
    """Whether the first line that is not blank is an object by itself, and not the beginning of one."""
    with path.open("rb") as file:
        first = next((line for line in _without_bom(file) if line.strip()), b"")
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _json_lines(path: Path) -> Iterator[TableRow]:
    size, done = max(1, path.stat().st_size), 0
    with path.open("rb") as file:
        for number, raw in enumerate(_without_bom(file), start=1):
            done += len(raw)
            if raw.strip():
                text = raw.decode("utf-8", errors="replace").rstrip("\r\n")
                yield TableRow(number, _parsed(raw), min(1.0, done / size), text)


def _without_bom(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Windows' editors begin a file in UTF-8 with a byte order mark."""
    for number, line in enumerate(lines):
        yield line if number else line.removeprefix(codecs.BOM_UTF8)


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_not_a_number)
    except UnicodeDecodeError:
        return RowError("the line is not valid UTF-8")
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of more than 4,300 digits
        return RowError(f"the line is not valid JSON ({error})")


def _not_a_number(name: str) -> float:
    """Python's parser takes NaN and Infinity, which JSON does not have."""
    raise ValueError(f"{name} is no JSON number")


def _json(path: Path) -> Iterator[TableRow]:
    """An array of rows, an object whose one array they are in, or one row; such a file has to be read as a whole."""
    try:
        tree = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise LensError(f"{path} is no valid JSON ({first_line(error)}); give JSON, or one object a line") from error
    if isinstance(tree, dict):
        lists = [value for value in tree.values() if isinstance(value, list)]
        tree = lists[0] if len(lists) == 1 and all(isinstance(row, dict) for row in lists[0]) else [tree]
    for number, row in enumerate(tree, start=1):
        yield TableRow(number, row, number / len(tree))


def _parquet(path: Path) -> Iterator[TableRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            total, number = max(1, file.metadata.num_rows), 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield TableRow(number, row, number / total)
    except (pa.ArrowException, ValueError, ArithmeticError, LookupError) as error:  # text, times that Python has not
        raise LensError(f"{path} is no valid Parquet file ({first_line(error)})") from error


def _csv(path: Path) -> Iterator[TableRow]:
    size = max(1, path.stat().st_size)
    csv.field_size_limit(2**31 - 1)  # solutions are long
    with path.open("rb") as binary:
        lines = (line.decode("utf-8-sig", errors="replace") for line in binary)
        head = next(lines, "")
        delimiter = "\t" if head.count("\t") > head.count(",") else ","
        reader = csv.DictReader(chain([head], lines), delimiter=delimiter)
        for row in _csv_rows(reader, path):
            if "\ufffd" in "".join(map(str, row.values())):
                yield TableRow(reader.line_num, RowError("the row is not valid UTF-8"), 1.0, str(row))
                continue
            # An empty cell holds nothing; a row that is too short is padded with None by the reader.
            values = {name: value for name, value in row.items() if name is not None and value}
            yield TableRow(reader.line_num, values, min(1.0, binary.tell() / size))


def _csv_rows(reader: csv.DictReader[str], path: Path) -> Iterator[dict[str | Any, Any]]:
    try:
        yield from reader
    except csv.Error as error:  # such as the line ends of an old Mac
        raise LensError(f"{path}:{reader.line_num + 1} is no valid CSV ({error})") from error


_READERS = {"jsonl": _json_lines, "json": _json, "parquet": _parquet, "csv": _csv}


def _cache_of(folder: Path) -> str | None:
    """Of a local folder a cache of its own, for as long as its files stay as they are; None: the library's.

    The library tells folders with a README of configurations apart by their last name alone, and would give the rows of
    another one, or those of before.
    """
    if not folder.is_dir():
        return None
    from datasets import config

    files = [(each, each.stat()) for each in sorted(folder.rglob("*")) if each.is_file()]
    state = [(str(file.absolute()), stat.st_size, stat.st_mtime_ns) for file, stat in files]
    return str(Path(config.HF_DATASETS_CACHE) / "lens" / hashlib.sha256(repr(state).encode()).hexdigest()[:32])


def _data_set(source: SourceConfig, subset: str | None) -> Iterator[TableRow]:
    """A split of a folder or of a data set on the hub, memory-mapped."""
    from datasets import DatasetDict, load_dataset, load_from_disk

    assert source.path is not None
    split, path = "train" if source.split is None else source.split, Path(source.path)
    try:
        if (path / "dataset_dict.json").exists() or (path / "dataset_info.json").exists():
            saved = load_from_disk(source.path)
            dataset = saved[split] if isinstance(saved, DatasetDict) else saved
        else:
            dataset = load_dataset(source.path, subset, split=split, cache_dir=_cache_of(path))
    except Exception as error:  # the library raises many kinds, its own and those of its file systems
        where = f"split {split}" if subset is None else f"subset {subset}, split {split}"
        raise LensError(f"data set {source.path} ({where}) cannot be loaded: {first_line(error)}") from error
    for number, row in enumerate(dataset, start=1):
        yield TableRow(number, row, number / len(dataset))
