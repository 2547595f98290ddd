"""Where the final answer stands in a completion: `find_answer(completion) -> the answer as it was written, or None`.

Only the last thing that a completion commits to counts, whole: candidates that are listed are one answer, the list.
Every search of `find_answer` goes from the end, over a bounded stretch of text, in linear time, since it runs in the
caller's process. A pattern of the user's may take for ever: `find_by_pattern` is for grading processes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_ANSWER_CHARS = 2000
"""Longer answers are not looked at."""
_TAIL_CHARS = 20_000
"""Without a box, the answer is looked for in this much text at the end."""

_MAX_BOXES = 50
"""Of one answer, in several boxes."""

_BRACE_OR_ESCAPE = re.compile(r"\\.|[{}]", re.DOTALL)  # an escaped brace opens and closes nothing
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)|\\(?:boxed|fbox)\s+(?=[^\s{])")
_SPECIAL = re.compile(r"<\|[a-z_]{1,30}\|>|</s>")
_STRONG = re.compile(
    r"####|(?<![a-z])(?:the |my )?final answer(?:[^\n.]{0,60}?\b(?:is|are|be)\b|\W{0,4}:)", re.IGNORECASE
)
"""Phrases that rank with a box: of those and boxes, the last one counts."""
_WEAK = re.compile(r"(?<![a-z])(?:answer|option|choice)s?(?:[^\n.]{0,60}?\b(?:is|are|be)\b|\W{0,4}:)", re.IGNORECASE)
_MATH = re.compile(
    r"\$\$(?P<a>[^$]+)\$\$|(?<!\\)\$(?P<b>(?:\\\$|[^$\n]|\n(?!\n)){1,2000}?)(?<!\\)\$"
    r"|\\\((?P<c>(?:[^\\]|\\(?![()]))+)\\\)|\\\[(?P<d>(?:[^\\]|\\(?![\[\]]))+)\\\]"
)
_NUMBER = re.compile(
    r"(?<![\w.])[-−–]?(?:[$€£¥₹]\s?)?[-−–]?"
    r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)(?![.,]?\d)(?:\s?/\s?\d+)?"
    r"(?:\s*(?:\\?%|(?:percent|pct)\b|[€£¥₹]|°))?"
)
_JOINT = re.compile(r"[\s.]*(?:,|;|and|or|,\s*and|,\s*or|&)[\s]*")
_CHANGE_OF_MIND = re.compile(
    r"\b(?:but|wait|no|not|actually|again|instead|so|thus|hence|therefore|then|gives?|is|correct|final|answer|check\w*)\b|\n\s*\n|\.\s",
    re.IGNORECASE,
)
"""What stands between two boxes that are not parts of one answer."""


def find_answer(completion: str) -> str | None:
    """The final answer, without box or delimiters of its own; None if there is none."""
    text = _after_reasoning(completion)
    boxes = _boxes(text)
    if boxes is None:
        return None
    end_of_boxes, boxed = boxes
    tail_start = max(0, len(text) - _TAIL_CHARS)
    strong = _last(_STRONG, text, max(tail_start, end_of_boxes))
    if strong is not None:
        said = _statement(text[strong:])
        if said:
            return said
    if boxed:
        return boxed
    if end_of_boxes:
        return None
    weak = _last(_WEAK, text, tail_start)
    if weak is not None:
        said = _statement(text[weak:])
        if said:
            return said
    return text.strip() if _is_bare(text) else _last_mathematics(text[tail_start:])


def last_stretch(completion: str) -> str:
    """Where a pattern is searched: the end of the completion, without its reasoning."""
    return _after_reasoning(completion)[-_TAIL_CHARS:]


def find_by_pattern(pattern: re.Pattern[str], text: str) -> str | None:
    """What the first group of `pattern` matched last; None where it did not."""
    found = None
    for match in pattern.finditer(text):
        found = match[1]
    return found


def _is_bare(text: str) -> bool:
    """Whether a completion is an answer and nothing else."""
    text = text.strip()
    return (
        0 < len(text) < 200 and "\n" not in text and not re.search(r"(?<![\\a-zA-Z])[a-zA-Z]{2}|\$.*\w\s*\$\s*\w", text)
    )


def gold_answer(answer: str) -> str:
    """The gold answer out of its box, or out of the worked solution that it ends."""
    found = list(_BOX.finditer(answer))
    if found:
        boxes = _boxes(answer)
        return boxes[1] if boxes is not None and boxes[1] else answer[found[-1].end() :].lstrip("{")
    if len(answer) > 200 and len(re.findall(r"[a-z]{3,}", re.sub(r"\\[a-zA-Z]+", "", answer))) > 20:
        return find_answer(answer) or answer
    return answer


def refine(answer: str) -> str:
    """The mathematics out of an answer that holds a sentence: `Answer \\[ 9 \\]`, `the total is 1,000.99€`."""
    spans = list(_MATH.finditer(answer))
    if spans:
        return answer if _is_short(_MATH.sub(" ", answer)) else _last_mathematics(answer) or answer
    half = re.fullmatch(r"[^$]*[A-Za-z]{3}[^$]*\${1,2}([^$]*[\d\\][^$]*)", answer)
    if half and "\\text" not in answer:  # the other delimiter was lost
        return half[1]
    plain = re.sub(r"\\[a-zA-Z]+\s*(?:\{[^{}]*\})?", " ", answer)
    if len(re.findall(r"[a-zA-Z]{2,}", plain)) < 3 or not re.search(r"\d", answer):
        return _before_dollar(answer)
    if re.match(r"\s*[-\\$€£(\d]", answer):  # a number with its unit: `12 miles per hour`
        return answer
    if re.search(r"\b(?:is|are)\b", answer):
        return _statement(answer) or answer
    # One that wavers is taken whole, and so is right only if the gold answer says the same.
    return answer if _HEDGES.search(answer) else _last_mathematics(answer) or answer


_HEDGES = re.compile(r"\b(?:or|and|maybe|perhaps|either|possibly|else|to)\b|,\s|;", re.IGNORECASE)


def _before_dollar(answer: str) -> str:
    match = re.fullmatch(r"[A-Za-zÀ-ÿ]{3,}\s*:?\s*(" + _NUMBER.pattern + r")[^\d]*", answer.strip())
    return match[1] if match else answer


def _is_short(outside: str) -> bool:
    """Whether the words outside of the mathematics join it or name a unit, rather than make a sentence."""
    outside = re.sub(r"(?:\b(?:and|or)\b|[\s,;.$%])+", " ", outside).strip()
    return len(outside.split()) <= 2 and ":" not in outside and not re.search(r"\b(?:is|are|answer)\b", outside, re.I)


def _after_reasoning(completion: str) -> str:
    """What follows the reasoning, if anything does, up to the first token that is no text."""
    cut = _SPECIAL.search(completion, completion.find("</think>") + 1)
    while cut is not None and not completion[: cut.start()].strip():
        cut = _SPECIAL.search(completion, cut.end())
    text = completion if cut is None else completion[: cut.start()]
    _, end, answer = text.rpartition("</think>")
    return answer if end and answer.strip() else text


class Box(NamedTuple):
    """A `\\boxed{...}` or `\\fbox{...}`, or one without braces, up to the next space or `$`."""

    start: int
    end: int
    content: str | None
    """None: the text ends before the box does."""
    is_closed: bool
    """Whether its end is written, and not where a formula without its last brace ends."""


def last_box(text: str, limit: int | None = None) -> Box | None:
    """The last box that begins before `limit`, nested braces included; None if there is none."""
    limit = len(text) if limit is None else limit
    start = max(text.rfind("\\boxed", 0, limit), text.rfind("\\fbox", 0, limit))
    match = _BOX.match(text, start) if start >= 0 else None
    return None if match is None else _box(text, start, match.end(), limit)


def _box(text: str, start: int, begin: int, limit: int) -> Box:
    """The box whose command starts at `start`, and whose content at `begin`."""
    if text[begin] != "{":
        match = re.compile(r"[^\s$]+").match(text, begin)
        return Box(start, 0, None, False) if match is None else Box(start, match.end(), match[0], True)
    depth = 0
    for match in _BRACE_OR_ESCAPE.finditer(text, begin, begin + 2 * MAX_ANSWER_CHARS):
        depth += (match[0] == "{") - (match[0] == "}")
        if depth == 0:
            return Box(start, match.end(), text[begin + 1 : match.start()], True)
    if len(text) - begin > 2 * MAX_ANSWER_CHARS:
        return Box(start, len(text), text[begin + 1 :], False)  # too long to be looked at; the caller says so
    # A brace is missing, but the formula ends: a slip. Where the text ends as well, it was cut off.
    match = re.compile(r"(?<!\\)\$|\\[\])]").search(text, begin, limit)
    return (
        Box(start, 0, None, False) if match is None else Box(start, match.end(), text[begin + 1 : match.start()], False)
    )


def _boxes(text: str) -> tuple[int, str] | None:
    """End of the last box, and the content of the boxes that make up the last answer; None if it is cut off."""
    limit = len(text)
    contents: list[str] = []
    end_of_last = start_of_next = 0
    for _ in range(_MAX_BOXES):
        box = last_box(text, limit)
        if box is None:
            break
        if box.content is None:
            if contents:
                break
            return None
        if contents and (box.end > start_of_next or not _one_answer(text[box.end : start_of_next])):
            break  # a box around those that were found, or an earlier answer
        if box.content.strip() not in contents:
            contents.insert(0, box.content.strip())
        end_of_last = end_of_last or box.end
        start_of_next = limit = box.start
    return end_of_last, " , ".join(content for content in contents if content)


def _one_answer(between: str) -> bool:
    """Whether what stands between two boxes joins them: `\\boxed{1} and \\boxed{2}`."""
    if len(between) > 70 or _CHANGE_OF_MIND.search(between):
        return False
    bare = re.sub(r"\\(?:text|quad|qquad|[()\[\],;: ])|[${}]", " ", between)
    return len(bare.strip()) < 10 or re.search(r"\b(?:and|or)\b|[,;]", bare) is not None


def _last(pattern: re.Pattern[str], text: str, start: int) -> int | None:
    """End of the last match at or after `start`."""
    end = None
    for match in pattern.finditer(text, start):
        end = match.end()
    return end


def _statement(text: str) -> str | None:
    """The answer that a phrase such as `the answer is` announces: the mathematics of its sentence, or its words."""
    text = text.lstrip(" \t\n:*=\"'")[: 2 * MAX_ANSWER_CHARS]
    math = _MATH.search(text)
    if math is not None and not text[: math.start()].strip(" *:\"'\\"):
        return _joined(text, math)
    sentence = re.split(r"\n|[.!?](?:\s|$)(?!\s*\.\.)|\bI hope\b", text, maxsplit=1)[0].strip(" *\"'`")
    copula = None
    for found in re.finditer(r"\b(?:is|are|be|equals)\b:?\s+|=\s*(?=\S)", sentence):
        copula = found
    if copula is not None and not re.match(r"[-+\\$(\[\d]", sentence):
        rest = sentence[copula.end() :]
        return _statement(rest) if rest.strip() else None
    spans = list(_MATH.finditer(sentence))
    if spans:
        return _joined_backwards(sentence, spans) if not _is_short(_MATH.sub(" ", sentence)) else sentence
    numbers = list(_NUMBER.finditer(sentence))
    if len(numbers) == 1 and len(sentence.split()) > 1 and not re.search(r"\\[a-zA-Z]|[=^()\[\]+*<>]", sentence):
        before, after = sentence[: numbers[0].start()].strip(), sentence[numbers[0].end() :].strip()
        return sentence if not before and len(after.split()) < 4 else numbers[0][0]
    if len(numbers) > 1 and re.match(
        r"[^\d]{0,40}"
        + _NUMBER.pattern
        + r"\s*(?:because|since|as|where|which|,\s*(?:because|since|as|where|which))\b",
        sentence,
    ):
        return numbers[0][0]
    return sentence or None


def _joined(text: str, first: re.Match[str]) -> str:
    """The formula that begins a text, with those that are joined to it, and the word behind it (a unit)."""
    end = first.end()
    while joint := _JOINT.match(text, end):
        span = _MATH.match(text, joint.end())
        if span is None:
            break
        end = span.end()
    unit = re.compile(r" ?(?:\\?%|(?:percent|pct|cm|mm|km|meters?|feet|inches|miles?|dollars?|degrees?)\b)").match(
        text, end
    )
    return text[first.start() : unit.end() if unit else end]


def _joined_backwards(text: str, spans: list[re.Match[str]]) -> str:
    """The last formula of a text, with those before that are joined to it."""
    start = spans[-1].start()
    for before, after in zip(reversed(spans[:-1]), reversed(spans[1:]), strict=True):
        if not _JOINT.fullmatch(text, before.end(), after.start()):
            break
        start = before.start()
    unit = re.compile(r"\s?(?:\\?%|(?:percent|pct)\b)").match(text, spans[-1].end())
    return text[start : unit.end() if unit else spans[-1].end()]


def _last_mathematics(text: str) -> str | None:
    """The last formula or number of a text, whichever ends later, with those that are joined to it."""
    spans = list(_MATH.finditer(text))
    numbers = [match for match in _NUMBER.finditer(text) if not spans or match.start() >= spans[-1].end()]
    if numbers:
        start = numbers[-1].start()
        for before, after in zip(reversed(numbers[:-1]), reversed(numbers[1:]), strict=True):
            if not _JOINT.fullmatch(text, before.end(), after.start()):
                break
            start = before.start()
        return text[start : numbers[-1].end()]
    return _joined_backwards(text, spans) if spans else None
