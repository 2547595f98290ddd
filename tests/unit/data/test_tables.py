import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from lens_core.config import SourceConfig
from lens_core.data.readers import Strict, read_source
from lens_core.data.tables import rows_of
from lens_core.errors import LensError

ROWS = [{"problem": f"P{i}", "answer": str(i), "level": i} for i in (1, 2)]


def answers(path: Path, kind: Any = "math", **fields: Any) -> list[tuple[str, int | None]]:
    source = SourceConfig(kind=kind, path=str(path), **fields)
    return [(problem.answer, problem.level) for problem in read_source(source, Strict())]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS)),
        ("t.json", "".join(json.dumps(row) + "\r\n" for row in ROWS)),  # lines under the other name
        ("t.json", json.dumps(ROWS)),
        ("t.json", json.dumps({"version": 1, "data": ROWS}, indent=2)),
        ("t", json.dumps(ROWS, indent=1)),
        ("t", "".join(json.dumps(row) + "\n" for row in ROWS)),
        ("t.csv", "problem,answer,level\nP1,1,1\nP2,2,2\n"),
        ("t.tsv", "problem\tanswer\tlevel\nP1\t1\t1\nP2\t2\t2\n"),
        ("t.csv", '\ufeffproblem,answer,level\n"P,\n1",1,1\nP2,2,2\n'),  # a quoted line end, and Excel's first mark
    ],
)
def test_text_files_are_read_whatever_their_form(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert answers(tmp_path / name) == [("1", 1), ("2", 2)]


@pytest.mark.parametrize("name", ["t.parquet", "t.bin"])
def test_parquet_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    Dataset.from_list(ROWS).to_parquet(str(tmp_path / name))
    assert answers(tmp_path / name) == [("1", 1), ("2", 2)]


def test_one_object_over_several_lines_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps(ROWS[0], indent=2))
    assert answers(tmp_path / "t.json") == [("1", 1)]


def test_parquet_keeps_nested_columns(tmp_path: Path) -> None:
    row = {"prompt": [{"role": "user", "content": "P"}], "reward_model": {"ground_truth": "34", "style": "rule"}}
    Dataset.from_list([row]).to_parquet(str(tmp_path / "t.parquet"))
    assert answers(tmp_path / "t.parquet", "dapo") == [("34", None)]


def test_folder_with_splits_and_a_saved_data_set_are_read(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "train.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    (tmp_path / "hub" / "test.jsonl").write_text(json.dumps(ROWS[1]) + "\n")
    assert answers(tmp_path / "hub") == [("1", 1)]
    assert answers(tmp_path / "hub", split="test") == [("2", 2)]
    DatasetDict({"test": Dataset.from_list(ROWS)}).save_to_disk(str(tmp_path / "saved"))
    assert answers(tmp_path / "saved", split="test") == [("1", 1), ("2", 2)]


def test_subsets_are_read_one_after_the_other(tmp_path: Path) -> None:
    configs = []
    for row, name in zip(ROWS, ("algebra", "geometry"), strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_text(json.dumps(row) + "\n")
        configs.append(f"- config_name: {name}\n  data_dir: {name}\n")
    (tmp_path / "README.md").write_text("---\nconfigs:\n" + "".join(configs) + "---\n")
    assert answers(tmp_path, subset=["algebra", "geometry"]) == [("1", 1), ("2", 2)]
    assert answers(tmp_path, subset="geometry") == [("2", 2)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.json", b"[1, 2", "no valid JSON"),
        ("t.parquet", b"PAR1 and nothing else", "no valid Parquet"),
        ("t.jsonl", b"", "holds no rows"),
        ("t.csv", b"problem,answer\n", "holds no rows"),
        ("t.csv", b"problem,answer\nP\xff,1\n", r"t\.csv:2: the row is not valid UTF-8"),
        ("t.csv", b"problem,answer\nP,\n", r"t\.csv:2: the row has neither"),
    ],
)
def test_file_that_is_none_of_its_form_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LensError, match=message):
        answers(tmp_path / name)


def test_split_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    with pytest.raises(LensError, match=r"is a file: split and subset belong to data sets"):
        answers(tmp_path / "t.jsonl", split="test")


def test_name_on_the_hub_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(LensError, match=r"data set nobody/nothing \(split train\) cannot be loaded"):
        answers(Path("nobody/nothing"))


def test_folders_of_one_name_keep_their_own_rows(tmp_path: Path) -> None:
    """With a README of configurations, as every snapshot of a hub has one."""

    def write(folder: Path, answer: str) -> SourceConfig:
        folder.mkdir(parents=True, exist_ok=True)
        configs = "configs: [{config_name: default, data_files: [{split: train, path: rows.jsonl}]}]"
        (folder / "README.md").write_text(f"---\n{configs}\n---\n")
        (folder / "rows.jsonl").write_text(json.dumps({"question": "Q", "answer": f"#### {answer}"}) + "\n")
        return SourceConfig(kind="gsm8k", path=str(folder))

    def answers(source: SourceConfig) -> list[str]:
        return [row.value["answer"] for _, row in rows_of(source)]

    one, other = write(tmp_path / "one/set", "1"), write(tmp_path / "other/set", "2")
    assert (answers(one), answers(other)) == (["#### 1"], ["#### 2"])
    assert answers(write(tmp_path / "one/set", "33")) == ["#### 33"]


@pytest.mark.parametrize("name", ["pipe", "pipe.jsonl", "link.jsonl", "/dev/zero"])
def test_pipes_and_devices_are_refused_and_not_waited_for(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.mkfifo("pipe.jsonl")
    Path("link.jsonl").symlink_to("pipe")
    for kind in ("problems", "math", "gsm8k"):
        with pytest.raises(LensError, match=r"is neither a file nor a folder .*: give a regular file"):
            answers(Path(name), kind)


@pytest.mark.parametrize("level", [10**30, -(10**30), 2**31, 1e30])
def test_level_that_no_table_holds_is_a_bad_row(tmp_path: Path, level: float) -> None:
    row = {"id": "a", "prompt": "1+1", "answer": "2", "source": "s", "level": level}
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(LensError, match=r"t\.jsonl:1: level: .*correct the row"):
        answers(tmp_path / "t.jsonl", "problems")
    (tmp_path / "m.jsonl").write_text(json.dumps({"problem": "1+1", "answer": "2", "level": level}) + "\n")
    with pytest.raises(LensError, match=r"m\.jsonl:1: "):
        answers(tmp_path / "m.jsonl", "math")


@pytest.mark.parametrize(
    "text", ["problem,answer\r1+1,2\r2+2,4\r", "problem,answer\n1+1\r,2\n"], ids=["old Mac", "in a row"]
)
def test_line_ends_that_are_none_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode())
    with pytest.raises(LensError, match=r"t\.csv:\d is no valid CSV"):
        answers(tmp_path / "t.csv")


def test_first_line_that_is_nested_too_deeply_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text('{"a":' * 50_000)
    with pytest.raises(LensError, match="is no valid JSON"):
        answers(tmp_path / "data")


def test_values_of_parquet_that_python_lacks_are_named(tmp_path: Path) -> None:
    no_text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    )
    for column in (no_text, pa.array([2**30], pa.date32()), pa.array([1], pa.timestamp("s", "No/Where"))):
        pq.write_table(pa.table({"problem": ["P"], "answer": column}), tmp_path / "t.parquet")
        with pytest.raises(LensError, match="is no valid Parquet file"):
            answers(tmp_path / "t.parquet")
