import json
from pathlib import Path

import pytest

from lens_core.config import DataConfig, SourceConfig
from lens_core.data.ladder import ladder
from lens_core.data.prepare import prepare, read_problems
from lens_core.data.problem import digest
from lens_core.data.summary import read_summary
from lens_core.errors import LensError

LADDER = SourceConfig(kind="ladder", per_level=20, seed=1)


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


def test_prepare_names_the_source_that_is_empty_and_its_bad_rows(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("{broken\n")
    test = SourceConfig(kind="math", path=str(tmp_path / "t.jsonl"))
    with pytest.raises(
        LensError, match=r"no test problem is left of .*t\.jsonl \(1 bad rows, the first .*t\.jsonl:1: "
    ):
        prepare(DataConfig(train=LADDER, test=test, skip_bad_rows=True), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_prepare_counts_duplicates_of_both_splits_apart_from_overlap(tmp_path: Path) -> None:
    # train: A twice, B, C; test: c twice. One duplicate each; C is overlap; A and B are left.
    for name, prompts in {"train": "AABC", "test": "cc"}.items():
        rows = [json.dumps({"problem": prompt, "answer": "1"}) + "\n" for prompt in prompts]
        (tmp_path / f"{name}.jsonl").write_text("".join(rows))
    train, test = (SourceConfig(kind="math", path=str(tmp_path / f"{name}.jsonl")) for name in ("train", "test"))
    summary = prepare(DataConfig(train=train, test=test), tmp_path / "out")
    assert (summary.train, summary.test) == (2, 1)
    assert (summary.duplicates_removed, summary.overlap_removed) == (2, 1)


def test_prepare_limit_is_a_seeded_subset_in_order(tmp_path: Path) -> None:
    tests = [LADDER.model_copy(update={"limit": 10}), SourceConfig(kind="ladder", per_level=20, seed=1, limit=10)]
    whole = [problem.id for problem in ladder(20, seed=1)]
    train = SourceConfig(kind="ladder", per_level=20, seed=5)
    drawn = []
    for index, test in enumerate(tests):
        prepare(DataConfig(train=train, test=test), tmp_path / str(index))
        drawn.append([problem.id for problem in read_problems(tmp_path / str(index) / "test.jsonl")])
    assert drawn[0] == drawn[1] == sorted(drawn[0], key=whole.index) != whole[:10]


def test_prepare_again_leaves_nothing_of_before(tmp_path: Path) -> None:
    for stale in ("bad_rows.jsonl", "data.json"):
        (tmp_path / stale).write_text("stale")
    prepare(DataConfig(train=LADDER), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.json", "test.jsonl", "train.jsonl"]
    assert read_summary(tmp_path).bad_rows == 0


def test_prepare_interrupted_leaves_no_summary(tmp_path: Path) -> None:
    prepare(DataConfig(train=LADDER), tmp_path)
    (tmp_path / "test.jsonl").unlink()
    (tmp_path / "test.jsonl").mkdir()  # no file can replace a folder
    with pytest.raises(LensError, match="cannot be written: Is a directory"):
        prepare(DataConfig(train=LADDER), tmp_path)
    with pytest.raises(LensError, match="holds no prepared data"):
        read_summary(tmp_path)


def test_prepare_into_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LensError, match=r"file cannot be written: File exists"):
        prepare(DataConfig(train=LADDER), tmp_path / "file")


def test_folder_without_prepared_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(LensError, match="holds no prepared data"):
        read_summary(tmp_path)


def test_sources_are_mixed_and_a_problem_of_two_counts_once(tmp_path: Path) -> None:
    second = SourceConfig(kind="ladder", per_level=30, seed=1)  # the first 20 of each level are those of LADDER
    summary = prepare(DataConfig(train=(LADDER, second)), tmp_path)
    assert summary.train + summary.test == 150
    assert summary.duplicates_removed == 100
