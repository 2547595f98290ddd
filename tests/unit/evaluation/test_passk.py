from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_core.evaluation.passk import (
    FEWEST_PROBLEMS,
    majority_at_k,
    mean_over_problems,
    mean_pass_at_k,
    pass_at_k,
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int, int]:
    n = draw(st.integers(1, 9))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


@given(cases())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer(case: tuple[int, int, int]) -> None:
    n, correct, k = case
    subsets = list(combinations([index < correct for index in range(n)], k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_by_hand() -> None:
    # 1 - C(14, 2) / C(16, 2) = 1 - 91 / 120
    assert pass_at_k(16, 2, 2) == pytest.approx(29 / 120)
    assert pass_at_k(16, 4, 1) == pytest.approx(0.25)


@pytest.mark.parametrize(("n", "correct", "k"), [(4, 2, 5), (4, 2, 0), (4, 5, 1), (4, -1, 1)])
def test_pass_at_k_names_what_is_out_of_range(n: int, correct: int, k: int) -> None:
    with pytest.raises(ValueError, match=r"^(k|correct) is"):
        pass_at_k(n, correct, k)


def test_mean_pass_at_k_averages_over_problems() -> None:
    # (0 + 0.5 + 1) / 3
    got = mean_pass_at_k([(2, 0), (2, 1), (2, 2)], k=1)
    assert got.estimate == pytest.approx(0.5)
    assert 0 <= got.low < 0.5 < got.high <= 1


def test_mean_pass_at_k_leaves_out_problems_with_too_few_graded_answers() -> None:
    got = mean_pass_at_k([(4, 4), (1, 0)], k=2)
    assert (got.estimate, got.problems) == (1.0, 1)
    with pytest.raises(ValueError, match="no problem has 3 graded"):
        mean_pass_at_k([(2, 1)], k=3)


@pytest.mark.parametrize(("right", "expected"), [(0, (0.0, 0.14)), (16, (0.86, 1.0))])
def test_interval_of_problems_that_all_agree_is_not_a_point(right: int, expected: tuple[float, float]) -> None:
    # By hand: twenty-one times 0 and once 1 have the mean 1/22 and the standard error sqrt(1/22 * 21/22 / 21)
    # = 1/22; Student's quantile for 21 degrees of freedom is 2.0796, and (1 + 2.0796) / 22 = 0.1400. The "rule of
    # three" for 20 failures says 3/20 = 0.15.
    got = mean_pass_at_k([(16, right)] * 20, k=1)
    assert (got.low, got.high) == pytest.approx(expected, abs=1e-4)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_interval_holds_its_estimate_and_stays_on_the_scale(values: list[float]) -> None:
    got = mean_over_problems(values)
    assert 0 <= got.low <= got.estimate <= got.high <= 1


@pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("problems", [10, 30, 100, 500])
@pytest.mark.parametrize("spread", [0.3, 10])
def test_interval_holds_the_truth_as_often_as_it_says(problems: int, p: float, spread: float) -> None:
    """docs/evaluation.md has the whole table, by `python -m benchmarks.coverage`."""
    draw = np.random.default_rng(0)
    chances = draw.beta(p * spread, (1 - p) * spread, size=(500, problems))
    found = [mean_over_problems(values) for values in (draw.binomial(16, chances) / 16).tolist()]
    # Of 500, 95 % have a standard error of a hundredth.
    assert np.mean([each.low <= p <= each.high for each in found]) >= 0.92


def test_few_problems_are_marked() -> None:
    assert mean_pass_at_k([(1, 1)] * (FEWEST_PROBLEMS - 1), k=1).text.endswith("†")
    # Thirty solved: the mean of thirty-one times 1 and once 0, 31/32, less 2.0395 standard errors.
    assert mean_pass_at_k([(1, 1)] * FEWEST_PROBLEMS, k=1).text == "100.0 [90.5, 100.0]"


def test_interval_is_near_the_normal_one_of_many_problems() -> None:
    # Half of 200 problems solved: standard error sqrt(0.25 / 200) = 0.0354, times 1.96 = 0.069.
    counts = [(1, index % 2) for index in range(200)]
    got = mean_pass_at_k(counts, k=1)
    assert got.high - got.estimate == pytest.approx(0.069, abs=0.01)
    assert got.estimate - got.low == pytest.approx(0.069, abs=0.01)


@given(cases())
def test_pass_at_k_is_a_probability_that_grows_with_k_and_right_answers(case: tuple[int, int, int]) -> None:
    n, correct, k = case
    value = pass_at_k(n, correct, k)
    assert 0 <= value <= 1
    assert k == n or value <= pass_at_k(n, correct, k + 1)
    assert correct == n or value <= pass_at_k(n, correct + 1, k)


@given(cases())
def test_pass_at_1_is_the_share_of_right_answers(case: tuple[int, int, int]) -> None:
    n, correct, _ = case
    assert pass_at_k(n, correct, 1) == pytest.approx(correct / n)


def human_eval_estimator(n: int, c: int, k: int) -> float:
    """As printed in Chen et al., arXiv 2107.03374, figure 3."""
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def test_pass_at_k_is_human_evals_reference_estimator() -> None:
    for n in range(1, 33):
        for correct in range(n + 1):
            for k in range(1, n + 1):
                assert pass_at_k(n, correct, k) == pytest.approx(human_eval_estimator(n, correct, k), abs=1e-12)


def test_majority_at_k_by_hand() -> None:
    # Answers r r w: of the subsets of 2, {r r} is right and {r w}, twice, a tie: (1 + 1/2 + 1/2) / 3.
    assert majority_at_k(2, (1,), 2) == pytest.approx(2 / 3)
    # r against two different wrong answers, all three drawn: a tie of three.
    assert majority_at_k(1, (1, 1), 3) == pytest.approx(1 / 3)
    assert majority_at_k(2, (3,), 5) == 0.0
    assert (majority_at_k(0, (2,), 2), majority_at_k(2, (), 2)) == (0.0, 1.0)


@given(st.integers(0, 5), st.lists(st.integers(1, 4), max_size=3), st.data())
def test_majority_at_k_is_the_mean_over_all_subsets(right: int, wrong: list[int], data: st.DataObject) -> None:
    votes = ["right"] * right + [str(name) for name, count in enumerate(wrong) for _ in range(count)]
    if not votes:
        votes, right = ["right"], 1
    k = data.draw(st.integers(1, len(votes)))
    credits = []
    for subset in combinations(votes, k):
        counts = Counter(subset)
        tied = [vote for vote, count in counts.items() if count == max(counts.values())]
        credits.append(("right" in tied) / len(tied))
    assert majority_at_k(right, tuple(wrong), k) == pytest.approx(sum(credits) / len(credits))


def test_majority_of_one_is_pass_at_1_and_many_completions_are_no_trouble() -> None:
    assert majority_at_k(5, (3, 3), 1) == pytest.approx(pass_at_k(11, 5, 1))
    assert majority_at_k(400, (200, 200), 399) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("k", [0, 4])
def test_majority_at_k_names_what_is_out_of_range(k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}; it must lie"):
        majority_at_k(1, (2,), k)
