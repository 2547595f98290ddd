import re
from itertools import islice

import pytest

from lens_core.data.ladder import LEVELS, climb, ladder

EXPRESSION = re.compile(r"Compute ([0-9+*-]+)\.")


def value(expression: str) -> int:
    assert re.fullmatch(r"[0-9+*-]+", expression)
    return int(eval(expression))


@pytest.mark.parametrize("level", LEVELS)
def test_ladder_answers_and_every_worked_step_are_right(level: int) -> None:
    for problem in islice(climb(level, seed=3), 500):
        match = EXPRESSION.fullmatch(problem.prompt)
        assert match is not None
        assert problem.solution is not None
        assert value(match[1]) == int(problem.answer) >= 0
        *steps, box = re.split(r", | (?=\\)", problem.solution)
        assert box == f"\\boxed{{{problem.answer}}}"
        for step in steps:
            left, right = step.split("=")
            assert value(left) == int(right)


@pytest.mark.parametrize("level", LEVELS)
def test_ladder_solutions_fit_in_64_tokens_with_the_end_token(level: int) -> None:
    assert max(len(problem.solution or "") for problem in islice(climb(level, seed=0), 2000)) < 64


def test_ladder_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert ladder(20, seed=1) == ladder(20, seed=1)
    assert {p.prompt for p in ladder(20, 1)} != {p.prompt for p in ladder(20, 2)}


def test_ladder_gives_distinct_problems_of_each_level_asked_for() -> None:
    problems = ladder(300, seed=0, levels=(1, 4))
    assert len({problem.prompt for problem in problems}) == len(problems) == 600
    assert [problem.level for problem in problems] == [1] * 300 + [4] * 300
    assert len({problem.id for problem in problems}) == 600


def test_ladder_uses_both_operations() -> None:
    for level in LEVELS:
        text = "".join(problem.prompt for problem in ladder(50, 0, (level,)))
        assert "+" in text
        assert "-" in text


def test_ladder_says_when_a_level_runs_out_of_problems() -> None:
    with pytest.raises(ValueError, match="level 1 of the ladder has only about"):
        ladder(5000, seed=0, levels=(1,))


def test_ladder_rejects_a_level_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="level 6 does not exist"):
        ladder(1, seed=0, levels=(6,))
