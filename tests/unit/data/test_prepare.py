import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from lens_core.config import DataConfig, SourceConfig
from lens_core.data.ladder import ladder
from lens_core.data.prepare import prepare, read_problems
from lens_core.data.problem import digest
from lens_core.data.summary import read_summary
from lens_core.errors import LensError
from lens_core.progress import Progress

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


def test_prepare_lists_gold_answers_that_cannot_be_read(tmp_path: Path) -> None:
    answers = [*map(str, range(8)), "\\fracx{5}{6}", "[4, 9"]
    rows = [{"id": f"p{i}", "problem": f"P{i}", "answer": answer} for i, answer in enumerate(answers)]
    source = tmp_path / "m.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = DataConfig(train=SourceConfig(kind="math", path=str(source)), test_share=0.5)
    summary = prepare(config, tmp_path / "out")
    listed = [json.loads(line) for line in (tmp_path / "out" / "unreadable.jsonl").open(encoding="utf-8")]
    assert summary.unreadable == 2
    assert {line["answer"]: line["fault"] for line in listed} == dict.fromkeys(answers[8:], "cannot be read")
    sound = DataConfig(train=LADDER)
    assert prepare(sound, tmp_path / "out").unreadable == 0
    assert not (tmp_path / "out" / "unreadable.jsonl").exists()


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


def source(folder: Path, name: str, rows: Iterable[dict[str, Any]], **fields: Any) -> SourceConfig:
    """A source of kind `math`, in a file of these rows."""
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return SourceConfig(kind="math", path=str(path), **fields)


def numbered(name: str, count: int) -> list[dict[str, Any]]:
    return [{"problem": f"{name} problem number {i}", "answer": str(i)} for i in range(count)]


def prompts(folder: Path, split: str = "train") -> list[str]:
    return [problem.prompt for problem in read_problems(folder / f"{split}.jsonl")]


def test_mixture_has_exactly_the_numbers_that_are_asked_for(tmp_path: Path) -> None:
    # The second set holds each problem three times, five that are in the first set, and two test problems.
    first = numbered("first", 30)
    second = [*(numbered("second", 40) * 3), *first[:5], *numbered("test", 2)]
    config = DataConfig(
        train=(source(tmp_path, "a", first, limit=30), source(tmp_path, "b", second, limit=20, seed=1)),
        test=source(tmp_path, "t", numbered("test", 10)),
    )
    summary = prepare(config, tmp_path / "out")
    assert (summary.train, summary.overlap_removed) == (50, 2)
    assert [(s.role, s.asked, s.taken) for s in summary.sources] == [
        ("test", None, 10),
        ("train", 30, 30),
        ("train", 20, 20),
    ]
    drawn = {prompt for prompt in prompts(tmp_path / "out") if prompt.startswith("second")}
    assert len(drawn) == 20
    other = config.model_copy(update={"train": (config.train[0], config.train[1].model_copy(update={"seed": 2}))})
    prepare(other, tmp_path / "other")
    assert {prompt for prompt in prompts(tmp_path / "other") if prompt.startswith("second")} != drawn


def test_source_with_fewer_problems_than_asked_for_says_so(tmp_path: Path) -> None:
    config = DataConfig(train=source(tmp_path, "a", numbered("a", 8), limit=100), test_share=0.25)
    summary = prepare(config, tmp_path / "out")
    assert (summary.sources[0].asked, summary.sources[0].taken) == (100, 8)


def test_problem_that_was_not_drawn_may_come_from_another_source(tmp_path: Path) -> None:
    rows = numbered("a", 10)
    config = DataConfig(train=(source(tmp_path, "a", rows, limit=1), source(tmp_path, "b", rows)), test=LADDER)
    summary = prepare(config, tmp_path / "out")
    assert (summary.train, summary.duplicates_removed) == (10, 1)


