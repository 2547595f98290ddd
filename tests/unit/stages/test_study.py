"""What a study reads off its methods."""

import math

import pytest

from lens_core.config import Method
from lens_core.stages.study import _median, sensitivity


def method(**values: object) -> Method:
    return Method.model_validate(values)


def test_sensitivity_takes_methods_that_differ_in_one_parameter_only() -> None:
    methods = {
        "grpo": method(objective="grpo"),
        "lens": method(objective="lens"),  # alpha 0.25, margin 2
        "loud": method(objective="lens", alpha=4),
        "margin-4": method(objective="lens", margin=4),
        "both": method(objective="lens", alpha=4, margin=4),
        "other-training": method(objective="lens", alpha=16, train={"clip": 0.3}),
        "nsr": method(objective="nsr"),
    }
    # Of the pairs with margin 2 and with margin 4, the one that comes first.
    assert sensitivity(methods) == {
        "alpha": {"lens": 0.25, "loud": 4.0},
        "margin": {"lens": 2.0, "margin-4": 4.0},
    }


def test_sensitivity_is_empty_where_methods_differ_in_more() -> None:
    assert sensitivity({"grpo": method(objective="grpo"), "lens": method(objective="lens", alpha=1)}) == {}


@pytest.mark.parametrize(
    ("needed", "median"),
    [
        ([100.0, 300.0, 200.0], 200.0),
        ([100.0, math.inf, 300.0], 300.0),
        ([100.0, math.inf, math.inf], None),
        ([], None),
    ],
)
def test_tokens_to_a_target_count_trainings_that_never_reach_it(needed: list[float], median: float | None) -> None:
    assert _median(needed) == median
