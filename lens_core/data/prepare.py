"""Preparation of a run's problems: read, filter, hold out, remove overlap, write, count."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lens_core.config import DataConfig, SourceConfig
from lens_core.data.decontaminate import distinct, without_overlap
from lens_core.data.problem import Problem, digest, write_problems
from lens_core.data.readers import BadRow, read_source, stop_at
from lens_core.errors import LensError

TRAIN_FILE, TEST_FILE, VALIDATION_FILE = "train.jsonl", "test.jsonl", "validation.jsonl"
SUMMARY_FILE, BAD_ROWS_FILE = "data.json", "bad_rows.jsonl"


class DataSummary(BaseModel):
    """What `data.json` says of a prepared folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int
    """Problems to train on."""
    test: int
    """Problems to evaluate on."""
    validation: int = 0
    """Problems that a sweep compares its trials on."""
    train_levels: dict[str, int]
    """Training problems by level; `none` where the source has no levels."""
    test_levels: dict[str, int]
    duplicates_removed: int
    """Problems whose prompt had come before in the same split."""
    overlap_removed: int
    """Training problems that were also test problems."""
    bad_rows: int
    """Rows written aside to `bad_rows.jsonl`."""
    train_digest: str
    """SHA-256 of `train.jsonl`."""
    test_digest: str
    """SHA-256 of `test.jsonl`."""
    validation_digest: str | None = None
    """SHA-256 of `validation.jsonl`; None without it."""


def prepare(config: DataConfig, output: Path) -> DataSummary:
    """Write `train.jsonl`, `test.jsonl` and `data.json` into `output`; equal configurations give equal bytes.

    Raises:
        LensError: at the first bad row (unless `skip_bad_rows`), if a split ends up empty, or if `output` cannot be
            written; in the first two cases `output` is as it was.
    """
    bad: list[BadRow] = []
    on_bad_row = bad.append if config.skip_bad_rows else stop_at
    train_read = [problem for source in config.train for problem in _select(source, on_bad_row)]
    train = distinct(train_read)
    duplicates = len(train_read) - len(train)
    random.Random(config.seed).shuffle(train)
    if config.test is None:
        held_out = max(1, round(len(train) * config.test_share))
        test, train = train[:held_out], train[held_out:]
    else:
        test_read = _select(config.test, on_bad_row)
        test = distinct(test_read)
        duplicates += len(test_read) - len(test)
    kept = without_overlap(train, test)
    overlap = len(train) - len(kept)
    validation, kept = kept[: config.validation], kept[config.validation :]
    _require_some("training", kept, config.train, bad)
    _require_some("test", test, config.train if config.test is None else (config.test,), bad)
    try:
        return _write(kept, test, validation, bad, duplicates, overlap, output)
    except OSError as error:
        raise LensError(f"{output} cannot be written: {error.strerror}; give a folder that can") from error


def _require_some(
    name: str, problems: Sequence[Problem], sources: Sequence[SourceConfig], bad: Sequence[BadRow]
) -> None:
    if not problems:
        where = ", ".join(source.kind if source.path is None else source.path for source in sources)
        first = f" ({len(bad)} bad rows, the first {bad[0].file}:{bad[0].line}: {bad[0].reason})" if bad else ""
        raise LensError(f"no {name} problem is left of {where}{first}: widen the source")


def _write(
    kept: Sequence[Problem],
    test: Sequence[Problem],
    validation: Sequence[Problem],
    bad: Sequence[BadRow],
    duplicates: int,
    overlap: int,
    output: Path,
) -> DataSummary:
    """Write the folder, its summary last: while it is missing, the folder is not whole."""
    output.mkdir(parents=True, exist_ok=True)
    (output / SUMMARY_FILE).unlink(missing_ok=True)  # of an earlier preparation, as are old bad rows
    (output / BAD_ROWS_FILE).unlink(missing_ok=True)
    (output / VALIDATION_FILE).unlink(missing_ok=True)
    if bad:
        _write_text("".join(json.dumps(asdict(row)) + "\n" for row in bad), output / BAD_ROWS_FILE)
    write_problems(kept, output / TRAIN_FILE)
    write_problems(test, output / TEST_FILE)
    if validation:
        write_problems(validation, output / VALIDATION_FILE)
    summary = DataSummary(
        train=len(kept),
        test=len(test),
        validation=len(validation),
        train_levels=_levels(kept),
        test_levels=_levels(test),
        duplicates_removed=duplicates,
        overlap_removed=overlap,
        bad_rows=len(bad),
        train_digest=digest(output / TRAIN_FILE),
        test_digest=digest(output / TEST_FILE),
        validation_digest=digest(output / VALIDATION_FILE) if validation else None,
    )
    _write_text(summary.model_dump_json(indent=2) + "\n", output / SUMMARY_FILE)
    return summary


def read_problems(path: Path) -> list[Problem]:
    """The problems of one of our own files.

    Raises:
        LensError: if the file is missing, empty, or holds a bad row.
    """
    return list(read_source(SourceConfig(kind="problems", path=str(path)), stop_at))


def read_summary(folder: Path) -> DataSummary:
    """The `data.json` of a prepared folder."""
    path = folder / SUMMARY_FILE
    try:
        return DataSummary.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise LensError(f"{folder} holds no prepared data ({SUMMARY_FILE}): run `lens data prepare` first") from error


def _select(source: SourceConfig, on_bad_row: Callable[[BadRow], None]) -> list[Problem]:
    problems = list(read_source(source, on_bad_row))
    if source.levels is not None:
        problems = [problem for problem in problems if problem.level in source.levels]
    if source.limit is not None and source.limit < len(problems):
        chosen = sorted(random.Random(source.seed).sample(range(len(problems)), source.limit))
        problems = [problems[index] for index in chosen]
    return problems


def _levels(problems: Sequence[Problem]) -> dict[str, int]:
    counts = Counter("none" if problem.level is None else str(problem.level) for problem in problems)
    return dict(sorted(counts.items()))


def _write_text(text: str, path: Path) -> None:
    """The file appears whole or not at all, as in `write_problems`."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
