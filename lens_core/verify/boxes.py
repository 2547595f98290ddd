"""Boxes in a completion: `\\boxed{...}` and `\\fbox{...}`, and the answer that the last of them make up."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from lens_core.verify.connectives import HEDGE

MAX_ANSWER_CHARS = 2000
"""Longer answers are not looked at."""
_MAX_BOXES = 50
"""Of one answer, in several boxes."""

_BRACE_OR_ESCAPE = re.compile(r"\\.|[{}]", re.DOTALL)  # an escaped brace opens and closes nothing
BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)|\\(?:boxed|fbox)\s+(?=[^\s{])")
_CHANGE_OF_MIND = re.compile(
    r"\b(?:but|wait|no|not|actually|again|instead|so|thus|hence|therefore|then|gives?|is|correct|final|answer|check\w*)\b|\n\s*\n|\.\s",
    re.IGNORECASE,
)
"""What stands between two boxes that are not parts of one answer."""


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
    match = BOX.match(text, start) if start >= 0 else None
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


def boxes(text: str, strict: bool = False) -> tuple[int, str] | None:
    """End of the last box, and the content of the boxes that make up the last answer; None if it is cut off."""
    limit = len(text)
    contents: list[str] = []
    end_of_last = start_of_next = 0
    for _ in range(_MAX_BOXES):
        box = _outermost(text, last_box(text, limit), strict)
        if box is None:
            break
        if box.content is None:
            if contents:
                break
            return None
        between = text[box.end : start_of_next]
        if contents and (box.end > start_of_next or not _one_answer(between)):
            break  # a box around those that were found, or an earlier answer
        if contents and re.fullmatch(r"[\s$]*(?:\\(?:approx|simeq|sim)|≈|=)[\s$]*", between):
            contents[0] = f"{box.content.strip()} \\approx {contents[0]}"
        elif box.content.strip() not in contents:
            contents.insert(0, box.content.strip())
        end_of_last = end_of_last or box.end
        start_of_next = limit = box.start
    return end_of_last, " , ".join(content for content in contents if content)


def _outermost(text: str, box: Box | None, strict: bool) -> Box | None:
    """The box around `box` with all that it holds, or `box` where nothing else is said in it.

    A sentence that ends in its box is one answer as well, unless `strict`: so are worked solutions that stand in a box.
    """
    outer = inner = box
    for _ in range(_MAX_BOXES):
        if inner is None or outer is None or inner.content is None:
            break
        inner = last_box(text, inner.start)
        if inner is not None and inner.is_closed and inner.end >= outer.end:
            outer = inner
    if outer is None or outer is box or outer.content is None:
        return outer
    beside, last = _replaced(outer.content, lambda _: " "), last_box(outer.content)
    if not _NOTHING_SAID.sub(" ", beside).strip():
        return box
    is_last = last is not None and not _NOTHING_SAID.sub(" ", outer.content[last.end :]).strip()
    if is_last and not strict and re.search(r"(?<![\\a-zA-Z])[a-zA-Z]{2}", beside) and not HEDGE.search(beside):
        return box
    return outer._replace(content=_replaced(outer.content, str))


def _replaced(text: str, by: Callable[[str], str]) -> str:
    """`text` with what `by` makes of its content in place of each box, inner boxes before those around them."""
    for _ in range(_MAX_BOXES):
        box = last_box(text)
        if box is None or box.content is None:
            break
        text = text[: box.start] + by(box.content) + text[box.end :]
    return text


_NOTHING_SAID = re.compile(r"\\(?:begin|end)\{\w+\*?\}|\\(?:text|quad|qquad|[,;:! ()\[\]])|\b(?:and|or)\b|[{}\s$.,;]")
"""In a box around others."""


def _one_answer(between: str) -> bool:
    """Whether what stands between two boxes joins them: `\\boxed{1} and \\boxed{2}`."""
    if len(between) > 70 or _CHANGE_OF_MIND.search(between):
        return False
    bare = re.sub(r"\\(?:text|quad|qquad|[()\[\],;: ])|[${}]", " ", between)
    return len(bare.strip()) < 10 or re.search(r"\b(?:and|or)\b|[,;]", bare) is not None
