import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from lens_core.config import SourceConfig
from lens_core.data.problem import Problem, write_problems
from lens_core.data.readers import BadRow, Strict, read_source
from lens_core.errors import LensError


def write(path: Path, *rows: Any) -> str:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return str(path)


class Kept(Strict):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.bad: list[BadRow] = []
        self.reasons: list[str] = []
        self.shares: list[float] = []

    def bad_row(self, bad: BadRow) -> None:
        self.bad.append(bad)

    def left_out(self, reason: str) -> None:
        self.reasons.append(reason)

    def at(self, share: float) -> None:
        self.shares.append(share)


def read(kind: Any, path: str, **fields: Any) -> list[Problem]:
    return list(read_source(SourceConfig(kind=kind, path=path, **fields), Strict()))


def test_gsm8k_answer_is_what_follows_the_hashes_without_thousands_commas(tmp_path: Path) -> None:
    path = write(tmp_path / "g.jsonl", {"question": "How many?", "answer": "Work.\n#### 1,234"})
    assert read("gsm8k", path)[0] == Problem(
        id="g-1", prompt="How many?", answer="1234", source="gsm8k", solution="Work."
    )


def test_gsm8k_with_a_bare_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "g.jsonl", {"problem": "How many?", "solution": "Work.", "answer": "18"})
    assert read("gsm8k", path)[0].answer == "18"


def test_math_answer_is_the_last_box_with_nested_braces(tmp_path: Path) -> None:
    row = {"problem": "P", "solution": r"\boxed{1} no \boxed{\frac{1}{2}}", "level": "Level 5", "type": "Algebra"}
    problem = read("math", write(tmp_path / "m.jsonl", row))[0]
    assert (problem.answer, problem.level, problem.subject) == (r"\frac{1}{2}", 5, "Algebra")


