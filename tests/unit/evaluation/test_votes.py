"""Which wrong answers are the same in a majority vote."""

from collections.abc import Iterable
from concurrent.futures import Future
from fractions import Fraction

from lens_core.evaluation.passk import majority_at_k
from lens_core.evaluation.records import Completion, ProblemResult
from lens_core.evaluation.votes import wrong_votes
from lens_core.verify import Outcome, Verdict
from lens_core.verify.grader import default_grader


class ByValue:
    """Takes answers of one value for each other, and counts what it is asked."""

    asked = 0

    def grade_many(self, pairs: Iterable[tuple[str, str]]) -> list[Verdict]:
        found = []
        for completion, answer in pairs:
            self.asked += 1
            same = Fraction(completion) == Fraction(answer)
            found.append(Verdict(Outcome.CORRECT if same else Outcome.WRONG, completion, ""))
        return found

    def start(self, completion: str, answer: str) -> Future[Verdict]:
        raise NotImplementedError


def wrong(extracted: str | None) -> Verdict:
    return Verdict(Outcome.WRONG, extracted, "")


RIGHT, UNGRADED = Verdict(Outcome.CORRECT, "2", ""), Verdict(Outcome.UNGRADED, None, "")


def test_equal_wrong_answers_have_one_number() -> None:
    grader = ByValue()
    texts = ["1/4", "2", "0.25", "3", "1 / 4", "?", "", "2/8", ""]
    verdicts = [
        wrong("1/4"),
        RIGHT,
        wrong("0.25"),
        wrong("3"),
        wrong("1 / 4"),
        UNGRADED,
        wrong(None),
        wrong("2/8"),
        wrong(None),
    ]
    assert wrong_votes(grader, [texts, ["5"]], [verdicts, [wrong("5")]]) == [[0, None, 0, 1, 0, None, 2, 0, 2], [0]]
    assert grader.asked == 6  # pairs of 1/4, 0.25, 3 and 2/8


def test_the_verifier_takes_spellings_of_one_value_for_each_other() -> None:
    texts = [r"\boxed{\frac{1}{4}}", r"so \boxed{0.25}", r"\boxed{x^2+2x}", r"\boxed{x(x+2)}", r"\boxed{7}"]
    verdicts = default_grader().grade_many([(text, "12") for text in texts])
    assert wrong_votes(default_grader(), [texts], [verdicts]) == [[0, 0, 1, 1, 2]]


def test_majority_is_not_the_right_answers_for_want_of_one_spelling() -> None:
    """Two right answers, and three that are 1/4: by spelling the right ones would win."""

    def completion(extracted: str, vote: int | None) -> Completion:
        outcome = "correct" if vote is None else "wrong"
        return Completion(text="", outcome=outcome, reason="", extracted=extracted, vote=vote, confidence=0.5, tokens=1,
                          truncated=False)  # fmt: skip

    answers = [("2", None), ("2.0", None), ("1/4", 0), ("0.25", 0), ("2/8", 0)]
    result = ProblemResult(problem="p", prompt="?", answer="2", level=None, subject=None, source="s",
                           completions=tuple(completion(*each) for each in answers))  # fmt: skip
    assert result.votes == (2, (3,))
    assert result.majority_at(5) == 0 == majority_at_k(2, (3,), 5)
