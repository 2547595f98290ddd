"""Answers to reasoning-gym's tasks that its families would hand to Python's parser."""

import inspect
import json
import re
import sys
from pathlib import Path

import pytest

from lens_core.verify.entry import EVALUATED, GOLD_EVALUATED, judge_entry, may_run
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
    evaluate = re.compile(r"\beval\((?:entry\[|problem\))")
    modules = {name: inspect.getsource(sys.modules[kind.__module__]) for name, (kind, _) in factory.DATASETS.items()}
    assert {name for name, source in modules.items() if evaluate.search(source)} == GOLD_EVALUATED


def test_code_that_came_with_a_problem_is_not_run(tmp_path: Path) -> None:
    package("reasoning_gym", "reasoning-gym", "make reasoning-gym")
    mark = tmp_path / "mark"
    code = f"[str(open({str(mark)!r}, 'w'))]"
    entries = [
        {"task": "number_sorting", "answer": code, "metadata": {}},
        {"task": "bitwise_arithmetic", "answer": "0x1", "metadata": {"problem": code}},
    ]
    for entry in entries:
        assert judge_entry("0x1", json.dumps(entry)) == ("ungraded", "what came with the problem is code")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("gold", "text", "outcome"),
    [
        ("25", "5 * 5 = 25", "correct"),
        ("25", "$5 \\cdot 5 = 25$", "correct"),
        ("25", "25 = 5 * 5", "wrong"),  # what stands last is what is said
        ("25", "5 * 5 = 24", "wrong"),
        ("25", "5 * 5 =", "wrong"),
    ],
)
def test_answer_of_an_equation_is_what_stands_behind_its_sign(gold: str, text: str, outcome: str) -> None:
    package("reasoning_gym", "reasoning-gym", "make reasoning-gym")
    assert judge_entry(text, json.dumps({"task": "products", "answer": gold, "metadata": {}}))[0] == outcome


def test_equations_that_are_asked_for_stay_whole() -> None:
    package("reasoning_gym", "reasoning-gym", "make reasoning-gym")
    entry = json.dumps({"task": "products", "answer": "x = 3", "metadata": {}})
    assert [judge_entry(text, entry)[0] for text in ("x = 3", "3")] == ["correct", "wrong"]
