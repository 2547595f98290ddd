"""The same verdicts from everywhere, for strings that mislead or hang a verifier, and whatever a policy can write."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lens_core.verify import Grader, Outcome
from lens_core.verify.extract import find_answer
from tests.helpers.misleading import MISLEADING, outcomes


def test_grade_gives_the_same_verdicts_in_a_thread_an_event_loop_and_a_process() -> None:
    here = outcomes()
    assert here == [outcome for _, _, outcome in MISLEADING]

    in_thread: list[list[str]] = []
    thread = threading.Thread(target=lambda: in_thread.append(outcomes()))
    thread.start()
    thread.join()
    assert in_thread == [here]

    async def in_loop() -> list[str]:
        return outcomes()

    assert asyncio.run(in_loop()) == here

    code = "import json; from tests.helpers.misleading import outcomes; print(json.dumps(outcomes()))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(printed) == here


def test_waiting_for_a_worker_is_not_on_an_answers_clock() -> None:
    slow = "\\boxed{\\binom{10^9}{10^8}}"
    with Grader(workers=1, timeout_s=1.0) as grader:
        ahead = [grader.start(slow, str(gold)) for gold in range(2)]  # 2 s of work for the one worker
        assert grader.grade("\\boxed{\\frac{2}{4}}", "0.5").outcome is Outcome.CORRECT
        assert {verdict.result().reason for verdict in ahead} == {"time-out after 1 s"}


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(workers=2, timeout_s=2.0) as grader:
        yield grader


_PIECES = st.sampled_from(
    [
        *("\\boxed{", "{", "}", "(", ")", "[", "]", "$", "\\(", "\\)", "\\[", "\\]", "|"),
        *(",", ";", ":", "^", "_", "=", "<", "&", "!", "/", "\\{", "\\}", "\\\\", "\\%", "^\\circ", "\\leq", "\\cdot"),
        *("\\frac", "\\sqrt", "\\pm", "\\cup", "\\in", "\\text{", "\\begin{pmatrix}", "\\end{pmatrix}"),
        *("\\sin", "\\log_", "\\int_0^1", "\\sum_{k=1}^{n}", "\\infty", "\\pi"),
        *("x", "y", "i", "e", "n", "A", "2", "17", "0.5", "1,000", " ", "\n", "\0", "\ud800", "½", "√", "−", "²", "٣"),
        *("The answer is ", "#### ", " and ", " or ", "final answer: ", "yes", "cm", "</think>", "<|im_end|>"),
    ]
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(_PIECES, max_size=12).map("".join))
def test_pieces_of_latex_in_any_order_are_graded(grader: Grader, completion: str) -> None:
    # No piece holds 7, so that none can make 7.25 without arithmetic that the pieces do not have the numbers for.
    verdict = grader.grade("\\boxed{" + completion + "}", "\\frac{29}{4}")
    assert verdict.outcome is not Outcome.CORRECT
    assert "the grader failed" not in verdict.reason


@settings(max_examples=300)
@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=200))
def test_any_text_is_searched_for_an_answer(text: str) -> None:
    answer = find_answer(text)
    assert answer is None or len(answer.text) <= len(text)
