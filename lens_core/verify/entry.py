"""Gold answers that bring a verifier: entries of reasoning-gym, judged by the rules of their task family."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_BEGINS = '{"task": '
_WORDS = re.compile(r"\\(?:text|textbf|mathrm|texttt)\{([^{}]*)\}")

EVALUATED = frozenset(
    {
        "binary_matrix",
        "countdown",
        "intermediate_integration",
        "n_queens",
        "polynomial_multiplication",
        "puzzle24",
        "simple_integration",
        "spiral_matrix",
        "string_insertion",
    }
)
"""Families that give an answer to `eval`, or to sympy's parser, which does: a policy could have code run."""
GOLD_EVALUATED = frozenset({"bitwise_arithmetic", "number_sorting"})
"""Families that evaluate what comes with the problem: somebody else's file of problems could have code run."""
_FUNCTIONS = re.compile(
    r"(?<![\w.])(?:sin|cos|tan|sec|csc|cot|asin|acos|atan|sinh|cosh|tanh|exp|log|ln|sqrt|Abs)\s*(?=\()"
)
_CODE = re.compile(
    r"__|[#\\`@]"  # dunders, and comments, which may hide a call
    r"|\.\s*[^\W\d]"  # attributes
    r"|[^\s(\[{,+\-*/=<>%^~|&:]\s*\("  # calls: no operator stands before the bracket
)


def is_entry(gold: str) -> bool:
    """Whether a gold answer is what lens_core.data.reasoning writes into `Problem.entry`."""
    return gold.startswith(_BEGINS)


def load() -> None:
    """Import the verifiers, which takes a second or two."""
    import reasoning_gym  # noqa: F401


def judge_entry(extracted: str, gold: str) -> tuple[str, str]:
    """Outcome and reason: the family's `score_answer` is 1 for what is right, and less for what is not or in part."""
    try:
        from reasoning_gym import get_score_answer_fn
    except ImportError:
        return "ungraded", "reasoning-gym cannot be imported"
    entry = json.loads(gold)
    evaluates = entry["task"] in EVALUATED | GOLD_EVALUATED
    if evaluates and any(map(may_run, _texts(entry))):
        return "ungraded", "what came with the problem is code"
    text = _WORDS.sub(r"\1", extracted).strip("$ \n")
    if evaluates and may_run(text):
        return "wrong", "the answer is code"
    if "=" in text and "=" not in (entry["answer"] or "="):  # families take 25, and not `5 * 5 = 25`
        text = text.rpartition("=")[2].strip("$ \n")
    try:
        score = get_score_answer_fn(entry["task"])(text, entry)
    except MemoryError:
        raise
    except Exception as error:  # the family can read its own answers, which is tried as they are made
        return "wrong", f"{entry['task']} cannot read the answer ({type(error).__name__})"
    return ("correct" if score >= 1 else "wrong"), f"{entry['task']} scores it {score:g}"


def _texts(value: Any) -> Iterator[str]:
    """All texts in what was read from JSON, keys among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in [*value, *(value.values() if isinstance(value, dict) else ())]:
            yield from _texts(part)


def may_run(text: str) -> bool:
    """Whether Python would call or look up anything but functions of mathematics as it evaluates `text`."""
    return _CODE.search(_FUNCTIONS.sub("", text)) is not None
