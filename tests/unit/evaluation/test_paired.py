"""Paired statistics, against enumeration by hand and against SciPy called directly."""

import math
import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lens_core.evaluation.paired import EXACT_UP_TO, holm, paired_difference, sign_flip_p


def test_p_is_that_of_the_exact_sign_flip_test() -> None:
    # Differences 3, 1, -1: |sum| is 3. Of the 8 sign flips, sums +-5, +-3, +-3, +-1: 6 are as extreme.
    assert paired_difference([0.0, 0.0, 0.0], [3.0, 1.0, -1.0]).p == pytest.approx(6 / 8)


@pytest.mark.parametrize("pairs", [2, 7, 14, EXACT_UP_TO])
def test_p_is_exact_as_far_as_it_says(pairs: int) -> None:
    draw = random.Random(pairs)
    differences = [draw.randrange(-3, 5) for _ in range(pairs)]  # integers: equal sums are equal
    signs = np.array(list(product((1, -1), repeat=pairs)), dtype=np.int32)
    extreme = np.abs(signs @ np.array(differences)) >= abs(sum(differences))
    assert sign_flip_p(differences) == pytest.approx(extreme.mean())


def test_p_of_more_pairs_is_near_that_of_the_t_test_and_the_same_each_time() -> None:
    differences = np.random.default_rng(0).normal(0.1, 1, size=200).tolist()
    # For many normal differences both tests agree; 9,999 flips have a standard error below 0.005.
    assert sign_flip_p(differences) == pytest.approx(float(stats.ttest_1samp(differences, 0).pvalue), abs=0.015)
    assert sign_flip_p(differences) == sign_flip_p(differences)


def test_one_pair_and_equal_pairs_tell_nothing() -> None:
    assert (sign_flip_p([0.5]), sign_flip_p([0.0, 0.0, 0.0])) == (1.0, 1.0)


def test_interval_is_bonett_and_prices_for_problems_that_are_won_or_lost() -> None:
    # Of n = 40 pairs, B alone solves 9, A alone 4 (Bonett and Price 2012, equation 4): with
    # p12 = (9 + 1) / 42 and p21 = (4 + 1) / 42, p12 - p21 +- z sqrt((p12 + p21 - (p12 - p21)^2) / 42).
    one, other = [0.0] * 9 + [1.0] * 4 + [1.0] * 27, [1.0] * 9 + [0.0] * 4 + [1.0] * 27
    found = paired_difference(one, other).difference
    wins, losses = 10 / 42, 5 / 42
    error = math.sqrt((wins + losses - (wins - losses) ** 2) / 42)
    # Ours has Student's quantile in place of z, and the variance of a sample: n - 1 in place of n.
    half = stats.t.ppf(0.975, 41) * error * math.sqrt(42 / 41)
    assert found.estimate == pytest.approx(5 / 40)
    assert (found.low, found.high) == pytest.approx((wins - losses - half, wins - losses + half))


def test_interval_of_two_that_never_differ_is_not_a_point() -> None:
    # All that twenty problems without a difference exclude is that the two differ often. By hand: twenty times 0, 1
    # and -1 have the mean 0 and the standard error sqrt(2 / 21 / 22); Student's quantile for 21 is 2.0796.
    found = paired_difference([0.0] * 20, [0.0] * 20).difference
    assert (found.low, found.high) == pytest.approx((-0.1368, 0.1368), abs=1e-4)


def test_order_of_the_problems_changes_nothing() -> None:
    draw = random.Random(2)
    pairs = [(draw.random(), draw.random()) for _ in range(40)]
    first = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    draw.shuffle(pairs)
    again = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    assert (again.difference, again.p) == (first.difference, first.p)


def test_pairing_sees_what_unpaired_intervals_hide() -> None:
    one = [place / 125 for place in range(100)]
    found = paired_difference(one, [value + 0.1 + 0.01 * (place % 2) for place, value in enumerate(one)])
    # Of one alone it would reach 0.05 to both sides.
    assert 0.07 < found.difference.low < found.difference.estimate < found.difference.high < 0.14
    assert found.p < 0.001


def test_holm_steps_down() -> None:
    # Sorted 0.01, 0.02, 0.04 times 3, 2, 1: 0.03, 0.04, 0.04
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_bonferroni_for_the_smallest_and_keeps_the_order(ps: list[float]) -> None:
    corrected = holm(ps)
    assert all(p <= each <= 1 for p, each in zip(ps, corrected, strict=True))
    assert min(corrected) == min(1.0, len(ps) * min(ps))
    ranked = [each for _, each in sorted(zip(ps, corrected, strict=True))]
    assert ranked == sorted(ranked)
