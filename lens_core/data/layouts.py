"""Layouts: where each published set keeps question, answer and level, and which of its rows have no answer to grade.

One row of the table a set. Columns are looked up by name, whatever their case, in the given order; `a.b` is key `b` of
the object in column `a`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lens_core.verify.boxes import last_box

Row = Mapping[str, Any]


class RowError(ValueError):
    """Why one row is no problem."""


class LeftOutError(Exception):
    """Why a whole and sound row is of no use here: it asks for a proof, shows a picture, ..."""


@dataclass(frozen=True)
class Layout:
    """The columns of one published set, and what its values need."""

    licence: str
    prompt: tuple[str, ...] = ("problem", "question")
    answer: tuple[str, ...] = ("answer",)
    solution: tuple[str, ...] = ("solution",)
    level: tuple[str, ...] = ("level",)
    subject: tuple[str, ...] = ("subject", "type", "subfield")
    context: tuple[str, ...] = ()
    """What stands before the question."""
    origin: tuple[str, ...] = ()
    """Which part of the set a problem comes from."""
    ask: Callable[[Any], Any] = lambda prompt: prompt
    """The bare question in what `prompt` holds."""
    gold: Callable[[Any, Any], Any] = lambda answer, solution: answer
    """The gold answer in what `answer` and `solution` hold; None where there is none."""
    worked: Callable[[Any, Any], Any] = lambda answer, solution: solution
    """The worked solution in the same."""
    useful: Callable[[Row], None] = lambda row: None
    """Raises LeftOutError for a row of no use."""


def fields(layout: Layout, row: Row, synthetic: bool = True) -> dict[str, Any]:
    """A row as fields of Problem, but for `id` and `source`; `origin` beside them where the layout has one.

    Raises:
        RowError: if there is no question, or no answer.
        LeftOutError: if the row is of no use, or is synthetic and `synthetic` is False.
    """
    lowered = {str(name).lower(): value for name, value in row.items()}
    layout.useful(lowered)
    if not synthetic and lowered.get("synthetic"):
        raise LeftOutError("synthetic")
    prompt, solution = layout.ask(required(lowered, *layout.prompt)), look_up(lowered, layout.solution)
    context = look_up(lowered, layout.context)
    given = look_up(lowered, layout.answer)
    answer, worked = layout.gold(given, solution), layout.worked(given, solution)
    if answer is None:
        raise RowError("the row has neither an 'answer' nor a 'solution' with a \\boxed answer")
    return {
        "prompt": f"{context}\n{prompt}" if isinstance(context, str) and context.strip() else prompt,
        "answer": answer_text(answer),
        "level": level_number(look_up(lowered, layout.level)),
        "subject": look_up(lowered, layout.subject),
        "solution": worked if isinstance(worked, str) else None,
        "origin": look_up(lowered, layout.origin),
    }


def look_up(row: Row, names: Sequence[str]) -> Any:
    """The first of the named columns that holds something; None if none does."""
    for name in names:
        value: Any = row
        for key in name.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            return value
    return None


def required(row: Row, *names: str) -> Any:
    """The first of the named columns that the row has.

    Raises:
        RowError: if it has none.
    """
    for name in names:
        if name in row:
            return row[name]
    found = look_up(row, names)
    if found is None:
        has = ", ".join(map(repr, row)) or "nothing"
        raise RowError(f"the row has no {' or '.join(map(repr, names))}; it has {has}")
    return found


def answer_text(value: Any) -> str:
    """A gold answer as text; numbers are taken as they would be written.

    Raises:
        RowError: if it is neither.
    """
    finite = not isinstance(value, float) or math.isfinite(value)  # 1e999, and a table's empty cell, are not
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not finite:
        raise RowError(f"the answer is {json.dumps(value, default=str)[:60]}; it must be a text or a finite number")
    return str(value)


def level_number(value: Any) -> int | None:
    """A level as a number: 3, "3" or "Level 3"; None where there is none ("Level ?" in MATH)."""
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():  # tables keep integers with gaps as floats
        return int(value)
    match = re.search(r"(?<!\d)\d{1,9}(?!\d)", str(value))
    return int(match[0]) if match else None


def last_boxed(text: str) -> str | None:
    """Content of the last `\\boxed{...}` in `text`, nested braces included; None if there is none, or it never ends.

    A few solutions of MATH write `\\fbox{...}`, or `\\boxed 2` without braces, and then perhaps the sentence's end.
    """
    box = last_box(text)
    if box is None or box.content is None or not box.is_closed:
        return None
    return box.content if text[box.end - 1] == "}" else box.content.rstrip(".,")


def _boxed(answer: Any, solution: Any) -> Any:
    """MATH: an `answer` where a mirror has worked it out, else the last box of the solution."""
    return last_boxed(solution) if answer is None and isinstance(solution, str) else answer


def _after_hashes(answer: Any, solution: Any) -> Any:
    """GSM8K: what follows `####`, or a bare answer; without thousands separators."""
    return None if answer is None else answer_text(answer).rpartition("####")[2].strip().replace(",", "")


def _before_hashes(answer: Any, solution: Any) -> Any:
    return answer.rpartition("####")[0] if isinstance(answer, str) and "####" in answer else solution


def _number(answer: Any, solution: Any) -> Any:
    """AIME and AMC: a number, sometimes as 142.0, sometimes with leading zeros (073), sometimes boxed in a solution."""
    answer = _boxed(answer, solution)
    if isinstance(answer, float) and answer.is_integer():
        return int(answer)
    if isinstance(answer, str) and re.fullmatch(r"\s*\d+(\.0+)?\s*", answer):
        return int(answer.partition(".")[0])
    return answer


_DAPO_WRAPPER = re.compile(
    r"\s*Solve the following math problem step by step\. The last line of your response should be of the form "
    r"Answer: \$Answer \(without quotes\) where \$Answer is the answer to the problem\.\s*"
    r"(?P<question>.*?)\s*Remember to put your answer on its own line after \"Answer:\"\.?\s*",
    re.DOTALL,
)


def _unwrapped(prompt: Any) -> Any:
    """DAPO-Math: the user's message of a chat, or its text, without the request for `Answer: $Answer` around it."""
    if isinstance(prompt, Sequence) and not isinstance(prompt, str):
        messages = [part for part in prompt if isinstance(part, Mapping) and part.get("role") == "user"]
        if len(messages) != 1:
            raise RowError(f"the prompt holds {len(messages)} messages of a user; it must hold one")
        prompt = messages[0].get("content")
    match = _DAPO_WRAPPER.fullmatch(prompt) if isinstance(prompt, str) else None
    return prompt if match is None else match["question"]


