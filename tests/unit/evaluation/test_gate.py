"""The gate in front of the registry."""

import pytest

from lens_core.evaluation.by_problem import gate
from lens_core.evaluation.passk import FEWEST_PROBLEMS


def counts(*right: int, n: int = 4) -> dict[str, tuple[int, int]]:
    return {f"p{index}": (n, correct) for index, correct in enumerate(right)}


def test_gate_passes_a_candidate_that_is_better_on_every_problem() -> None:
    found = gate(counts(*[0, 1, 2] * 10), counts(*[2, 3, 4] * 10), k=1)
    assert found.difference.estimate == pytest.approx(0.5)  # 2 of 4 more on each
    assert found.difference.low > 0
    assert found.passed


@pytest.mark.parametrize("problems", [1, 3, FEWEST_PROBLEMS - 1])
def test_gate_stays_shut_on_few_problems(problems: int) -> None:
    found = gate(counts(*[0] * problems, n=16), counts(*[16] * problems, n=16), k=1)
    assert found.difference.estimate == 1
    assert not found.passed


def test_gate_stays_shut_on_a_gain_that_chance_gives() -> None:
    assert not gate(counts(*[4] * 40, n=16), counts(*[4] * 39, 5, n=16), k=1).passed


def test_gate_holds_a_candidate_whose_interval_reaches_0() -> None:
    # Shares of right answers change by +1, -1, +1/4: mean 1/12.
    found = gate(counts(*[0, 4, 0] * 20), counts(*[4, 0, 1] * 20), k=1)
    assert found.difference.estimate == pytest.approx(1 / 12)
    assert found.difference.low < 0 < found.difference.high
    assert not found.passed


def test_gate_holds_an_equal_candidate() -> None:
    assert not gate(counts(1, 2), counts(1, 2), k=1).passed


def test_gate_pairs_by_problem_and_not_by_order() -> None:
    champion = {"a": (4, 0), "b": (4, 4)}
    assert gate(champion, {"b": (4, 4), "a": (4, 4)}, k=1).difference.estimate == pytest.approx(0.5)


def test_gate_compares_pass_at_k() -> None:
    # Pass@2 of 1 right in 4: 1 - C(3,2)/C(4,2) = 1/2; of 2 right: 1 - 1/6 = 5/6.
    assert gate(counts(1), counts(2), k=2).difference.estimate == pytest.approx(1 / 3)


def test_gate_leaves_out_problems_that_were_hardly_graded() -> None:
    champion, candidate = {"a": (4, 0), "b": (1, 0)}, {"a": (4, 2), "b": (4, 4)}
    found = gate(champion, candidate, k=2)
    assert found.difference.problems == 1
    with pytest.raises(ValueError, match=r"no problem has 5 graded completions of both"):
        gate(champion, candidate, k=5)


def test_gate_refuses_other_problems() -> None:
    with pytest.raises(ValueError, match="different problems"):
        gate(counts(1, 1), counts(1), k=1)
