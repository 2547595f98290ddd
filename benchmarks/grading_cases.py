"""Labelled answers: the pairs that rules were mended on, and those that are kept out of all tuning."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
OURS = ROOT / "tests" / "unit" / "verify" / "pairs.jsonl"
KEPT_OUT = Path(__file__).parent / "grading_data" / "kept_out.jsonl"
_MARKER = re.compile(r"\\(?:boxed|fbox)|####|<answer>")


class Case(NamedTuple):
    category: str
    gold: str
    completion: str
    expected: bool | None
    """Whether the answer is correct; None: nobody can tell, so that it must not be called wrong."""
    in_prose: bool
    """Whether the answer stands in prose alone, which a strict grader does not read."""

    def expected_by(self, reads_prose: bool) -> bool | None:
        return self.expected if reads_prose or not self.in_prose else False


def mended() -> list[Case]:
    """What rules were mended on: our own pairs and, where LENS_SHARED_DATA names their folder, math-verify's tests
    without those that are marked as suspect, and the faults that were found in a search for them.
    """
    cases = [_case(row["class"], row, row["completion"]) for row in _rows(OURS)]
    others = Path(os.environ.get("LENS_SHARED_DATA", ROOT.parent / "shared" / "data")) / "grading"
    if not others.is_dir():
        print("without math-verify's tests and the known faults: LENS_SHARED_DATA names no folder with grading/")
        return cases
    for row in _rows(others / "math_verify_cases.jsonl"):
        if not row.get("suspect"):
            is_answer = row["kind"] == "answer_pair"
            completion = f"\\boxed{{{row['prediction'].strip('$')}}}" if is_answer else row["prediction"]
            cases.append(_case(f"math-verify's tests: {'answers' if is_answer else 'responses'}", row, completion))
    return cases + [_case("known faults", row, row["prediction"]) for row in _rows(others / "faults.jsonl")]


def kept_out() -> list[Case]:
    """What no rule may be mended on: grading_data/README.md says where the pairs come from."""
    return [_case(row["class"], row, row["completion"]) for row in _rows(KEPT_OUT)]


def _case(category: str, row: dict[str, Any], completion: str) -> Case:
    in_prose = row.get("in_prose", _MARKER.search(completion) is None)
    return Case(category, row["gold"], completion, row["expected"], in_prose)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
