"""Rows as the published sets have them, cut short: each gives the problem that a person would read in it."""

from typing import Any

import pytest

from lens_core.data.layouts import LAYOUTS, LeftOutError, RowError, fields, last_boxed

WRAPPED = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\nFind $x$.\n\n"
    'Remember to put your answer on its own line after "Answer:".'
)
DAPO = {
    "data_source": "math_dapo",
    "prompt": [{"content": WRAPPED, "role": "user"}],
    "ability": "MATH",
    "reward_model": {"ground_truth": "34", "style": "rule-lighteval/MATH_v2"},
    "extra_info": {"index": "9a9b6eb4"},
}
NUMINA = {
    "problem": "P",
    "solution": "S",
    "answer": "1",
    "problem_type": "Algebra",
    "question_type": "math-word-problem",
    "problem_is_valid": "Yes",
    "solution_is_valid": "Yes",
    "source": "olympiads",
    "synthetic": False,
}
OLYMPIAD = {
    "id": 1606,
    "question": "Find $n$.",
    "solution": ["S"],
    "final_answer": ["2"],
    "context": None,
    "image_1": None,
    "modality": "Text-only",
    "difficulty": "Competition",
    "is_multiple_answer": False,
    "unit": None,
    "answer_type": "Numerical",
    "error": None,
    "question_type": "Open-ended",
    "subfield": "Number Theory",
    "subject": "Math",
    "language": "English",
}


def read(kind: str, **row: Any) -> dict[str, Any]:
    return {name: value for name, value in fields(LAYOUTS[kind], row).items() if value is not None}


def test_math_of_the_hub_has_its_answer_in_the_last_box() -> None:
    solution = r"So $\boxed{1}$, no, $\boxed{\frac{1}{2}}$."
    assert read("math", problem="P", level="Level 5", type="Algebra", solution=solution) == {
        "prompt": "P",
        "answer": r"\frac{1}{2}",
        "level": 5,
        "subject": "Algebra",
        "solution": solution,
    }


def test_math_500_has_a_bare_answer_and_a_number_for_a_level() -> None:
    row = {"solution": r"\boxed{9}", "subject": "Precalculus", "level": 2, "unique_id": "test/precalculus/807.json"}
    found = read("math", problem="P", answer=r"\left( 3, \frac{\pi}{2} \right)", **row)
    assert (found["answer"], found["level"], found["subject"]) == (r"\left( 3, \frac{\pi}{2} \right)", 2, "Precalculus")


def test_gsm8k_of_the_hub_has_work_and_answer_in_one_column() -> None:
    assert read("gsm8k", question="Q", answer="48/2 = <<48/2=24>>24\n#### 1,072") == {
        "prompt": "Q",
        "answer": "1072",
        "solution": "48/2 = <<48/2=24>>24\n",
    }


def test_dapo_is_unwrapped_and_has_its_answer_in_the_reward_model() -> None:
    assert read("dapo", **DAPO) == {"prompt": "Find $x$.", "answer": "34"}


def test_dapo_processed_has_a_bare_prompt_and_its_answer_in_the_solution() -> None:
    row = {"data_source": "math_dapo", "source_prompt": DAPO["prompt"], "ability": "MATH", "extra_info": {"index": "9"}}
    assert read("dapo", prompt="Find $x$.", solution="34", **row) == {"prompt": "Find $x$.", "answer": "34"}


@pytest.mark.parametrize("prompt", [[], [{"role": "assistant", "content": "x"}], [DAPO["prompt"][0]] * 2])
def test_dapo_prompt_without_one_message_of_a_user_is_a_bad_row(prompt: Any) -> None:
    with pytest.raises(RowError, match="messages of a user"):
        read("dapo", **{**DAPO, "prompt": prompt})


