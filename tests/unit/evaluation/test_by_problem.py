"""Two evaluations of the same problems, by hand."""

import random
from collections.abc import Sequence

import pytest

from lens_core.errors import LensError
from lens_core.evaluation.by_problem import compare_results, gate
from lens_core.evaluation.records import Completion, PassKReport, ProblemResult
from lens_core.evaluation.summary import summarise

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


def test_equal_evaluations_differ_with_no_certainty_and_keep_their_names_apart() -> None:
    found = compare_results(evaluation("m", ["+-", "--"]), evaluation("m", ["+-", "--"]))
    assert (found.pass_at_k[1].p, found.pass_at_k[1].difference.estimate, found.sign_p, found.ties) == (1, 0, 1, 2)
    assert (found.one.model, found.other.model) == ("m (A)", "m (B)")


def test_different_problems_are_refused() -> None:
    with pytest.raises(LensError, match="a and b answered different problems"):
        compare_results(evaluation("a", ["+-"]), evaluation("b", ["+-"], data="e"))
    with pytest.raises(LensError, match="share no k"):
        compare_results(evaluation("a", ["+-"], ks=(1,)), evaluation("b", ["+-"], ks=(2,)))


def test_comparison_has_every_metric_by_k_once() -> None:
    found = compare_results(evaluation("a", ["--", "+-"]), evaluation("b", ["+-", "++"]))
    assert list(found.rows())[:3] == ["Pass@1", "Pass@2", "maj@2"]  # maj@1 is Pass@1
    assert "maj@1" not in found.rows()
    # maj@2 of one right answer of two: a tie, 1/2. a: 0 1/2; b: 1/2 1.
    assert (found.by_k["maj_at"][2].one, found.by_k["maj_at"][2].other) == (0.25, 0.75)


@pytest.mark.parametrize("k", [1, 2])
def test_gate_and_comparison_say_the_same_of_the_same_evaluations(k: int) -> None:
    draw = random.Random(0)
    signs = ["".join(draw.choices("+-?", (4, 5, 1), k=2)) for _ in range(2 * 60)]
    one, other = evaluation("a", signs[:60]), evaluation("b", signs[60:])
    difference = compare_results(one, other).pass_at_k[k].difference
    assert difference.low < difference.estimate < difference.high
    champion, candidate = ({result.problem: result.counts for result in of} for _, of in (one, other))
    assert gate(champion, candidate, k).difference == difference
    # The registry keeps a champion's problems in an order of its own.
    for _ in range(10):
        shuffled = dict(draw.sample(list(champion.items()), len(champion)))
        assert gate(shuffled, candidate, k).difference == difference