def _numina_useful(row: Row) -> None:
    """NuminaMath-1.5: only rows that are whole and have an answer; its marks for none are `proof` and `notfound`."""
    answer = str(row.get("answer") or "").strip().casefold()
    if row.get("question_type") == "proof" or answer == "proof":
        raise LeftOutError("asks for a proof")
    if answer in ("", "notfound"):
        raise LeftOutError("no answer found")
    for column in ("problem_is_valid", "solution_is_valid"):
        if row.get(column) not in (None, "Yes", True):
            raise LeftOutError(f"{column} is {row[column]}")


def _listed(answer: Any, solution: Any) -> Any:
    """OlympiadBench: `final_answer` is a list of texts, of which there may be several."""
    return ", ".join(map(answer_text, answer)) if isinstance(answer, list | tuple) and answer else answer


def _olympiad_useful(row: Row) -> None:
    """OlympiadBench: text-only problems with an exact answer."""
    if str(row.get("question_type", "")).startswith("Theorem"):
        raise LeftOutError("asks for a proof")
    if row.get("modality") == "Multimodal" or any(
        value is not None for name, value in row.items() if re.fullmatch(r"image(_\d+)?", name)
    ):
        raise LeftOutError("needs a picture")
    if look_up(row, ("error", "tolerance")) is not None:
        raise LeftOutError("the answer has a tolerance, which the verifier does not know")


LAYOUTS: Mapping[str, Layout] = {
    "math": Layout("MIT", gold=_boxed),
    "gsm8k": Layout("MIT", prompt=("question", "problem"), gold=_after_hashes, worked=_before_hashes),
    "dapo": Layout(
        "Apache-2.0",
        prompt=("prompt", "problem", "question"),
        answer=("reward_model.ground_truth", "answer", "label", "solution"),
        solution=(),  # of the processed variant, the answer
        subject=(),
        ask=_unwrapped,
    ),
    "numina": Layout("Apache-2.0", subject=("problem_type",), origin=("source",), useful=_numina_useful),
    "aime": Layout("problems: Mathematical Association of America", gold=_number),
    "amc": Layout("problems: Mathematical Association of America", gold=_number),
    "olympiadbench": Layout(
        "MIT",
        prompt=("question", "problem"),
        answer=("final_answer", "answer"),
        solution=(),  # a list of texts
        subject=("subfield", "subject"),
        context=("context",),
        gold=_listed,
        useful=_olympiad_useful,
    ),
}
"""By `kind` of a source."""
