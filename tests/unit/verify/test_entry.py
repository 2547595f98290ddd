"""Answers to reasoning-gym's tasks that its families would hand to Python's parser."""

import inspect
import re

import pytest

from lens_core.verify.entry import EVALUATED, may_run
from tests.helpers.prerequisites import package

HARMLESS = [
    "82 + 20 + 67 - 50",
    "(1+2)*3",
    "sqrt(4)*x**2 + C",
    "[[1, 2], [3, 4]]",
    "x*exp(x)/2 + sin(x)",
    "['a']",
    " (4)",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_mathematics_and_lists_are_no_code(text: str) -> None:
    assert not may_run(text)


@pytest.mark.parametrize(
    "text",
    [
        *("open('x')", "(open)('x')", "().__class__", "x.real", "open#\n('x')", "[open][0]('x')", "x. real"),
        *("sqrt('x').foo", "__import__('os')", "asqrt(1)", "os.system(1)", "f'{open(1)}'", "{'a':1}.get('a')"),
        *("print (1)", "sin(1)(2)", "a\\\n(1)", "\uff4f\uff50\uff45\uff4e('x')"),
    ],
)
def test_whatever_could_be_called_or_looked_up_is_code(text: str) -> None:
    assert may_run(text)


def test_families_that_evaluate_answers_are_known() -> None:
    """By the sources of the version that is installed."""
    factory = package("reasoning_gym.factory", "reasoning-gym", "make reasoning-gym")
    evaluate = re.compile(r"\b(?:eval|parse_expr|sympify|exec)\((?:user_)?answer\b")
    found = {name for name, (kind, _) in factory.DATASETS.items() if evaluate.search(inspect.getsource(kind))}
    assert found == EVALUATED