def test_ids_of_a_mixture_are_unique(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    config = DataConfig(
        train=(source(tmp_path / "one", "train", numbered("a", 3)), source(tmp_path / "two", "train", numbered("b", 3)))
    )
    prepare(config, tmp_path / "out")
    ids = [p.id for split in ("train", "test") for p in read_problems(tmp_path / "out" / f"{split}.jsonl")]
    assert len(set(ids)) == 6


def test_removed_problems_are_reported_with_what_they_match(tmp_path: Path) -> None:
    long = "The sum of the first twenty positive integers that are not divisible by three or by five is asked for here"
    train = [
        *numbered("train", 3),
        {"problem": r"Find $\dfrac12+x$ .", "answer": "1"},
        {"problem": long, "answer": "1"},
    ]
    test = [{"problem": r"Find $\frac{1}{2} + x$", "answer": "1"}]
    against = [{"problem": long.replace("here", "now"), "answer": "2"}]
    config = DataConfig(
        train=source(tmp_path, "train", train),
        test=source(tmp_path, "test", test),
        decontamination={"against": [source(tmp_path, "against", against, licence="MIT")]},
    )
    summary = prepare(config, tmp_path / "out")
    assert (summary.train, summary.overlap_removed, summary.near_removed) == (3, 2, 1)
    exact, near = map(json.loads, (tmp_path / "out" / "removed.jsonl").read_text().splitlines())
    assert (exact["problem"], exact["match"]["evaluation"], exact["match"]["kind"]) == ("train-4", "test-1", "exact")
    # 21 words have 19 trigrams; another last word changes one of them: 18 common of 20.
    assert (near["match"]["kind"], near["match"]["similarity"]) == ("near", 0.9)
    assert (near["match"]["source"], near["match"]["prompt"]) == ("math", against[0]["problem"])


def test_near_duplicates_of_held_out_problems_are_removed_too(tmp_path: Path) -> None:
    words = " ".join(f"word{i}" for i in range(40))
    rows = [{"problem": f"{words} {name}", "answer": "1"} for name in ("alpha", "beta", "gamma", "delta")]
    config = DataConfig(train=source(tmp_path, "a", [*rows, *numbered("other", 4)]), test_share=0.5)
    prepare(config, tmp_path / "out")
    train, test = prompts(tmp_path / "out"), prompts(tmp_path / "out", "test")
    assert any(prompt.startswith("word0") for prompt in test)
    assert not any(prompt.startswith("word0") for prompt in train)


def test_prompt_length_filter_counts_tokens_of_training_problems_only(tmp_path: Path) -> None:
    rows = [{"problem": "x " * length + f"n{length}", "answer": "1"} for length in (1, 5, 9)]
    config = DataConfig(
        train=source(tmp_path, "a", rows), test=source(tmp_path, "t", numbered("a long test", 2)), max_prompt_tokens=6
    )
    summary = prepare(config, tmp_path / "out", count_tokens=lambda prompt: len(prompt.split()))
    assert summary.train == 2  # 2 and 6 tokens; 10 are too many
    assert summary.left_out == {"prompt of more than 6 tokens": 1}
    assert summary.test == 2


def rates(folder: Path, rows: Iterable[dict[str, Any]]) -> str:
    (folder / "rollouts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def completions(right: int, wrong: int, ungraded: int = 0) -> list[dict[str, str]]:
    outcomes = ["correct"] * right + ["wrong"] * wrong + ["ungraded"] * ungraded
    return [{"outcome": outcome} for outcome in outcomes]


@pytest.mark.parametrize(("unknown", "kept"), [("drop", [2, 3]), ("keep", [2, 3, 4, 5])])
def test_difficulty_filter_keeps_rates_between_its_bounds(tmp_path: Path, unknown: str, kept: list[int]) -> None:
    path = rates(
        tmp_path,
        [
            {"prompt": "a problem number 0", "completions": completions(4, 0)},
            {"prompt": "a problem number 1", "completions": completions(0, 4)},
            {"prompt": " A problem  number 2", "completions": completions(1, 3)},
            {"prompt": "a problem number 3", "pass_rate": 0.75},
            {"prompt": "a problem number 4", "completions": completions(0, 0, ungraded=4)},
        ],
    )
    config = DataConfig(
        train=source(tmp_path, "a", numbered("a", 6)),
        test=LADDER,
        pass_rate={"path": path, "low": 0.25, "high": 0.75, "unknown": unknown},
    )
    summary = prepare(config, tmp_path / "out")
    assert sorted(int(prompt[-1]) for prompt in prompts(tmp_path / "out")) == kept
    assert (summary.left_out["too easy"], summary.left_out["too hard"]) == (1, 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "P"}, "neither 'pass_rate' nor 'completions'"),
        ({"pass_rate": 1}, "no 'prompt'"),
        ({"prompt": "P", "pass_rate": 2}, "pass_rate is 2, not a share"),
    ],
)
def test_file_that_holds_no_pass_rates_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    config = DataConfig(train=LADDER, pass_rate={"path": rates(tmp_path, [row])})
    with pytest.raises(LensError, match=rf"rollouts\.jsonl:1: .*{message}.*lens data pass-rates"):
        prepare(config, tmp_path / "out")


