"""Grading in processes of its own: safe from any thread, hard-killed when time is up."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import re
import select
import signal
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import Any

from lens_core.processes import python
from lens_core.verify.extract import Found, Way, find_answer, last_stretch
from lens_core.verify.verdict import Outcome, Verdict, beyond_limits, unread

_TIME_OUT = "time-out"
_REMEMBERED = 4096
"""Verdicts that a grader keeps: a policy repeats its answers, within a group and over the steps."""
_INTEGER = re.compile(r"\s*[+-]?\d{1,18}\s*")
_GRACE_S = 60.0
"""Beyond an answer's time, for what is not on its clock, before a process that does not end itself is killed."""
_END_S = 10.0
"""For a process that ends by itself, until it has."""
_START_S = 600.0
"""For what a verifier loads when it is imported."""


class _Worker:
    """One grading process (see worker.py), started on first use and again after each death.

    Args:
        asked: how it grades: `verifier`, `answer_pattern` and `strict`.
    """

    def __init__(self, timeout_s: float, asked: Mapping[str, Any]) -> None:
        self._timeout_s = timeout_s
        self._asked = asked
        self._process: subprocess.Popen[str] | None = None

    def judge(self, text: str, answer: str, found_by: Way | None) -> Verdict:
        """The verdict on `text`: the answer that was found, or what the process finds it in (`found_by` None).

        A process that dies may have been killed by somebody, and not by the answer, which is therefore tried twice.
        """
        extracted = None if found_by is None else text
        for tries in (1, 2):
            try:
                process = self._alive()
            except RuntimeError:
                if tries == 2:
                    raise
                continue
            line = self._reply(process, {"text": text, "answer": answer}, self._timeout_s + _GRACE_S)
            if line:
                break
            with suppress(subprocess.TimeoutExpired):  # its pipe is closed before it has ended
                process.wait(_END_S)
            code = self.close()
            if line is None or code == -signal.SIGALRM:
                outcome = Outcome.UNGRADED if self._asked["verifier"] else beyond_limits(answer)
                return Verdict(outcome, extracted, f"{_TIME_OUT} after {self._timeout_s:g} s", found_by)
            if tries == 2:
                return Verdict(Outcome.UNGRADED, extracted, f"the grader died (exit code {code})", found_by)
        reply = json.loads(str(line))
        if reply["extracted"] is not None:
            extracted = _writable(str(reply["extracted"]))
        return Verdict(
            Outcome(reply["outcome"]), extracted, _writable(str(reply["reason"])), found_by or reply["found_by"]
        )

    def close(self) -> int:
        """End the process, if there is one, with all that it has started.

        Returns:
            Its exit code: its own, if it had one.
        """
        process, self._process = self._process, None
        if process is None:
            return 0
        _kill(process)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # of what it did not read any more
                pipe.close()
        return process.wait()

    def _alive(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                python("-m", "lens_core.verify.worker"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if self._asked["verifier"] is None else None,  # what it prints
                encoding="utf-8",
                errors="surrogateescape",
                process_group=0,  # a verifier's own processes end with it
            )
            # Without the working directory of `python -c`, and without what is no text, which Python passes over too.
            path = [folder for folder in sys.path if folder and isinstance(folder, str)]
            asked = {"timeout_s": self._timeout_s, "path": path, **self._asked}
            line = self._reply(self._process, asked, _START_S)
            if not line:
                raise RuntimeError(f"the grading process did not start (exit code {self.close()})")
            if error := json.loads(line).get("error"):
                self.close()
                raise ValueError(error)
        return self._process

    def _reply(self, process: subprocess.Popen[str], task: Mapping[str, Any], patience_s: float) -> str | None:
        """The line that answers `task`; empty where the process dies, None where it is killed after `patience_s`."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            return ""
        waiting = select.poll()
        waiting.register(process.stdout, select.POLLIN)
        if not waiting.poll(1000 * patience_s):
            _kill(process)
            return None
        return process.stdout.readline()


class Grader:
    """Grades completions in `workers` processes, each answer within `timeout_s` seconds of work.

    The final answer is what `find_answer` finds, or the first group of `answer_pattern` where it last matches; it is
    compared with the gold answer, or else `verifier` judges the whole completion. Both of the user's run in the
    processes. These start with the first answer that needs one. Safe to share between threads; close it after use.

    Args:
        strict: take only what a completion commits itself to, and what is worked out (docs/verifier.md).
        verifier: a function `(completion, gold answer) -> Verdict`, as `package.module:function`; None: our own.
    """

    def __init__(
        self,
        workers: int = 1,
        timeout_s: float = 5.0,
        answer_pattern: str | None = None,
        verifier: str | None = None,
        strict: bool = False,
    ) -> None:
        self._strict = strict
        self._finds_here = answer_pattern is None and verifier is None
        self._sent: Callable[[str], str] = str if verifier else last_stretch
        self._idle: queue.Queue[_Worker] = queue.Queue()
        asked = {"verifier": verifier, "answer_pattern": answer_pattern, "strict": strict}
        self._workers = [_Worker(timeout_s, asked) for _ in range(workers)]
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="grader")
        self._lock = threading.Lock()
        self._verdicts: OrderedDict[tuple[bytes, str, Way | None], Future[Verdict]] = OrderedDict()

    def grade(self, completion: str, answer: str) -> Verdict:
        """Grade one completion against the gold answer, which may be bare, in `$...$` or in `\\boxed{}`."""
        return self.start(completion, answer).result()

    def grade_many(self, pairs: Iterable[tuple[str, str]]) -> list[Verdict]:
        """Verdicts of (completion, answer) pairs, in their order; equal pairs are graded once."""
        verdicts = [self.start(completion, answer) for completion, answer in pairs]
        return [verdict.result() for verdict in verdicts]

    def start(self, completion: str, answer: str) -> Future[Verdict]:
        """Begin to grade without waiting. Completions that end in the same answer share one verdict.

        An answer that could not be graded is forgotten, so that it is tried again when it is next asked for; but one
        that ran out of time is remembered.
        """
        if not self._finds_here:
            return self._remembered(_writable(self._sent(completion)), answer, None)
        found = find_answer(completion, answer, self._strict)
        decided = unread(found, answer)
        if decided is not None:
            return _decided(decided)
        assert found is not None
        text = _writable(found.text)
        decided = _integers(Found(text, found.way), answer)
        return self._remembered(text, answer, found.way) if decided is None else _decided(decided)

    def _remembered(self, text: str, answer: str, way: Way | None) -> Future[Verdict]:
        key = (hashlib.sha256(text.encode()).digest(), answer, way)
        with self._lock:
            known = self._verdicts.get(key)
            if known is not None and not _failed(known):
                self._verdicts.move_to_end(key)
                return known
            verdict = self._threads.submit(self._judge, text, answer, way)
            self._verdicts[key] = verdict
            if len(self._verdicts) > _REMEMBERED:
                self._verdicts.popitem(last=False)
            return verdict

    def _judge(self, text: str, answer: str, way: Way | None) -> Verdict:
        worker = self._idle.get()
        try:
            return worker.judge(text, answer, way)
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
    if not verdict.done():
        return False
    if verdict.exception() is not None:
        return True
    return verdict.result().outcome is Outcome.UNGRADED and not verdict.result().reason.startswith(_TIME_OUT)


def _writable(text: str) -> str:
    """Without lone surrogates, which no file and no pipe takes."""
    return text.encode(errors="replace").decode()


def _kill(process: subprocess.Popen[str]) -> None:
    """With all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _decided(verdict: Verdict) -> Future[Verdict]:
    future: Future[Verdict] = Future()
    future.set_result(verdict)
    return future


def _integers(found: Found, answer: str) -> Verdict | None:
    """The verdict where it needs no algebra: an integer against an integer. Else None."""
    if not (_INTEGER.fullmatch(found.text) and _INTEGER.fullmatch(answer)):
        return None
    if int(found.text) == int(answer):
        return Verdict(Outcome.CORRECT, found.text, "equal", found.way)
    return Verdict(Outcome.WRONG, found.text, "not equal", found.way)


@cache
def default_grader(answer_pattern: str | None = None, strict: bool = False) -> Grader:
    """The grader of this process; another one for each pattern and mode."""
    # Ray and torchrun say so how many cores are a process's own: those of a training share the machine.
    workers = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    return Grader(workers, answer_pattern=answer_pattern, strict=strict)


def grade(completion: str, answer: str, strict: bool = False) -> Verdict:
    """Grade one completion: CORRECT, WRONG, or UNGRADED where that is the gold answer's fault or the grader's.

    Args:
        strict: take only what a completion commits itself to (docs/verifier.md).
    """
    return default_grader(strict=strict).grade(completion, answer)
