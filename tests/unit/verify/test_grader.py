import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from lens_core.verify import Grader, Outcome, grade
from lens_core.verify.extract import Found
from lens_core.verify.grader import _integers
from lens_core.verify.reward import math_reward
from lens_core.verify.worker import judge

TOWER = "\\boxed{9^{9^{9^{9}}}}"
SLOW = "\\boxed{\\binom{10^9}{10^8}}"
"""Computed while it is read, with nothing to tell beforehand that it takes for ever."""


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(workers=2, timeout_s=2.0) as grader:
        yield grader


@pytest.mark.parametrize(
    ("completion", "answer", "outcome"),
    [
        ("so \\boxed{12}", "12", Outcome.CORRECT),
        ("so \\boxed{13}", "12", Outcome.WRONG),
        ("\\boxed{+12}", "\\boxed{12}", Outcome.CORRECT),
        ("\\boxed{\\frac12}", "0.5", Outcome.CORRECT),
        ("It is $1/2$.", "$\\frac{1}{2}$", Outcome.CORRECT),
        ("\\boxed{x+1}", "1+x", Outcome.CORRECT),
        ("\\boxed{x}", "$y$", Outcome.WRONG),
        ("The total is 1,234", "1234", Outcome.CORRECT),
        ("I do not know.", "3", Outcome.WRONG),
        ("", "3", Outcome.WRONG),
    ],
)
def test_grade_outcomes_and_answer_forms(grader: Grader, completion: str, answer: str, outcome: Outcome) -> None:
    assert grader.grade(completion, answer).outcome is outcome


def test_grade_says_what_it_extracted(grader: Grader) -> None:
    assert grader.grade("\\boxed{12}", "12").extracted == "12"
    assert grader.grade("nothing", "12").extracted is None


def test_unreadable_gold_answer_is_ungraded_not_wrong(grader: Grader) -> None:
    verdict = grader.grade("\\boxed{1}", "\\boxed{}")
    assert verdict.outcome is Outcome.UNGRADED
    assert "gold answer" in verdict.reason


@pytest.mark.parametrize(("gold", "outcome"), [("3", Outcome.WRONG), ("x^2", Outcome.UNGRADED)])
def test_time_out_is_no_way_out_of_a_number_and_the_next_answer_is_graded(gold: str, outcome: Outcome) -> None:
    with Grader(timeout_s=0.3) as grader:
        verdict = grader.grade(SLOW, gold)
        assert verdict.outcome is outcome
        assert (verdict.extracted, verdict.reason) == ("\\binom{10^9}{10^8}", "time-out after 0.3 s")
        assert grader.grade("\\boxed{\\frac12}", "0.5").outcome is Outcome.CORRECT


def test_process_that_somebody_kills_costs_no_answer() -> None:
    with Grader() as grader:
        assert grader.grade("$x$", "$x$").outcome is Outcome.CORRECT
        process = grader._workers[0]._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        assert grader.grade("$y$", "$y$").outcome is Outcome.CORRECT


@pytest.mark.parametrize(
    "completion",
    ["{" * 10_000, "\\boxed{" * 10_000, "a\x00b", "lone \ud800 surrogate", "$" + "x" * 1_000_000 + "$", TOWER],
    ids=["braces", "boxes", "nul", "surrogate", "megabyte", "tower"],
)
def test_adversarial_text_is_never_right_and_never_a_crash(grader: Grader, completion: str) -> None:
    assert grader.grade(completion, "3").outcome is not Outcome.CORRECT


@pytest.mark.parametrize(
    "answer",
    ["", " ", "a\x00b", "\ud800", "}{", "1" * 5000],
    ids=["empty", "blank", "nul", "surrogate", "braces", "long"],
)
def test_adversarial_gold_answer_is_never_a_crash(grader: Grader, answer: str) -> None:
    assert grader.grade("\\boxed{x}", answer).outcome is not Outcome.CORRECT


def test_megabyte_to_a_dead_process_is_sent_again() -> None:
    with Grader() as grader:
        grader.grade("$x$", "$x$")
        process = grader._workers[0]._process
        assert process is not None
        process.kill()
        process.wait()
        verdict = grader.grade("$y$", "x" * 1_000_000)  # the pipe breaks while it is written
        assert verdict.outcome is Outcome.UNGRADED
        assert not verdict.reason.startswith("the grader died")


@pytest.mark.parametrize("extracted", ["7", "-7", "+7", " 7 ", "007", "8", "-8", "0", "-0"])
@pytest.mark.parametrize("answer", ["7", "-7", " 7", "+7", "0"])
def test_integer_shortcut_agrees_with_the_worker(extracted: str, answer: str) -> None:
    shortcut = _integers(Found(extracted, "box"), answer)
    assert shortcut is not None
    assert shortcut.outcome == judge(extracted, answer)[0]


