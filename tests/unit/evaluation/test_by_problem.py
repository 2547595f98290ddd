"""Two evaluations of the same problems, by hand."""

from collections.abc import Sequence

import pytest

from lens_core.errors import LensError
from lens_core.evaluation.by_problem import compare_results, paired_difference
from lens_core.evaluation.records import Completion, PassKReport, ProblemResult, summarise

Evaluation = tuple[PassKReport, list[ProblemResult]]


def evaluation(label: str, outcomes: Sequence[str], data: str = "d", ks: Sequence[int] = (1, 2)) -> Evaluation:
    """Two answers to each problem: `+` right, `-` wrong, `?` ungraded."""
    words = {"+": "correct", "-": "wrong", "?": "ungraded"}
    results = [
        ProblemResult(
            problem=str(place),
            prompt="P",
            answer="1",
            level=place % 2,
            subject=None,
            source="s",
            completions=tuple(
                Completion.model_validate(
                    {"text": "", "outcome": words[sign], "reason": "", "extracted": sign, "confidence": 0.5}
                    | {"tokens": 1, "truncated": False}
                )
                for sign in signs
            ),
        )
        for place, signs in enumerate(outcomes)
    ]
    return summarise(label, data, results, 2, ks), results


def test_comparison_by_hand() -> None:
    found = compare_results(
        evaluation("a", ["--", "+-", "++", "+-", "??"]), evaluation("b", ["+-", "++", "++", "--", "++"])
    )
    # Shares of right answers: a 0 1/2 1 1/2, b 1/2 1 1 0; the fifth problem has none in a.
    first = found.pass_at_k[1]
    assert (first.one, first.other, first.difference.problems) == (0.5, 0.625, 4)
    assert first.difference.estimate == pytest.approx(0.125)
    assert (found.wins, found.losses, found.ties) == (2, 1, 1)
    # Pass@2: a 0 1 1 1, b 1 1 1 0
    assert (found.pass_at_k[2].one, found.pass_at_k[2].other) == (0.75, 0.75)
    # Level 0: problems 0 and 2 (and 4, ungraded): 1/2 and 0.
    assert found.levels[0].difference.estimate == pytest.approx(0.25)
    assert [(duel.problem, duel.difference) for duel in found.duels] == [
        ("3", -0.5),
        ("0", 0.5),
        ("1", 0.5),
        ("2", 0.0),
        ("4", None),
    ]
    # Sign test: 1 loss or fewer, or 2 or more, of 3: certain.
    assert found.sign_p == 1.0


def test_p_is_that_of_the_exact_sign_flip_test() -> None:
    # Differences 3, 1, -1: |sum| is 3. Of the 8 sign flips, sums +-5, +-3, +-3, +-1: 6 are as extreme.
    assert paired_difference([0.0, 0.0, 0.0], [3.0, 1.0, -1.0]).p == pytest.approx(6 / 8)


def test_pairing_sees_what_unpaired_intervals_hide() -> None:
    one = [place / 100 for place in range(100)]
    found = paired_difference(one, [value + 0.01 + 0.001 * (place % 2) for place, value in enumerate(one)])
    assert 0.010 < found.difference.low < found.difference.estimate < found.difference.high < 0.011
    assert found.p < 0.001


def test_equal_evaluations_differ_with_no_certainty_and_keep_their_names_apart() -> None:
    found = compare_results(evaluation("m", ["+-", "--"]), evaluation("m", ["+-", "--"]))
    assert (found.pass_at_k[1].p, found.pass_at_k[1].difference.high, found.sign_p, found.ties) == (1.0, 0.0, 1.0, 2)
    assert (found.one.model, found.other.model) == ("m (A)", "m (B)")


def test_different_problems_are_refused() -> None:
    with pytest.raises(LensError, match="a and b answered different problems"):
        compare_results(evaluation("a", ["+-"]), evaluation("b", ["+-"], data="e"))
    with pytest.raises(LensError, match="share no k"):
        compare_results(evaluation("a", ["+-"], ks=(1,)), evaluation("b", ["+-"], ks=(2,)))
