"""The sample viewer: every completion of an evaluation in one HTML file that needs no network.

The page holds its data as JSON and builds what is looked at: a list of problems, and the answers to one of them.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from lens_core.evaluation.records import Completion, PassKReport, ProblemResult
from lens_core.files import write_text
from lens_core.report.run import render

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""What a token is written with: one digit for its length, one for its confidence. The page has the same."""


def render_viewer(report: PassKReport, results: Sequence[ProblemResult], output: Path) -> Path:
    """Write the page to `output`."""
    data = json.dumps([_problem(result) for result in results], ensure_ascii=False, separators=(",", ":"))
    page = render(
        "viewer.html.j2",
        report=report,
        levels=_distinct(result.level for result in results),
        subjects=_distinct(result.subject for result in results),
        sources=_distinct(result.source for result in results),
        # No `<` in it: whatever a model wrote, the script element ends where we end it.
        data=Markup(data.replace("<", "\\u003c")),
        digits=_DIGITS,
    )
    write_text(output, page)
    return output


def _distinct(values: Any) -> list[Any]:
    """The values that a filter offers; none where there is no choice."""
    found = sorted({value for value in values if value is not None})
    return found if len(found) > 1 else []


def _problem(result: ProblemResult) -> list[Any]:
    return [
        result.problem,
        result.prompt,
        result.answer,
        result.level,
        result.subject,
        result.source,
        [_answer(completion) for completion in result.completions],
    ]


def _answer(completion: Completion) -> list[Any]:
    return [
        completion.text,
        completion.outcome,
        completion.reason,
        completion.extracted,
        round(completion.confidence, 3),
        completion.tokens,
        int(completion.truncated),
        _tokens(completion),
    ]


def _tokens(completion: Completion) -> str:
    """Two digits a token; empty where tokens were not kept. JavaScript counts UTF-16 units, not characters."""
    if completion.token_logprobs is None or completion.token_lengths is None:
        return ""
    units = completion.token_lengths
    if completion.text and max(completion.text) > "\uffff":
        ends = [0, *itertools.accumulate(units)]
        pieces = [completion.text[start:end] for start, end in itertools.pairwise(ends)]
        units = tuple(len(piece.encode("utf-16-le")) // 2 for piece in pieces)
    return "".join(map(_digits, units, completion.token_logprobs))


@lru_cache(maxsize=2**16)
def _digits(units: int, logprob: float) -> str:
    """A token of more than 63 units is written as several, of no units not at all."""
    confidence = _DIGITS[round(63 * min(1.0, math.exp(logprob)))]
    parts = [63] * (units // 63) + [units % 63] * (units % 63 > 0)
    return "".join(_DIGITS[part] + confidence for part in parts)
