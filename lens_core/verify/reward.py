"""The verifier as a TRL reward function."""

from __future__ import annotations

from typing import Any

from lens_core.verify.grader import default_grader


def math_reward(completions: list[Any], answer: list[str], **_: Any) -> list[float | None]:
    """1.0 right, 0.0 wrong, None ungraded, for each completion (a string, or a conversation's last message).

    The data set needs a column `answer` with the gold answers.
    """
    texts = [completion if isinstance(completion, str) else completion[-1]["content"] for completion in completions]
    verdicts = default_grader().grade_many(zip(texts, answer, strict=True))
    return [verdict.reward for verdict in verdicts]
