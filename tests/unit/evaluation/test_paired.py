"""Paired statistics, against enumeration by hand and against SciPy called directly."""

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


def test_difference_and_interval_are_those_of_scipys_bootstrap() -> None:
    draw = np.random.default_rng(1)
    one, other = draw.random(80), draw.random(80)
    found = paired_difference(one.tolist(), other.tolist())
    theirs = stats.bootstrap((other - one,), np.mean, n_resamples=20_000, method="percentile", rng=draw)
    assert found.difference.estimate == pytest.approx(float(np.mean(other) - np.mean(one)))
    # Of resampled intervals of width 0.17, ends differ by less than a hundredth.
    assert found.difference.low == pytest.approx(theirs.confidence_interval.low, abs=0.01)
    assert found.difference.high == pytest.approx(theirs.confidence_interval.high, abs=0.01)


def test_order_of_the_problems_changes_nothing() -> None:
    draw = random.Random(2)
    pairs = [(draw.random(), draw.random()) for _ in range(40)]
    first = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    draw.shuffle(pairs)
    again = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    assert (again.difference, again.p) == (first.difference, first.p)


def test_pairing_sees_what_unpaired_intervals_hide() -> None:
    one = [place / 100 for place in range(100)]
    found = paired_difference(one, [value + 0.01 + 0.001 * (place % 2) for place, value in enumerate(one)])
    assert 0.010 < found.difference.low < found.difference.estimate < found.difference.high < 0.011
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