def test_same_verdicts_from_many_threads(grader: Grader) -> None:
    pairs = [(f"${i}+x$", f"$x+{i % 3}$") for i in range(30)]
    with ThreadPoolExecutor(8) as threads:
        outcomes = [verdict.outcome for verdict in threads.map(lambda pair: grader.grade(*pair), pairs)]
    assert outcomes == [Outcome.CORRECT if i == i % 3 else Outcome.WRONG for i in range(30)]


def test_grade_many_keeps_order_and_grades_equal_pairs_once(grader: Grader) -> None:
    pairs = [("$x$", "$x$"), ("$y$", "$x$"), ("$x$", "$x$")]
    verdicts = grader.grade_many(pairs)
    assert [verdict.reward for verdict in verdicts] == [1.0, 0.0, 1.0]
    assert verdicts[0] is verdicts[2]  # one grading makes one object


def test_reward_of_ungraded_answers_is_none_and_conversations_are_read() -> None:
    conversation = [{"role": "assistant", "content": "\\boxed{2}"}]
    assert math_reward(["\\boxed{2}", "\\boxed{3}"], answer=["2", "2"]) == [1.0, 0.0]
    assert math_reward([conversation], answer=["2"], prompts=["?"]) == [1.0]
    assert math_reward(["\\boxed{1}"], answer=["\\boxed{}"]) == [None]


def test_shared_grader_serves_grade() -> None:
    assert grade("\\boxed{7}", "7").outcome is Outcome.CORRECT


def test_completions_that_end_in_the_same_answer_share_one_verdict(grader: Grader) -> None:
    verdicts = grader.grade_many([("so $x+1$", "$1+x$"), ("Hence, the sum is\n$x+1$", "$1+x$")])
    assert verdicts[0] is verdicts[1]


def test_time_out_is_remembered(grader: Grader) -> None:
    first, again = (grader.start(SLOW, "x^3") for _ in range(2))
    assert first.result().reason.startswith("time-out")
    assert grader.start(SLOW, "x^3") is first is again


def test_answer_that_is_too_long_is_wrong_at_once(grader: Grader) -> None:
    verdict = grader.grade("\\boxed{" + "1" * 3000 + "}", "3")
    assert verdict.outcome is Outcome.WRONG
    assert verdict.reason == "an answer of 3,000 characters or more; up to 2,000 are read"


def test_value_that_is_too_large_is_wrong_where_a_number_is_asked_for(grader: Grader) -> None:
    assert grader.grade(TOWER, "3").reason == "far larger than the gold answer"
    vast = "\\boxed{9^{9^{9^9}} - 9^{9^{9^9}} + 3}"  # equal to 3, and not to be computed
    assert grader.grade(vast, "3").outcome is Outcome.WRONG
    verdict = grader.grade(vast, "x+3")
    assert (verdict.outcome, verdict.reason) == (Outcome.UNGRADED, "a value of more than 20,000 digits")


def test_gold_answer_that_cannot_be_read_leaves_other_answers_ungraded(grader: Grader) -> None:
    gold = "\\mathcal{F} \\longrightarrow"
    assert grader.grade("\\boxed{\\mathcal{F} \\longrightarrow}", gold).outcome is Outcome.CORRECT  # the same text
    assert grader.grade("\\boxed{x+1}", gold).outcome is Outcome.UNGRADED


def test_graders_run_nothing_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "was-run"
    for name in ("json", "random", "re", "sympy", "reasoning_gym"):
        (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'w')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with Grader() as grader:
        assert grader.grade("\\boxed{\\frac12}", "0.5").outcome is Outcome.CORRECT
        grader.grade("\\boxed{1}", '{"task": "countdown"}')
    assert not mark.exists()


def test_grader_ends_with_the_process_that_started_it_in_the_middle_of_an_answer() -> None:
    code = (
        "import time; from lens_core.verify import Grader\n"
        f"grader = Grader(timeout_s=600); grader.grade('$x$', '$x$'); grader.start({SLOW!r}, '3')\n"
        "print(grader._workers[0]._process.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    process = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    assert psutil.wait_procs([process], timeout=10)[1] == []


def test_search_path_may_hold_what_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python passes over it when it imports, and so does a grader."""
    monkeypatch.setattr(sys, "path", [Path("/somewhere"), None, *sys.path])
    with Grader() as grader:
        assert grader.grade("\\boxed{x+1}", "1+x").outcome is Outcome.CORRECT
