"""Files appear whole or not at all, and damage is one line."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from lens_core.data.summary import read_summary
from lens_core.errors import LensError
from lens_core.evaluation.folder import read_design
from lens_core.evaluation.records import read_report, read_results
from lens_core.files import append_lines, read_json, read_lines, replacing, require_regular, write_json


def test_json_comes_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, None], "c": "ü"})
    assert read_json(tmp_path / "a.json") == {"b": [1, None], "c": "ü"}
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_file_of_before_stays_where_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})

    def half() -> None:
        with replacing(path) as file:
            file.write(b'{"new"')
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        half()
    assert read_json(path) == {"old": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("text", ["", '{"a": 1', "[1, 2]", "null", "\x00\x00"])
def test_damage_is_one_line_that_names_the_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(LensError, match=r"run\.json is damaged") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LensError, match=r"run\.json cannot be read: No such file"):
        read_json(tmp_path / "run.json")


def test_file_that_is_no_text_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(LensError, match=r"run\.json is damaged"):
        read_json(tmp_path / "run.json")


def test_object_without_what_it_must_hold_is_damaged(tmp_path: Path) -> None:
    write_json(tmp_path / "training.json", {"method": "lens"})
    with pytest.raises(LensError, match=r"training\.json is damaged \(it lacks steps\)"):
        read_json(tmp_path / "training.json", "method", "steps")


def test_lines_are_added_behind_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_lines(path, ['{"a": 1}'])
    with path.open("ab") as file:
        file.write(b'{"a": 2')  # a kill
    append_lines(path, ['{"a": 3}', '{"a": 4}'])
    assert path.read_bytes() == b'{"a": 1}\n{"a": 3}\n{"a": 4}\n'


def test_file_that_lost_its_first_line_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\x00\x00\x00")  # a loss of power
    append_lines(tmp_path / "a.jsonl", ["{}"])
    assert (tmp_path / "a.jsonl").read_bytes() == b"{}\n"


def test_lines_that_find_no_room_are_not_half_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_lines(path, ['{"a": 1}'])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))  # the second line would end at 30 bytes
    try:
        with pytest.raises(OSError, match="File too large"):
            append_lines(path, ['{"a": "0123456789"}'])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b'{"a": 1}\n'


def test_lines_come_back_but_for_the_one_that_was_cut_short(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n{"a": 2}\n{"a')
    assert list(read_lines(tmp_path / "a.jsonl", "a")) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("line", [b"", b'{"a"', b"[1]", b"{}", b"\xff", b"\x00\x00"])
def test_damaged_line_is_named(line: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n' + line + b'\n{"a": 3}\n')
    with pytest.raises(LensError, match=r"a\.jsonl:2 is damaged") as caught:
        list(read_lines(tmp_path / "a.jsonl", "a"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("x.json", read_json),
        ("x.jsonl", lambda path: list(read_lines(path))),
        ("rollouts.jsonl", read_results),
        ("passk.json", lambda path: read_report(path.parent)),
        ("evaluation.json", lambda path: read_design(path.parent)),
        ("data.json", lambda path: read_summary(path.parent)),
    ],
)
def test_pipes_are_refused_and_not_waited_for(name: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(LensError, match=f"{name} is neither a file nor a folder"):
        read(tmp_path / name)


def test_half_a_surrogate_pair_is_no_path() -> None:
    with pytest.raises(LensError, match="is no path"):
        require_regular(Path("\ud800.yaml"))


def test_summary_that_is_no_text_is_no_summary(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_bytes(b"\xff\xfe")
    with pytest.raises(LensError, match="holds no prepared data"):
        read_summary(tmp_path)
