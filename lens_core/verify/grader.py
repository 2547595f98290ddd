"""Grading in processes of its own: safe from any thread, hard-killed when time is up."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from types import TracebackType

from lens_core.verify.extract import MAX_ANSWER_CHARS, find_answer, find_by_pattern
from lens_core.verify.verdict import Outcome, Verdict

_REMEMBERED = 4096
"""Verdicts that a grader keeps: a policy repeats its answers, within a group and over the steps."""
_INTEGER = re.compile(r"\s*[+-]?\d{1,18}\s*")


class _Worker:
    """One grading process (see worker.py), started on first use and again after each death."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[str] | None = None

    def judge(self, extracted: str, answer: str) -> Verdict:
        process = self._alive()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"extracted": extracted, "answer": answer}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            return Verdict(Outcome.UNGRADED, extracted, self._cause_of_death(process))
        reply = json.loads(line)
        return Verdict(Outcome(reply["outcome"]), extracted, reply["reason"])

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _alive(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lens_core.verify.worker", str(self._timeout_s)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
                errors="surrogateescape",
            )
            assert self._process.stdout is not None
            if not self._process.stdout.readline():
                raise RuntimeError(f"the grading process did not start (exit code {self._process.wait()})")
        return self._process

    def _cause_of_death(self, process: subprocess.Popen[str]) -> str:
        code = process.wait()
        self.close()
        return (
            f"time-out after {self._timeout_s:g} s"
            if code == -signal.SIGALRM
            else f"the grader died (exit code {code})"
        )


class Grader:
    """Grades completions in `workers` processes, each answer within `timeout_s` seconds of work.

    The final answer is what `find_answer` finds, or the first group of `answer_pattern` where it last matches.
    Processes start with the first answer that needs one. Safe to share between threads; close it after use.
    """

    def __init__(self, workers: int = 1, timeout_s: float = 5.0, answer_pattern: str | None = None) -> None:
        self._find = find_answer if answer_pattern is None else partial(find_by_pattern, re.compile(answer_pattern))
        self._idle: queue.Queue[_Worker] = queue.Queue()
        self._workers = [_Worker(timeout_s) for _ in range(workers)]
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="grader")
        self._lock = threading.Lock()
        self._verdicts: OrderedDict[tuple[str, str], Future[Verdict]] = OrderedDict()

    def grade(self, completion: str, answer: str) -> Verdict:
        """Grade one completion against the gold answer, which may be bare, in `$...$` or in `\\boxed{}`."""
        return self.start(completion, answer).result()

    def grade_many(self, pairs: Iterable[tuple[str, str]]) -> list[Verdict]:
        """Verdicts of (completion, answer) pairs, in their order; equal pairs are graded once."""
        verdicts = [self.start(completion, answer) for completion, answer in pairs]
        return [verdict.result() for verdict in verdicts]

    def start(self, completion: str, answer: str) -> Future[Verdict]:
        """Begin to grade without waiting. Completions that end in the same answer share one verdict.

        An answer that could not be graded is forgotten, so that it is tried again when it is next asked for.
        """
        extracted = self._find(completion)
        if extracted is None:
            return _decided(Verdict(Outcome.WRONG, None, "no answer found"))
        if len(extracted) > MAX_ANSWER_CHARS:
            reason = f"an answer of {len(extracted):,} characters or more; up to {MAX_ANSWER_CHARS:,} are read"
            return _decided(Verdict(Outcome.UNGRADED, extracted[:100] + "...", reason))
        pair = (extracted.encode(errors="replace").decode(), answer)  # lone surrogates cannot be written anywhere
        with self._lock:
            known = self._verdicts.get(pair)
            if known is not None and not _failed(known):
                self._verdicts.move_to_end(pair)
                return known
            verdict = self._begin(*pair)
            self._verdicts[pair] = verdict
            if len(self._verdicts) > _REMEMBERED:
                self._verdicts.popitem(last=False)
            return verdict

    def _begin(self, extracted: str, answer: str) -> Future[Verdict]:
        verdict = _integers(extracted, answer)
        return _decided(verdict) if verdict else self._threads.submit(self._judge, extracted, answer)

    def _judge(self, extracted: str, answer: str) -> Verdict:
        worker = self._idle.get()
        try:
            return worker.judge(extracted, answer)
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> Grader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _failed(verdict: Future[Verdict]) -> bool:
    return verdict.done() and (verdict.exception() is not None or verdict.result().outcome is Outcome.UNGRADED)


def _decided(verdict: Verdict) -> Future[Verdict]:
    future: Future[Verdict] = Future()
    future.set_result(verdict)
    return future


def _integers(extracted: str, answer: str) -> Verdict | None:
    """The verdict where it needs no algebra: an integer against an integer. Else None."""
    if not (_INTEGER.fullmatch(extracted) and _INTEGER.fullmatch(answer)):
        return None
    if int(extracted) == int(answer):
        return Verdict(Outcome.CORRECT, extracted, "equal")
    return Verdict(Outcome.WRONG, extracted, "not equal")


@cache
def default_grader(answer_pattern: str | None = None) -> Grader:
    """The grader that `grade` and `math_reward` share in this process; another one for each pattern."""
    # Ray and torchrun say so how many cores are a process's own: those of a training share the machine.
    workers = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    return Grader(workers, answer_pattern=answer_pattern)


def grade(completion: str, answer: str) -> Verdict:
    """Grade one completion: CORRECT, WRONG, or UNGRADED where the grader crashed or ran out of time."""
    return default_grader().grade(completion, answer)
