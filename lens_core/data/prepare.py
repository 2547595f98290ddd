"""Preparation of a run's problems: collect, hold out, decontaminate, write, count."""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from lens_core.config import DataConfig, SourceConfig
from lens_core.data.collect import GONE, Collection, CountTokens
from lens_core.data.decontaminate import tokens
from lens_core.data.problem import Problem, digest
from lens_core.data.readers import Strict, read_source
from lens_core.data.summary import SUMMARY_FILE, DataSummary, Part, Tally
from lens_core.errors import LensError
from lens_core.files import replacing
from lens_core.progress import Listener, ignore

TRAIN_FILE, TEST_FILE, VALIDATION_FILE = "train.jsonl", "test.jsonl", "validation.jsonl"
"""Of the JSON Lines form; in the Parquet form the suffix is `.parquet`, and `read_problems` finds either."""
BAD_ROWS_FILE, REMOVED_FILE, UNREADABLE_FILE = "bad_rows.jsonl", "removed.jsonl", "unreadable.jsonl"
_FORMATS = (".jsonl", ".parquet")
_ROW_GROUP = 10_000


def prepare(
    config: DataConfig, output: Path, count_tokens: CountTokens | None = None, on_progress: Listener = ignore
) -> DataSummary:
    """Write the problems of each split and `data.json` into `output`; equal configurations give equal bytes.

    Args:
        count_tokens: of a question, as the base policy is asked; `max_prompt_tokens` needs it.

    Raises:
        LensError: at the first bad row (unless `skip_bad_rows`), if a split ends up empty, or if `output` cannot be
            written; in the first two cases `output` is as it was.
    """
    assert config.max_prompt_tokens is None or count_tokens is not None
    try:
        with Collection(config, output, count_tokens, on_progress) as collection:
            collection.read()
            splits = _split(config, collection)
            _require_some("training", splits["train"], config.train, collection)
            _require_some("test", splits["test"], config.train if config.test is None else (config.test,), collection)
            return _write(config, splits, collection, output)
    except OSError as error:
        raise LensError(f"{output} cannot be written: {error.strerror}; give a folder that can") from error


def read_problems(path: Path) -> list[Problem]:
    """The problems of one of our own files, in either form: without `train.jsonl`, `train.parquet` is read.

    Raises:
        LensError: if the file is missing, empty, or holds a bad row.
    """
    return list(read_source(SourceConfig(kind="problems", path=str(in_either_form(path))), Strict()))


def first_problems(path: Path, count: int) -> list[Problem]:
    """The first problems of one of our own files, in either form."""
    source = SourceConfig(kind="problems", path=str(in_either_form(path)))
    return list(islice(read_source(source, Strict()), count))


def in_either_form(path: Path) -> Path:
    """`path`, or the same file in the other form where only that is there."""
    others = [path.with_suffix(suffix) for suffix in _FORMATS]
    return path if path.exists() else next((other for other in others if other.exists()), path)


def _split(config: DataConfig, collection: Collection) -> dict[str, array[int]]:
    """Where the problems of each split lie, in the order in which they are written."""
    train, test = collection.train, collection.test
    random.Random(config.seed).shuffle(train)
    kept = array("q", (start for start in train if start != GONE))
    if config.test is None:
        held_out = max(1, round(len(kept) * config.test_share))
        test, kept = kept[:held_out], kept[held_out:]
        collection.evaluate_on(test)
        kept = array("q", (start for start in kept if _is_clean(start, collection)))
    return {"train": kept[config.validation :], "test": test, "validation": kept[: config.validation]}


def _is_clean(start: int, collection: Collection) -> bool:
    problem = collection.problem(start)
    overlap = collection.evaluation.match(tokens(problem.prompt))
    if overlap is not None:
        collection.remove(problem, overlap)
    return overlap is None


def _require_some(name: str, problems: Sequence[int], sources: Sequence[SourceConfig], collection: Collection) -> None:
    if not problems:
        where = ", ".join(source.kind if source.path is None else source.path for source in sources)
        first, count = collection.first_bad, collection.bad.count
        bad = "" if first is None else f" ({count} bad rows, the first {first.file}:{first.line}: {first.reason})"
        raise LensError(f"no {name} problem is left of {where}{bad}: widen the source")


def _write(config: DataConfig, splits: dict[str, array[int]], collection: Collection, output: Path) -> DataSummary:
    """Write the folder, its summary last: while it is missing, the folder is not whole."""
    output.mkdir(parents=True, exist_ok=True)
    stale = [f"{split}{suffix}" for split in splits for suffix in _FORMATS if suffix != f".{config.format}"]
    for name in (SUMMARY_FILE, BAD_ROWS_FILE, REMOVED_FILE, UNREADABLE_FILE, f"validation.{config.format}", *stale):
        (output / name).unlink(missing_ok=True)  # of an earlier preparation
    for name, spool in ((BAD_ROWS_FILE, collection.bad), (REMOVED_FILE, collection.removed)):
        if spool.count:
            _write_lines(spool.lines(), output / name)
    parts, digests = {}, {}
    for place, (split, starts) in enumerate(splits.items()):
        if starts:
            path = output / f"{split}.{config.format}"
            collection.tell(80 + 5 * place, f"writing {path.name}")
            parts[split] = _write_split(starts, collection, path)
            digests[split] = digest(path)
    if collection.unreadable.count:
        _write_lines(collection.unreadable.lines(), output / UNREADABLE_FILE)
    summary = DataSummary(
        train=len(splits["train"]),
        test=len(splits["test"]),
        validation=len(splits["validation"]),
        train_levels=parts["train"].levels,
        test_levels=parts["test"].levels,
        duplicates_removed=collection.duplicates,
        conflicting=collection.conflicting,
        conflicts=tuple(collection.conflicts),
        overlap_removed=collection.overlaps.total(),
        near_removed=collection.overlaps["near"],
        left_out=dict(sorted(collection.left_out.items())),
        bad_rows=collection.bad.count,
        unreadable=collection.unreadable.count,
        train_digest=digests["train"],
        test_digest=digests["test"],
        validation_digest=digests.get("validation"),
        sources=tuple(collection.sources),
        parts=parts,
    )
    _write_lines([summary.model_dump_json(indent=2).encode("utf-8") + b"\n"], output / SUMMARY_FILE)
    return summary


def _write_split(starts: array[int], collection: Collection, path: Path) -> Part:
    tally = Tally()

    def counted() -> Iterator[bytes]:
        for line in collection.problems.lines(starts):
            problem = json.loads(line)
            tally.add(problem)
            collection.check_gold(problem)
            yield line

    (_write_lines if path.suffix == ".jsonl" else _write_parquet)(counted(), path)
    return tally.part()


def _write_lines(lines: Iterable[bytes], path: Path) -> None:
    with replacing(path) as file:
        file.writelines(lines)


def _write_parquet(lines: Iterator[bytes], path: Path) -> None:
    """The same as one table, with a column for each field of Problem."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"level": pa.int64()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in Problem.model_fields])
    with replacing(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while rows := [json.loads(line) for line in islice(lines, _ROW_GROUP)]:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
