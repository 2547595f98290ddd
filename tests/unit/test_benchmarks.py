"""What benchmarks make of their pairs."""

import math

import pytest
from scipy import stats

from benchmarks.pairs import figures_of, ratio


def test_ratio_is_the_geometric_mean_with_students_interval() -> None:
    found = ratio([(2.0, 1.0), (8.0, 2.0), (1.0, 1.0)])  # ratios 2, 4 and 1
    half = stats.t.ppf(0.975, 2) * math.log(2) / math.sqrt(3)  # logarithms -1, 0 and 1 around log 2, times log 2
    assert (found.mean, found.pairs) == (pytest.approx(2.0), 3)
    assert (found.low, found.high) == (pytest.approx(2 * math.exp(-half)), pytest.approx(2 * math.exp(half)))


def test_ratio_of_one_pair_has_no_interval() -> None:
    found = ratio([(3.0, 2.0)])
    assert found.mean == pytest.approx(1.5)
    assert math.isnan(found.low)
    assert str(found) == "1.5, one pair"
    assert figures_of({"x": found}) == {"x": pytest.approx(1.5)}
