"""Gold answers that cannot be read: UNGRADED, never WRONG, and never slow."""

import time

import pytest

from lens_core.verify.gold import read_gold
from lens_core.verify.worker import judge


@pytest.mark.parametrize(
    "gold", ["\\fracx{5}{6}", "\\sqrtt{7}", "[4, 9", "\\frac{1}{2", "(1, 2", "\\left(1,2", "\\boxed{}", ""]
)
def test_damaged_gold_answer_is_ungraded(gold: str) -> None:
    assert read_gold(gold).fault
    assert judge("12345", gold)[0] == "ungraded"


@pytest.mark.parametrize(
    "gold",
    [
        *(
            "[0,1)",
            "]0,1[",
            "B) 7",
            "(-\\infty, 3]",
            "\\text{(A), (C)}",
            "x \\in (1, 2) \\cup \\{5\\}",
            "$\\frac{1}{2}$",
        ),
        *("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\{x \\mid x > 2\\}", "Evelyn", "3{,}000", "\\mathrm{kg}"),
    ],
)
def test_sound_gold_answer_can_be_read(gold: str) -> None:
    assert read_gold(gold).fault == ""
    assert judge("12345", gold)[0] == "wrong"


@pytest.mark.parametrize("text", ["x" * 1_000_000, "1 + " * 250_000, "the sum is 3 " * 80_000, "\\boxed{" * 140_000])
def test_gold_answer_of_a_megabyte_takes_a_second(text: str) -> None:
    start = time.process_time()
    assert judge("12345", text)[0] != "correct"
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "answer",
    ["10000!", "9^{9^{9}}", "e^{e^{e^{5}}}", "y^{y^{y^{y}}}", ", ".join(["4"] * 600), "(" * 60 + "4" + ")" * 60],
)
def test_degenerate_answer_is_wrong_where_a_number_is_asked_for(answer: str) -> None:
    assert judge(answer, "12")[0] == "wrong"
