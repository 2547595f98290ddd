"""Problems of reasoning-gym: made as they are named, graded by their own rules in a process that can be killed."""

import json
from pathlib import Path
from typing import Any

import pytest

from lens_core.config import DataConfig, SourceConfig
from lens_core.data.prepare import TEST_FILE, TRAIN_FILE, prepare, read_problems
from lens_core.data.problem import Problem
from lens_core.data.readers import Strict, read_source
from lens_core.data.reasoning import SEEDS_APART
from lens_core.errors import LensError
from lens_core.verify.entry import judge_entry
from lens_core.verify.grader import Grader
from lens_core.verify.verdict import Outcome
from tests.helpers.prerequisites import package

factory = package("reasoning_gym.factory", "reasoning-gym", "make reasoning-gym")
UNFIT = {
    "arc_agi": "refuses its own answer once that is written",  # tuples come back as lists
    "rearc": "refuses its own answer once that is written",
    "game_of_life_halting": "takes any answer for right",
}
TAKES_ANYTHING_FOR_NO = {"game_of_life_halting"}


def source(tasks: dict[str, dict[str, Any]], size: int = 6, **changes: Any) -> SourceConfig:
    return SourceConfig(kind="reasoning_gym", tasks=tasks, size=size, **changes)


def problems(*args: Any, **kwargs: Any) -> list[Problem]:
    return list(read_source(source(*args, **kwargs), Strict()))


def test_problems_are_the_packages_own_and_depend_on_the_seed_alone() -> None:
    found = problems({"chain_sum": {"max_terms": 3}, "word_sorting": {}}, seed=5)
    reference = factory.create_dataset("chain_sum", size=6, seed=5 * SEEDS_APART, max_terms=3)
    assert [each.prompt for each in found[::2]] == [reference[index]["question"] for index in range(3)]
    assert [each.answer for each in found[::2]] == [reference[index]["answer"] for index in range(3)]
    assert [each.subject for each in found] == ["chain_sum", "word_sorting"] * 3
    assert {each.source for each in found} == {"reasoning_gym"}
    assert found == problems({"chain_sum": {"max_terms": 3}, "word_sorting": {}}, seed=5)
    assert not {each.prompt for each in found} & {
        each.prompt for each in problems({"chain_sum": {"max_terms": 3}}, seed=6)
    }


def test_level_is_the_difficulty_by_the_familys_curriculum() -> None:
    easy = problems({"chain_sum": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}})
    hard = problems({"chain_sum": {"min_terms": 6, "max_terms": 6, "min_digits": 4, "max_digits": 4}})
    assert {each.level for each in easy} == {1}
    assert {each.level for each in hard} == {5}  # terms go 2, 3, 4, 5, 6 and digits 1, 2, 3, 4


@pytest.mark.parametrize("task", sorted(factory.DATASETS.keys() - UNFIT.keys() - {"composite"}))
def test_every_familys_own_answer_is_right_and_nonsense_is_not(task: str) -> None:
    for problem in problems({task: {}}, size=2):
        entry = json.loads(problem.gold)
        if entry["answer"] is not None:
            assert judge_entry(entry["answer"], problem.gold)[0] == "correct"
        assert task in TAKES_ANYTHING_FOR_NO or judge_entry("xyzzy", problem.gold)[0] == "wrong"


@pytest.mark.parametrize("task", UNFIT)
def test_family_that_cannot_judge_is_left_out(task: str) -> None:
    with pytest.raises(LensError, match=f"^reasoning-gym's task '{task}' {UNFIT[task]}: leave it out"):
        problems({task: {}}, size=1)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"chain_sums": {}}, "^reasoning-gym has no task 'chain_sums'; choose from ab, acre,"),
        ({"chain_sum": {"terms": 3}}, "^reasoning-gym's task 'chain_sum' refuses {'terms': 3}: .*unexpected keyword"),
        ({"chain_sum": {"min_terms": 9, "max_terms": 3}}, "^reasoning-gym's task 'chain_sum' refuses .*max_terms"),
    ],
)
def test_unknown_families_and_parameters_are_named(tasks: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(LensError, match=message) as refused:
        problems(tasks)
    assert "\n" not in str(refused.value)


def test_prepared_problems_keep_what_they_are_graded_by(tmp_path: Path) -> None:
    train, test = source({"chain_sum": {}, "countdown": {}}, 20), source({"chain_sum": {}}, 5, seed=1)
    prepare(DataConfig(train=(train, SourceConfig(kind="ladder", per_level=2)), test=test), tmp_path)
    found = read_problems(tmp_path / TRAIN_FILE)
    assert {each.source for each in found} == {"reasoning_gym", "ladder"}
    assert all((each.entry is None) == (each.source == "ladder") for each in found)
    assert all(json.loads(each.gold)["task"] == "chain_sum" for each in read_problems(tmp_path / TEST_FILE))


def test_grader_judges_by_the_familys_rules_and_kills_what_hangs() -> None:
    (problem,) = problems({"countdown": {"min_numbers": 4, "max_numbers": 4}}, size=1, seed=3)
    entry = json.loads(problem.gold)
    a, b, c, d = entry["metadata"]["numbers"]
    with Grader(timeout_s=2.0) as grader:
        right = grader.grade(f"So it is \\boxed{{{entry['answer']}}}.", problem.gold)
        assert (right.outcome, right.reason) == (Outcome.CORRECT, "countdown scores it 1")
        # The rules, and not the gold answer: numbers may come in another order.
        turned = " + ".join(reversed(entry["answer"].split(" + ")))
        assert grader.grade(f"\\boxed{{{turned}}}", problem.gold).outcome is Outcome.CORRECT
        assert grader.grade(f"\\boxed{{{a}+{b}+{c}+{d}}}", problem.gold).outcome is Outcome.WRONG
        assert grader.grade("\\boxed{open('x')}", problem.gold).reason == "the answer is code"
        assert grader.grade("\\boxed{9**9**9**9**9}", problem.gold).outcome is not Outcome.CORRECT
        assert grader.grade(f"\\boxed{{{entry['answer']}}}", problem.gold).outcome is Outcome.CORRECT
