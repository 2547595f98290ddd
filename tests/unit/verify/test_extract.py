"""How an answer is found, and what is no commitment to one."""

import json
import re
from pathlib import Path

import pytest

from lens_core.verify import Grader, Outcome, grade
from lens_core.verify.extract import find_answer
from lens_core.verify.reward import VerifierReward, math_reward


@pytest.mark.parametrize(
    ("completion", "gold", "text", "way"),
    [
        ("so \\boxed{7}", "7", "7", "box"),
        ("<think>8?</think><answer>7</answer>", "7", "7", "tag"),
        ("<answer>\\boxed{8}</answer> no: <answer>7 apples</answer>", "7", "7 apples", "tag"),
        ("so 3 + 4 = 7\n#### 7", "7", "7", "marker"),
        ("#### $x = 7$", "7", "$x = 7$", "marker"),
        ("The answer is 7.", "7", "7", "phrase"),
        ("Then 3 + 4 = 7", "7", "7", "last"),
    ],
)
def test_verdict_says_how_the_answer_was_found(completion: str, gold: str, text: str, way: str) -> None:
    assert find_answer(completion, gold) == (text, way)
    verdict = grade(completion, gold)
    assert (verdict.outcome, verdict.found_by) == (Outcome.CORRECT, way)


@pytest.mark.parametrize(
    "completion",
    [
        "The answer is 7.",
        "Final answer: 7",
        "7",
        "3 + 4 = 7",
        "#### Step 7",
        "#### 7. Check",
        "<answer>7",
        "<think>\\boxed{7}",
        "<think>\\boxed{7}</think>",
        "</think>\\boxed{8} <think> \\boxed{7}",
        "[THINK]\\boxed{7}",
        "<thinking>so \\boxed{7}",
        "so \\boxed{7",
    ],
)
def test_strict_grading_takes_commitments_alone(completion: str) -> None:
    found = find_answer(completion, "7", strict=True)
    assert found is None or found.text == "8"


@pytest.mark.parametrize("completion", ["\\boxed{7}", "<answer>7</answer>", "#### 7", "<think>8</think> \\boxed{7}"])
def test_strict_grading_takes_box_tag_and_marker(completion: str) -> None:
    assert grade(completion, "7", strict=True).outcome is Outcome.CORRECT


def test_reward_is_strict_unless_asked_otherwise() -> None:
    completions = ["\\boxed{7}", "The answer is 7."]
    assert math_reward(completions, answer=["7", "7"]) == [1.0, 0.0]
    assert VerifierReward(strict=False)(completions, answer=["7", "7"]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("\\int_0^2 x\\,dx", "2"),
        ("\\sum_{k=1}^{3} k", "6"),
        ("\\lim_{x \\to 0} \\frac{\\sin x}{x}", "1"),
        ("\\gcd(12, 18)", "6"),
        ("\\text{expand } (x+1)^2", "x^2+2x+1"),
        ("17+25", "42"),
        ("6 \\cdot 7", "42"),
    ],
)
def test_strict_grading_refuses_the_question_repeated(answer: str, gold: str) -> None:
    assert grade(f"\\boxed{{{answer}}}", gold, strict=True).outcome is Outcome.WRONG


@pytest.mark.parametrize(
    ("answer", "gold"), [("4.2 \\cdot 10^3", "4200"), ("17+25 = 42", "42"), ("\\frac{84}{2}", "42"), ("2^5", "32")]
)
def test_strict_grading_takes_other_spellings_of_a_number(answer: str, gold: str) -> None:
    assert grade(f"\\boxed{{{answer}}}", gold, strict=True).outcome is Outcome.CORRECT