def test_parquet_holds_the_same_problems_and_replaces_json_lines(tmp_path: Path) -> None:
    lines = prepare(DataConfig(train=LADDER, validation=5), tmp_path / "lines")
    prepare(DataConfig(train=LADDER, validation=5), tmp_path / "table")
    table = prepare(DataConfig(train=LADDER, validation=5, format="parquet"), tmp_path / "table")
    assert sorted(path.name for path in (tmp_path / "table").iterdir()) == [
        "data.json",
        "test.parquet",
        "train.parquet",
        "validation.parquet",
    ]
    for split in ("train", "test", "validation"):
        name = f"{split}.jsonl"  # what other stages ask for
        assert read_problems(tmp_path / "table" / name) == read_problems(tmp_path / "lines" / name)
    assert table.parts == lines.parts
    assert table.train_digest == digest(tmp_path / "table" / "train.parquet") != lines.train_digest


def test_parts_count_what_is_written(tmp_path: Path) -> None:
    summary = prepare(DataConfig(train=LADDER, test=SourceConfig(kind="ladder", per_level=5, seed=9)), tmp_path)
    part = summary.parts["train"]
    assert part.problems == summary.train == sum(part.lengths.values()) == part.with_solution
    assert part.levels == summary.train_levels
    assert part.sources == {"ladder": summary.train}
    assert part.subjects == {"arithmetic": summary.train}
    assert list(part.lengths) == [0]  # every prompt has fewer than 100 characters


def test_progress_comes_while_a_source_is_read(tmp_path: Path) -> None:
    told: list[Progress] = []
    prepare(DataConfig(train=source(tmp_path, "a", numbered("a", 5000))), tmp_path / "out", on_progress=told.append)
    reading = [progress for progress in told if "rows of a.jsonl" in progress.text]
    assert [progress.text.split()[0] for progress in reading] == ["1,000", "2,000", "3,000", "4,000", "5,000"]
    assert [progress.done for progress in told] == sorted(progress.done for progress in told)
    assert reading[-1].done == 80
    assert {(progress.stage, progress.total) for progress in told} == {("prepare", 100)}


MEMORY = """
import json, resource, sys
from pathlib import Path
from lens_core.config import DataConfig
from lens_core.data.prepare import prepare

def peak_after(rows):
    folder = Path(sys.argv[1]) / str(rows)
    folder.mkdir()
    with (folder / "a.jsonl").open("w") as file:
        for row in range(rows):
            solution = "step " * 2000 + f"\\\\\\\\boxed{{{row}}}"
            file.write(f'{{"problem": "Find number {row} of this file", "solution": "{solution}"}}\\n')
    prepare(DataConfig(train={"kind": "math", "path": str(folder / "a.jsonl")}), folder / "out")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

small = peak_after(500)
print(peak_after(4_000) - small)
"""


def test_memory_does_not_hold_the_problems(tmp_path: Path) -> None:
    # 4,000 rows of 10 kB are 40 MB; what is kept of them are ids and 16 bytes each, and of the test tenth the prompts.
    done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 12


def test_duplicates_with_another_answer_are_named(tmp_path: Path) -> None:
    rows = [
        *numbered("p", 8),
        {"problem": "Same?", "answer": "1/2"},
        {"problem": "Same?", "answer": "0.5"},  # the same, written differently
        {"problem": "same?", "answer": "7"},
        {"problem": "Same?", "answer": "1/2"},
    ]
    config = DataConfig(train=source(tmp_path, "train", rows), test=source(tmp_path, "test", numbered("t", 3)))
    summary = prepare(config, tmp_path / "out")
    assert (summary.duplicates_removed, summary.conflicting) == (3, 1)
    assert summary.conflicts_in_words == (
        "1 problem came again with another answer, and the first was kept: train-9 (1/2) and train-11 (7)"
    )
