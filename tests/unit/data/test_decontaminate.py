import pytest

from lens_core.data.decontaminate import distinct, normalised, without_overlap
from lens_core.data.problem import Problem


def problem(prompt: str, name: str = "p") -> Problem:
    return Problem(id=name, prompt=prompt, answer="1", source="test")


@pytest.mark.parametrize(
    ("prompt", "same"),
    [
        ("What is X?", "what IS x?"),
        ("a  b\n\tc", "a b c"),
        ("X²", "x2"),  # compatibility form
        ("\ufb01nd x\u00a0now", "find x now"),  # ligature, no-break space
        ("cafe\u0301", "caf\u00e9"),  # combining accent
        ("STRASSE", "straße"),  # case folding, which lower() does not do
    ],
)
def test_normalised_prompts_are_equal_whatever_case_spacing_and_unicode_form(prompt: str, same: str) -> None:
    assert normalised(prompt) == normalised(same)


def test_normalised_keeps_what_changes_the_meaning() -> None:
    assert len({normalised(prompt) for prompt in ("1+2", "1-2", "1 + 2", "12", "(1+2)")}) == 5


def test_overlap_is_removed_in_order_and_nothing_else() -> None:
    train = [problem("B"), problem("What is  X²?"), problem("A")]
    assert without_overlap(train, [problem("what is x2?"), problem("C")]) == [train[0], train[2]]


def test_overlap_with_nothing_is_nothing() -> None:
    assert without_overlap([problem("A")], []) == [problem("A")]
    assert without_overlap([], [problem("A")]) == []


def test_distinct_keeps_the_first_in_order() -> None:
    problems = [problem("A", "1"), problem("a", "2"), problem("B", "3"), problem("b ", "4")]
    assert distinct(problems) == [problems[0], problems[2]]