@pytest.mark.parametrize(
    ("completion", "gold", "text"),
    [
        ("Answer: 17, which is prime.", "17", "17"),
        ("Answer: 40 litres (the tank is 50 litres)", "40", "40 litres"),
        ("Answer: 6 because the product is 54", "54", "6"),
        ("Final answer: 9, the discarded root is 4", "4", "9"),
        ("\\boxed{40}\nThe final answer is correct.", "40", "40"),
        ("\\boxed{40}\nFinal answer: as above", "40", "40"),
        ("\\boxed{40}. That was the final answer to (b), which is an even number.", "40", "40"),
        ("\\boxed{40}\n\n#### Part 3", "3", "40"),
        ("\\boxed{40}\n\n#### Remarks\nNone.", "40", "40"),
        ("#### Result\n\n$52$", "52", "$52$"),
        ("The answer is Rome since it is the oldest.", "Rome", "Rome"),
        ("The answer is C, since A and B contradict it.", "C", "C"),
        ("My pick is B", "B", "B"),
        ("So, B is the answer.", "B", "B"),
        ("\\boxed{6}\nThe final answer is 7, not 6.", "7", "7"),
        ("The area is 2π.", "2\\pi", "2π"),
        ("There is no solution.", "no solution", "There is no solution."),
        ("La respuesta correcta es la opción D.", "D", "D"),
        ("Die Antwort lautet 12.", "12", "12"),
        ("La réponse est 12, car 3 · 4 = 12.", "12", "12"),
        ("Ответ: 12", "12", "12"),
        ("答えは12です。", "12", "12です"),
        ("先算一下。答案是12。", "12", "12"),
        ("Answer: ~~11~~ 12", "12", "12"),
        ("> 12", "12", "12"),
        ("2. **12**", "12", "**12**"),
    ],
)
def test_phrase_is_read_to_the_end_of_its_clause(completion: str, gold: str, text: str) -> None:
    found = find_answer(completion, gold)
    assert found is not None
    assert found.text == text


@pytest.mark.parametrize(
    ("completion", "gold"),
    [
        ("The final answer is not 61", "61"),
        ("The answer cannot be 61.", "61"),
        ("It is impossible that y = 61", "61"),
        ("The answer is 61, or maybe 62", "61"),
        ("The answer is 61, which is wrong", "61"),
        ("The answer is $61$ or $62$", "61"),
        ("I don't think it's 61", "61"),
        ("Ответ не 61", "61"),
        ("La respuesta no es 61.", "61"),
        ("答案不是61。", "61"),
        ("La réponse n'est pas 61.", "61"),
        ("La respuesta es 60 o 61.", "61"),
        ("Die Antwort ist 60 oder 61", "61"),
        ("<think>\nPut n = 24. Next", "24"),
        ("Thus the ratio \\frac{7}{9}", "9"),
        ("<answer>2t^2+13</answer>", "13"),
    ],
)
def test_lenient_grading_pays_no_denial_doubt_or_fragment(completion: str, gold: str) -> None:
    assert grade(completion, gold).outcome is Outcome.WRONG


@pytest.mark.parametrize(
    ("completion", "gold"),
    [
        ("She pays 6 x $2.50 = $15.", "15"),
        ("It costs $5, and she has $20 left", "20"),
        ("So $x = 4$ and it costs $12.", "12"),
        ("\\boxed{400 m^2}", "400"),
        ("The area is 400 m²", "400"),
        ("Seven apples", "7"),
        ("\\boxed{\\text{Seven apples}}", "7"),
        ("36 wheels on 9 cars", "36"),
        ("So there are 9 * 4 = 36 wheels on 9 cars.", "36"),
    ],
)
def test_prose_with_money_and_things(completion: str, gold: str) -> None:
    assert grade(completion, gold).outcome is Outcome.CORRECT


def test_human_solutions_of_gsm8k_without_their_last_line(shared_data: Path) -> None:
    """At most 2.5 % are rejected; bare math-verify rejects 2.7 %, reading the last number as we do."""
    rows = [json.loads(line) for line in (shared_data / "gsm8k" / "test.jsonl").open(encoding="utf-8")]
    worked = [re.sub(r"<<[^>]*>>", "", row["solution"]).rpartition("\n")[0] for row in rows]
    with Grader(workers=2, timeout_s=20) as grader:
        verdicts = grader.grade_many(zip(worked, (row["answer"] for row in rows), strict=True))
    assert len(rows) == 1319
    assert sum(verdict.outcome is not Outcome.CORRECT for verdict in verdicts) <= 0.025 * len(rows)


@pytest.mark.parametrize(
    "shape", ["<answer>", "####", "the answer is ", "$1 ", "\\boxed{", "<think>", "{x^", "= 1 on "]
)
def test_search_takes_linear_time(shape: str) -> None:
    find_answer(shape * (200_000 // len(shape)), "7")  # a quadratic one would take minutes
