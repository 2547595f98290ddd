import json
from pathlib import Path

import pytest

from lens_core.config import DataConfig, SourceConfig
from lens_core.data.decontaminate import distinct, without_overlap
from lens_core.data.prepare import prepare, read_problems, read_summary
from lens_core.data.problem import Problem, digest
from lens_core.errors import LensError

LADDER = SourceConfig(kind="ladder", per_level=20, seed=1)


def problem(prompt: str) -> Problem:
    return Problem(id=prompt, prompt=prompt, answer="1", source="test")


def test_overlap_is_found_whatever_case_spacing_and_unicode_form() -> None:
    train = [problem("What is  X²?"), problem("Other")]
    assert without_overlap(train, [problem("what is x2?")]) == [train[1]]


def test_distinct_keeps_the_first() -> None:
    problems = [problem("A"), problem("a"), problem("B")]
    assert distinct(problems) == [problems[0], problems[2]]


def test_prepare_writes_what_it_counts(tmp_path: Path) -> None:
    test = SourceConfig(kind="ladder", per_level=20, seed=2)
    summary = prepare(DataConfig(train=LADDER, test=test), tmp_path)
    train_problems, test_problems = read_problems(tmp_path / "train.jsonl"), read_problems(tmp_path / "test.jsonl")
    assert (len(train_problems), len(test_problems)) == (summary.train, summary.test)
    assert summary.test_levels == {str(level): 20 for level in range(1, 6)}
    assert summary.train + summary.overlap_removed == 100
    assert not {p.prompt for p in train_problems} & {p.prompt for p in test_problems}
    assert summary.train_digest == digest(tmp_path / "train.jsonl")
    assert read_summary(tmp_path) == summary


def test_prepare_removes_and_counts_overlap(tmp_path: Path) -> None:
    same = SourceConfig(kind="ladder", per_level=5, seed=1)  # the first 5 of each level of the training problems
    assert prepare(DataConfig(train=LADDER, test=same), tmp_path).overlap_removed == 25


def test_prepare_is_deterministic_and_follows_its_seed(tmp_path: Path) -> None:
    first = prepare(DataConfig(train=LADDER), tmp_path / "a")
    assert prepare(DataConfig(train=LADDER), tmp_path / "b") == first
    assert prepare(DataConfig(train=LADDER, seed=1), tmp_path / "c").train_digest != first.train_digest


def test_prepare_holds_out_a_share_without_a_test_source(tmp_path: Path) -> None:
    summary = prepare(DataConfig(train=LADDER, test_share=0.25), tmp_path)
    assert (summary.train, summary.test) == (75, 25)


def test_prepare_keeps_levels_and_limits(tmp_path: Path) -> None:
    source = SourceConfig(kind="ladder", per_level=20, levels=(2, 3), limit=10)
    summary = prepare(DataConfig(train=source, test_share=0.1), tmp_path)
    assert summary.train + summary.test == 10
    assert set(summary.train_levels) | set(summary.test_levels) <= {"2", "3"}


def test_prepare_writes_bad_rows_aside(tmp_path: Path) -> None:
    rows = [{"problem": f"P{i}", "answer": str(i)} for i in range(10)]
    source = tmp_path / "m.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    config = DataConfig(train=SourceConfig(kind="math", path=str(source)), skip_bad_rows=True)
    assert prepare(config, tmp_path / "out").bad_rows == 1
    aside = json.loads((tmp_path / "out" / "bad_rows.jsonl").read_text())
    assert (aside["line"], aside["row"]) == (11, "{broken")
    with pytest.raises(LensError, match=r"m\.jsonl:11"):
        prepare(config.model_copy(update={"skip_bad_rows": False}), tmp_path / "out")


def test_prepare_says_when_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(LensError, match="no training problem is left"):
        prepare(
            DataConfig(train=SourceConfig(kind="ladder", per_level=5), test=SourceConfig(kind="ladder", per_level=5)),
            tmp_path,
        )


def test_folder_without_prepared_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(LensError, match="holds no prepared data"):
        read_summary(tmp_path)
