"""Calibration, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_core.evaluation.calibration import calibration


def test_ece_by_hand() -> None:
    # (0.1, 0.2]: 0.15 wrong, 0.2 right: |1/2 - 0.175| * 2/3; (0.9, 1.0]: 1.0 right: 0.
    found = calibration([0.15, 0.2, 1.0], [False, True, True])
    assert found is not None
    assert found.ece == pytest.approx(2 / 3 * 0.325)
    assert [(row.answers, row.confidence, row.right) for row in found.bins] == [
        (2, pytest.approx(0.175), 0.5),
        (1, 1.0, 1.0),
    ]
    assert [(row.low, row.high) for row in found.bins] == [
        (pytest.approx(0.1), pytest.approx(0.2)),
        (pytest.approx(0.9), 1.0),
    ]


def test_auroc_counts_pairs() -> None:
    # Right 0.9 and 0.5 against wrong 0.5 and 0.2: 0.9 wins twice, 0.5 ties once and wins once: 3.5 of 4.
    found = calibration([0.9, 0.5, 0.5, 0.2], [True, True, False, False])
    assert found is not None
    assert found.auroc == pytest.approx(3.5 / 4)


def test_answers_of_one_kind_have_no_auroc_and_no_answers_no_calibration() -> None:
    found = calibration([0.5], [True])
    assert found is not None
    assert (found.ece, found.auroc) == (0.5, None)
    assert calibration([], []) is None


@given(st.lists(st.tuples(st.floats(1e-6, 1), st.booleans()), min_size=1, max_size=50))
def test_every_answer_lies_in_its_bin(answers: list[tuple[float, bool]]) -> None:
    confidences, right = [c for c, _ in answers], [r for _, r in answers]
    found = calibration(confidences, right)
    assert found is not None
    assert sum(row.answers for row in found.bins) == len(answers)
    for row in found.bins:
        assert row.low - 1e-9 <= row.confidence <= row.high + 1e-9
        assert row.answers == sum(row.low < each <= row.high for each in confidences)
