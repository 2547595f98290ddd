"""What grades answers: the names and patterns that a configuration may give."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator

from lens_core.verify.plugin import verifier_path


def _known_verifier(name: str) -> str:
    verifier_path(name)
    return name


Verifier = Annotated[str, AfterValidator(_known_verifier)]
"""`math`, an entry point of the group `lens_grpo.verifiers`, or `package.module:function` (docs/verifier.md)."""


def _one_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    if groups < 1:
        raise ValueError(f"{pattern!r} has no group for the answer: put it in brackets, as in 'Result: (.+)'")
    return pattern


AnswerPattern = Annotated[str, AfterValidator(_one_group)]
"""Regular expression whose first group is the final answer, where it last matches."""

Extraction = Literal["strict", "lenient"]
"""Where the built-in verifier looks for the final answer without a pattern. `strict`: where a completion commits itself
(box, `<answer>` tag, `####` line); `lenient`: also phrases, and the last formula or number (docs/verifier.md)."""
