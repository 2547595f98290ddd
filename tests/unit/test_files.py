"""Files appear whole or not at all, and damage is one line."""

from pathlib import Path

import pytest

from lens_core.errors import LensError
from lens_core.files import read_json, replacing, write_json


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
