"""Stand-ins for data sets: rows in each set's own columns, read back by the reader that reads the set."""

from pathlib import Path
from typing import Any

import pytest

from lens_core.config import SourceConfig
from lens_core.data.layouts import LAYOUTS
from lens_core.data.miniature import stand_ins, write_source
from lens_core.data.readers import Strict, read_source

PROBLEMS = stand_ins(7, seed=3)
COLUMNS = {"prompt": "question", "answer": "meta.answer", "level": "meta.level"}


def read(source: SourceConfig, folder: Path) -> list[tuple[str, str]]:
    written = write_source(source, folder, PROBLEMS)
    assert written.model_dump(exclude={"path"}) == source.model_dump(exclude={"path"})
    return [(each.prompt, each.answer) for each in read_source(written, Strict())]


EXPECTED = [(each.prompt, each.answer) for each in PROBLEMS]


@pytest.mark.parametrize("kind", [*LAYOUTS, "problems"])
@pytest.mark.parametrize("path", ["rows.jsonl", "rows.json", "rows.parquet", "somebody/set"])
def test_rows_of_every_kind_are_read_as_the_problems_they_stand_for(kind: Any, path: str, tmp_path: Path) -> None:
    assert read(SourceConfig(kind=kind, path=path), tmp_path) == EXPECTED


@pytest.mark.parametrize("path", ["rows.csv", "rows.tsv"])
def test_tables_of_text_hold_flat_columns(path: str, tmp_path: Path) -> None:
    assert read(SourceConfig(kind="gsm8k", path=path), tmp_path) == EXPECTED


def test_columns_of_a_users_own_are_written_where_they_are_looked_for(tmp_path: Path) -> None:
    assert read(SourceConfig(kind="huggingface", path="some/set", columns=COLUMNS), tmp_path) == EXPECTED  # type: ignore[arg-type]


def test_splits_and_subsets_stay(tmp_path: Path) -> None:
    source = SourceConfig(kind="amc", path="some/set", split="test", subset=("amc10", "amc12"))
    assert read(source, tmp_path) == [*EXPECTED, *EXPECTED]


def test_math_500_has_columns_of_its_own(tmp_path: Path) -> None:
    source = write_source(SourceConfig(kind="math", path="HuggingFaceH4/MATH-500", split="test"), tmp_path, PROBLEMS)
    assert [each.level for each in read_source(source, Strict())] == [each.level for each in PROBLEMS]


def test_other_seeds_are_other_problems() -> None:
    first, second = ({each.prompt for each in stand_ins(20, seed)} for seed in (0, 1))
    assert len(first) == 20
    assert not first & second