def test_numina_says_which_part_of_it_a_problem_comes_from() -> None:
    found = read("numina", **NUMINA)
    assert (found["answer"], found["subject"], found["origin"], found["solution"]) == ("1", "Algebra", "olympiads", "S")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"question_type": "proof"}, "proof"),
        ({"answer": "proof"}, "proof"),
        ({"answer": "notfound"}, "no answer"),
        ({"answer": ""}, "no answer"),
        ({"answer": None}, "no answer"),
        ({"problem_is_valid": "Incomplete"}, "problem_is_valid is Incomplete"),
        ({"solution_is_valid": "Problem not solved"}, "solution_is_valid is Problem not solved"),
    ],
)
def test_numina_rows_without_an_answer_are_left_out(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(LeftOutError, match=reason):
        read("numina", **{**NUMINA, **change})


def test_numina_synthetic_rows_are_left_out_where_that_is_asked() -> None:
    synthetic = {**NUMINA, "synthetic": True}
    assert fields(LAYOUTS["numina"], synthetic)["answer"] == "1"
    with pytest.raises(LeftOutError, match="synthetic"):
        fields(LAYOUTS["numina"], synthetic, synthetic=False)
    assert fields(LAYOUTS["numina"], NUMINA, synthetic=False)["answer"] == "1"


@pytest.mark.parametrize(
    ("kind", "row", "answer"),
    [
        ("aime", {"id": 60, "problem": "P", "solution": "S", "answer": "073", "url": "u", "year": "2024"}, "73"),
        ("aime", {"ID": "2024-II-4", "Problem": "P", "Solution": "S", "Answer": 33}, "33"),
        ("aime", {"id": 60, "problem": "P", "solution": r"\boxed{204}", "url": "u"}, "204"),
        ("aime", {"question": "P", "answer": "0"}, "0"),
        ("amc", {"id": 0, "problem": "P", "answer": 142.0, "url": "u"}, "142"),
        ("amc", {"id": 0, "question": "P", "answer": 27.5, "url": "u"}, "27.5"),
        ("amc", {"year": 2019, "problem_id": "2019A-15", "question": "P", "answer": "D", "difficulty": 3}, "D"),
    ],
)
def test_aime_and_amc_answers_are_numbers_as_one_writes_them(kind: str, row: dict[str, Any], answer: str) -> None:
    found = read(kind, **row)
    assert (found["prompt"], found["answer"]) == ("P", answer)


@pytest.mark.parametrize(
    ("change", "prompt", "answer"),
    [
        ({}, "Find $n$.", "2"),
        ({"final_answer": ["$1$", "$-2$"], "is_multiple_answer": True}, "Find $n$.", "$1$, $-2$"),
        ({"final_answer": ["1,-2"], "is_multiple_answer": True, "unit": "cm"}, "Find $n$.", "1,-2"),
        ({"context": "Let $n>1$."}, "Let $n>1$.\nFind $n$.", "2"),
    ],
)
def test_olympiadbench_answers_are_lists_and_questions_have_a_context(
    change: dict[str, Any], prompt: str, answer: str
) -> None:
    found = read("olympiadbench", **{**OLYMPIAD, **change})
    assert (found["prompt"], found["answer"], found["subject"]) == (prompt, answer, "Number Theory")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"question_type": "Theorem proof", "final_answer": None}, "proof"),
        ({"modality": "Multimodal"}, "picture"),
        ({"image_1": "bytes"}, "picture"),
        ({"error": "1e-1"}, "tolerance"),
    ],
)
def test_olympiadbench_rows_that_cannot_be_graded_are_left_out(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(LeftOutError, match=reason):
        read("olympiadbench", **{**OLYMPIAD, **change})


def test_row_without_an_answer_is_a_bad_row_in_every_layout_that_does_not_leave_it_out() -> None:
    for kind in LAYOUTS.keys() - {"numina"}:
        with pytest.raises(RowError, match="neither"):
            read(kind, problem="P")


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"\boxed{1} and \boxed{\sqrt{\frac{1}{2}}}.", r"\sqrt{\frac{1}{2}}"),
        (r"\boxed{\left\{ \frac{1}{2} \right.} }", r"\left\{ \frac{1}{2} \right."),  # an escaped brace closes nothing
        (r"\boxed{1 \\}", r"1 \\"),  # a line break, and then the box's own brace
        (r"so $\boxed 2$.", "2"),
        (r"\boxed {3}", "3"),
        (r"\fbox{4}", "4"),
        (r"\boxed{}", ""),
        (r"\boxed{1} \boxed{2", None),
        (r"\boxed", None),
        ("none", None),
    ],
)
def test_last_boxed_is_the_content_of_the_last_box(text: str, box: str | None) -> None:
    assert last_boxed(text) == box