def test_math_level_without_a_number_is_no_level(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", {"problem": "P", "answer": "1", "level": "Level ?"})
    assert read("math", path)[0].level is None


def test_numeric_answers_are_taken_as_written(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", {"problem": "P", "answer": 18}, {"problem": "Q", "answer": 0.5})
    assert [problem.answer for problem in read("math", path)] == ["18", "0.5"]


@pytest.mark.parametrize("level", ["9" * 5000, "Level 12345678901"])
def test_math_level_that_no_source_has_is_no_level(tmp_path: Path, level: str) -> None:
    path = write(tmp_path / "m.jsonl", {"problem": "P", "answer": "1", "level": level})
    assert read("math", path)[0].level is None


def test_ids_of_our_own_file_are_made_unique(tmp_path: Path) -> None:
    rows = [{"id": name, "prompt": f"P{i}", "answer": i, "source": "s"} for i, name in enumerate(["a", "a", "a-2"])]
    problems = read("problems", write(tmp_path / "p.jsonl", *rows))
    assert [(problem.id, problem.answer) for problem in problems] == [("a", "0"), ("a-2", "1"), ("a-2-3", "2")]


def test_olympiadbench_subfield_is_the_subject(tmp_path: Path) -> None:
    row = {"id": 7, "problem": "P", "answer": "$2$", "subfield": "Algebra", "solution": ["not a text"]}
    problem = read("math", write(tmp_path / "test.jsonl", row))[0]
    assert (problem.id, problem.subject, problem.answer, problem.solution) == ("test-1", "Algebra", "$2$", None)


def test_our_own_file_round_trips(tmp_path: Path) -> None:
    problems = [
        Problem(id="a", prompt="Ünïcode?", answer="1", source="s", level=2),
        Problem(id="b", prompt="Q", answer="2", source="s"),
    ]
    write_problems(problems, tmp_path / "p.jsonl")
    assert read("problems", str(tmp_path / "p.jsonl")) == problems


def test_huggingface_folder_with_a_column_mapping(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", {"q": "P", "a": 7, "hard": 3})
    columns = {"prompt": "q", "answer": "a", "level": "hard"}
    problem = read("huggingface", str(tmp_path), columns=columns)[0]
    assert (problem.prompt, problem.answer, problem.level) == ("P", "7", 3)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_huggingface_tables_are_read_and_an_empty_answer_is_a_bad_row(tmp_path: Path, form: str) -> None:
    table = Dataset.from_dict({"q": ["P", "Q"], "a": [7.5, None]})
    getattr(table, f"to_{form}")(str(tmp_path / f"train.{form}"))
    source = SourceConfig(kind="huggingface", path=str(tmp_path), columns={"prompt": "q", "answer": "a"})
    kept = Kept()
    assert [problem.answer for problem in read_source(source, kept)] == ["7.5"]
    assert [(row.line, row.reason[:13]) for row in kept.bad] == [(2, "the answer is")]


def test_huggingface_data_set_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    with pytest.raises(LensError, match=r"data set .*nowhere .*cannot be loaded"):
        read("huggingface", str(tmp_path / "nowhere"), columns={"prompt": "q", "answer": "a"})


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{broken", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ([1, 2], "not an object"),
        ({"answer": "1"}, "no 'problem' or 'question'"),
        ({"problem": "P"}, "neither an 'answer' nor a 'solution'"),
        ({"problem": "", "answer": "1"}, "prompt: .*at least 1 character"),
        ({"problem": "  ", "answer": "1"}, "prompt: .*at least 1 character"),
        ({"problem": 5, "answer": "1"}, "prompt: .*valid string"),
        ({"problem": "P", "answer": ""}, "answer: .*at least 1 character"),
        ({"problem": "P", "answer": True}, "the answer is true"),
        ({"problem": "P", "answer": [1]}, r"the answer is \[1\]"),
        ({"problem": "P", "answer": None}, "neither an 'answer'"),
        ('{"problem": "P", "answer": NaN}', "NaN is no JSON number"),
        ('{"problem": "P", "answer": -Infinity}', "-Infinity is no JSON number"),
        ('{"problem": "P", "answer": 1e999}', "the answer is Infinity"),
        ('{"problem": "P", "answer": ' + "1" * 5000 + "}", "not valid JSON .*4300 digits"),
        ('{"problem": "P \\ud800", "answer": "1"}', "prompt: .*valid string"),
        ({"problem": "P", "solution": "\\boxed{1"}, "neither an 'answer'"),
    ],
)
def test_bad_row_stops_with_file_line_and_remedy(tmp_path: Path, row: Any, reason: str) -> None:
    path = write(tmp_path / "m.jsonl", {"problem": "P", "answer": "1"}, row)
    with pytest.raises(LensError, match=rf"m\.jsonl:2: .*{reason}.*--skip-bad-rows"):
        read("math", path)


def test_bad_rows_are_handed_over_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(b'{"problem": "P", "answer": "1"}\n\xff\n\n{"problem": "Q", "answer": "2"}\n')
    kept = Kept()
    problems = list(read_source(SourceConfig(kind="math", path=str(tmp_path / "m.jsonl")), kept))
    assert [problem.id for problem in problems] == ["m-1", "m-4"]
    assert [(row.line, row.reason) for row in kept.bad] == [(2, "the line is not valid UTF-8")]


def test_missing_file_and_empty_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(LensError, match=r"none\.jsonl cannot be read: No such file"):
        read("gsm8k", str(tmp_path / "none.jsonl"))
    with pytest.raises(LensError, match=r"empty\.jsonl holds no rows"):
        read("gsm8k", write(tmp_path / "empty.jsonl"))


def test_progress_of_a_file_rises_to_its_end(tmp_path: Path) -> None:
    kept = Kept()
    path = write(tmp_path / "m.jsonl", *({"problem": f"P{i}", "answer": "1"} for i in range(5)))
    list(read_source(SourceConfig(kind="math", path=path), kept))
    assert kept.shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_rows_of_no_use_are_told_and_left_out(tmp_path: Path) -> None:
    rows = [{"problem": "P", "answer": answer, "source": "amc"} for answer in ("1", "proof", "notfound")]
    kept = Kept()
    problems = list(read_source(SourceConfig(kind="numina", path=write(tmp_path / "n.jsonl", *rows)), kept))
    assert [(problem.answer, problem.source) for problem in problems] == [("1", "numina/amc")]
    assert kept.reasons == ["asks for a proof", "no answer found"]
    assert kept.bad == []


def test_source_is_the_kind_or_the_name_that_is_given(tmp_path: Path) -> None:
    path = write(tmp_path / "test.jsonl", {"problem": "P", "answer": "1"})
    assert read("aime", path)[0].source == "aime"
    assert read("aime", path, name="aime-2024")[0].source == "aime-2024"
    assert read("huggingface", path, columns={"prompt": "problem", "answer": "answer"})[0].source == "test"


@pytest.mark.parametrize(
    ("kind", "name", "count"),
    [
        ("gsm8k", "gsm8k/train", 7473),
        ("gsm8k", "gsm8k/test", 1319),
        ("math", "olympiadbench/test", 675),
        ("olympiadbench", "olympiadbench/test", 674),
    ],
)
def test_real_files_read_without_a_bad_row(shared_data: Path, kind: str, name: str, count: int) -> None:
    problems = read(kind, str(shared_data / f"{name}.jsonl"))
    assert len(problems) == len({problem.id for problem in problems}) == count


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "rows"])
def test_byte_order_mark_is_no_part_of_the_data(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    text = "question,answer\nQ,1\n" if name.endswith("csv") else '{"question": "Q", "answer": "1"}\n'
    path.write_bytes(b"\xef\xbb\xbf" + (f"[{text}]" if name.endswith("json") else text).encode())
    columns = {"prompt": "question", "answer": "answer"}
    (problem,) = read("huggingface", str(path), columns=columns)
    assert (problem.prompt, problem.answer) == ("Q", "1")


def test_slip_in_columns_is_no_fault_of_the_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"question": "Q", "answer": "1"}, {"question": "R", "answer": "2"})
    told = Kept()
    columns = {"prompt": "qestion", "answer": "answer"}
    with pytest.raises(LensError, match=r"no column 'qestion', .*it has question, answer; did you mean question\?$"):
        list(read_source(SourceConfig(kind="huggingface", path=path, columns=columns), told))
    assert told.bad == []
    # A row that lacks a column which others have is a bad row.
    path = write(tmp_path / "b.jsonl", {"answer": "1"}, {"question": "R", "answer": "2"})
    columns = {"prompt": "question", "answer": "answer"}
    assert len(list(read_source(SourceConfig(kind="huggingface", path=path, columns=columns), told))) == 1
    assert [bad.line for bad in told.bad] == [1]


def test_question_of_a_book_is_refused_with_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"id": "a", "prompt": "x" * 1_000_001, "answer": "1", "source": "s"})
    with pytest.raises(LensError, match=r"a\.jsonl:1: prompt: has more than 1,000,000 characters, the limit; correct"):
        read("problems", path)
