"""A verifier as a TRL reward function."""

from __future__ import annotations

from typing import Any

from lens_core.verify.plugin import BUILT_IN, grader_for


class VerifierReward:
    """1.0 right, 0.0 wrong, None ungraded, for each completion (a string, or a conversation's last message).

    The data set needs a column `answer` with the gold answers. `verifier` is a name that `find_verifier` knows; the
    built-in one finds the final answer by `answer_pattern`, where there is one, and else where a completion commits
    itself; unless `strict` is False, when it reads phrases and last numbers as well (docs/verifier.md).
    """

    def __init__(self, verifier: str = BUILT_IN, answer_pattern: str | None = None, strict: bool = True) -> None:
        # The grader is found when it is needed: processes are not for every process.
        self._asked = (verifier, answer_pattern, strict)
        self.__name__ = "math_reward" if verifier == BUILT_IN else verifier.rpartition(":")[2]
        # TRL's name for the function in metrics

    def __call__(self, completions: list[Any], answer: list[str], **_: Any) -> list[float | None]:
        texts = [completion if isinstance(completion, str) else completion[-1]["content"] for completion in completions]
        verdicts = grader_for(*self._asked).grade_many(zip(texts, answer, strict=True))
        return [verdict.reward for verdict in verdicts]

    def prefetch(self, completion: str, answer: str, **_: Any) -> None:
        """Begin to grade one completion; the call for its batch then finds the verdict ready."""
        grader_for(*self._asked).start(completion, answer)


math_reward = VerifierReward()
