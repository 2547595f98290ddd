"""Paired comparisons over seeds, against numbers worked out by hand and against SciPy's own tests."""

import math

import pytest

from lens_core.evaluation.by_seed import FEWEST_SEEDS, mean_over_seeds, paired_differences, tokens_to_reach
from lens_core.evaluation.paired import sign_flip_p


def test_mean_has_students_interval() -> None:
    # mean 2, sample std 1, standard error 1/sqrt(3), t(0.975, 2) = 4.3027: 2 +- 2.4841
    mean = mean_over_seeds([1.0, 2.0, 3.0])
    assert (mean.mean, mean.seeds) == (2.0, 3)
    assert (mean.low, mean.high) == pytest.approx((2 - 2.48413, 2 + 2.48413), abs=1e-4)


def test_one_seed_has_no_interval_and_equal_ones_have_an_empty_one() -> None:
    assert math.isnan(mean_over_seeds([0.5]).low)
    assert (mean_over_seeds([0.5, 0.5]).low, mean_over_seeds([0.5, 0.5]).high) == (0.5, 0.5)
    with pytest.raises(ValueError, match="values is empty"):
        mean_over_seeds([])


def test_differences_are_paired_by_seed() -> None:
    # Seeds differ by 10 points, methods by 1 point in each: unpaired, nothing could be seen.
    grpo = {seed: 0.1 * seed for seed in range(5)}
    values = {"grpo": grpo, "lens": {seed: value + 0.01 for seed, value in reversed(grpo.items())}, "other": {9: 1.0}}
    found = paired_differences(values, "grpo")
    assert found.keys() == {"lens"}  # no seed of `other` is one of grpo's
    assert found["lens"].mean.mean == pytest.approx(0.01)
    # All five differences have one sign: 2 of the 32 sign flips are as extreme.
    assert found["lens"].p == pytest.approx(2 / 32)


def test_p_is_that_of_the_exact_sign_flip_test() -> None:
    # {3, 1, -1}: |sum| is 3. Of the 8 sign flips, sums +-5, +-3, +-3, +-1: 6 are as extreme.
    values = {"grpo": {0: 0.0, 1: 0.0, 2: 0.0}, "lens": {0: 3.0, 1: 1.0, 2: -1.0}}
    assert paired_differences(values, "grpo")["lens"].p == pytest.approx(6 / 8)


def test_equal_results_differ_with_no_certainty() -> None:
    found = paired_differences({"grpo": {0: 0.5, 1: 0.6}, "lens": {0: 0.5, 1: 0.6}}, "grpo")
    assert (found["lens"].p, found["lens"].p_holm) == (1.0, 1.0)


def test_tokens_until_the_trailing_mean_reaches_a_target() -> None:
    history = [{"reward": 0.1 * step, "lens/tokens/generated": 100.0 * (step + 1)} for step in range(10)]
    # Means of 2 steps in a row: 0.05, 0.15, 0.25, 0.35, ...: 0.3 is first reached by steps 3 and 4.
    assert tokens_to_reach(history, 0.3, window=2) == 500.0
    assert tokens_to_reach(history, 2.0, window=2) is None
    assert tokens_to_reach(history[:1], 0.0, window=2) is None


def test_fewer_seeds_cannot_reach_the_level() -> None:
    assert sign_flip_p([1.0] * (FEWEST_SEEDS - 1)) == 2 / 2**5 > 0.05
    assert sign_flip_p([1.0] * FEWEST_SEEDS) == 2 / 2**6 < 0.05
