"""Collection of a run's problems from its sources: read, filter, recognise, sample, on disk.

Memory holds 24 bytes and an id for each problem, and the evaluation problems; problems themselves wait in a file.
"""

from __future__ import annotations

import json
import random
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from lens_core.config import DataConfig, SourceConfig
from lens_core.data.decontaminate import EvaluationSet, Overlap, identity, tokens
from lens_core.data.difficulty import read_pass_rates
from lens_core.data.layouts import LAYOUTS
from lens_core.data.problem import Problem
from lens_core.data.readers import BadRow, read_source, stop_at
from lens_core.data.spool import Spool
from lens_core.data.summary import Source
from lens_core.progress import Listener, Progress
from lens_core.verify import Outcome, grade
from lens_core.verify.gold import read_gold

CountTokens = Callable[[str], int]
"""Tokens of a question, as the base policy is asked."""
Role = Literal["train", "test", "against"]

GONE = -1
"""In place of a training problem that was removed: the others keep their places when they are shuffled."""
_READ_SHARE = 80
"""Of a hundred, what reading takes; the rest is writing."""
_TELL_EVERY = 1000
_CONFLICTS_SHOWN = 5


class Collection:
    """All that the sources of a configuration hold for a run. A context: what waits on disk goes with it."""

    def __init__(self, config: DataConfig, output: Path, count_tokens: CountTokens | None, tell: Listener) -> None:
        self._config, self._count_tokens, self._tell = config, count_tokens, tell
        self._stack = ExitStack()
        self.problems, self.removed, self.bad, self.unreadable = (
            self._stack.enter_context(Spool(output)) for _ in range(4)
        )
        self.evaluation = EvaluationSet(config.decontamination.near, config.decontamination.ngram)
        self.train, self.test = array("q"), array("q")
        self.sources: list[Source] = []
        self.left_out: Counter[str] = Counter()
        self.duplicates = self.conflicting = 0
        self.conflicts: list[str] = []
        self.overlaps: Counter[str] = Counter()
        self.first_bad: BadRow | None = None
        self._rates = None if config.pass_rate is None else read_pass_rates(config.pass_rate)

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self) -> None:
        """Read every source: evaluation problems first, since training problems are compared with them."""
        config = self._config
        order: list[tuple[Role, SourceConfig]] = [] if config.test is None else [("test", config.test)]
        order += [("against", source) for source in config.decontamination.against]
        order += [("train", source) for source in config.train]
        starts: dict[Role, array[int]] = {"train": self.train, "test": self.test, "against": array("q")}
        known = {role: _Known() for role in starts}
        for place, (role, source) in enumerate(order):
            reading = _Reading(self, source, config.skip_bad_rows, place, len(order))
            found = self._read(role, source, reading, known[role])
            starts[role].extend(found)
            if role != "train":
                self.evaluate_on(found)
            self.sources.append(_described(role, source, reading.rows, sum(start != GONE for start in found)))

    def evaluate_on(self, starts: Iterable[int]) -> None:
        """Training problems must not be any of these."""
        for problem in map(self.problem, starts):
            self.evaluation.add(problem, tokens(problem.prompt))

    def problem(self, start: int) -> Problem:
        """The problem that lies at `start`."""
        return Problem.model_validate_json(self.problems.read(start))

    def remove(self, problem: Problem, overlap: Overlap) -> None:
        """Write down that a training problem is an evaluation problem."""
        self.overlaps[overlap.kind] += 1
        line = {"problem": problem.id, "source": problem.source, "prompt": problem.prompt, "match": asdict(overlap)}
        self.removed.append(json.dumps(line, ensure_ascii=False).encode("utf-8"))

    def set_aside(self, bad: BadRow) -> None:
        """Write down a row that is no problem."""
        self.first_bad = bad if self.first_bad is None else self.first_bad
        self.bad.append(json.dumps(asdict(bad)).encode("utf-8"))

    def check_gold(self, problem: dict[str, Any]) -> None:
        """Write down a problem whose gold answer the built-in verifier cannot read."""
        fault = "" if "entry" in problem else read_gold(problem["answer"]).fault
        if fault:
            line = {"problem": problem["id"], "source": problem["source"], "answer": problem["answer"], "fault": fault}
            self.unreadable.append(json.dumps(line, ensure_ascii=False).encode("utf-8"))

    def tell(self, done: float, text: str) -> None:
        """Say how far it is, of a hundred."""
        self._tell(Progress("prepare", int(done), 100, text))

    def _read(self, role: Role, source: SourceConfig, reading: _Reading, known: _Known) -> array[int]:
        """Where the problems lie that `source` gives, in its order."""
        starts: array[int] = array("q")
        keys: list[bytes] = []
        for problem in read_source(source, reading, known.ids):
            words = tokens(problem.prompt)
            key = identity(words)
            if (reason := self._unfit(role, source, problem, key)) is not None:
                reading.left_out(reason)
            elif key in known.prompts:
                self.duplicates += role != "against"
                self._compare_answers(problem, known.prompts[key])
            else:
                starts.append(self._place(role, problem, words))
                known.prompts[key] = starts[-1]
                if source.limit is not None:
                    keys.append(key)
        if source.limit is None:
            return starts
        whole = [place for place, start in enumerate(starts) if start != GONE]
        chosen = whole
        if source.limit < len(whole):
            chosen = sorted(random.Random(source.seed).sample(whole, source.limit))
        for place in set(whole).difference(chosen):  # others may give them
            del known.prompts[keys[place]]
        return array("q", (starts[place] for place in chosen))

    def _compare_answers(self, problem: Problem, start: int) -> None:
        """Write down that a prompt came again with another answer."""
        first = None if start == GONE else self.problem(start)
        if first is None or first.answer == problem.answer:
            return
        if grade(f"\\boxed{{{problem.answer}}}", first.answer).outcome is Outcome.CORRECT:
            return  # written differently
        self.conflicting += 1
        if len(self.conflicts) < _CONFLICTS_SHOWN:
            self.conflicts.append(f"{first.id} ({first.answer}) and {problem.id} ({problem.answer})")

    def _unfit(self, role: Role, source: SourceConfig, problem: Problem, key: bytes) -> str | None:
        """Why a problem is not taken; evaluation problems are chosen by level alone."""
        config = self._config
        if source.levels is not None and problem.level not in source.levels:
            return "another level"
        if role != "train":
            return None
        if config.pass_rate is not None and self._rates is not None:
            rate = self._rates.get(key)
            if rate is None and config.pass_rate.unknown == "drop":
                return "no pass rate is known"
            if rate is not None and not config.pass_rate.low <= rate <= config.pass_rate.high:
                return "too easy" if rate > config.pass_rate.high else "too hard"
        most, count = config.max_prompt_tokens, self._count_tokens
        too_long = most is not None and count is not None and count(problem.prompt) > most
        return f"prompt of more than {most} tokens" if too_long else None

    def _place(self, role: Role, problem: Problem, words: list[str]) -> int:
        """Where the problem lies from now on."""
        overlap = self.evaluation.match(words) if role == "train" else None
        if overlap is not None:
            self.remove(problem, overlap)
            return GONE
        return self.problems.append(problem.model_dump_json(exclude_none=True).encode("utf-8"))


class _Known:
    """Of the problems of one role: ids and prompts that are taken."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.prompts: dict[bytes, int] = {}
        """Identity of a prompt -> where its problem lies; `GONE` of one that was removed."""


class _Reading:
    """Counts and tells what one source says while it is read."""

    def __init__(self, collection: Collection, source: SourceConfig, skip: bool, place: int, places: int) -> None:
        self._collection, self._skip, self._place, self._places = collection, skip, place, places
        self._name = source.kind if source.path is None else Path(source.path).name
        self.rows = 0

    def bad_row(self, bad: BadRow) -> None:
        if not self._skip:
            stop_at(bad)
        self._collection.set_aside(bad)

    def left_out(self, reason: str) -> None:
        self._collection.left_out[reason] += 1

    def at(self, share: float) -> None:
        self.rows += 1
        if self.rows % _TELL_EVERY == 0 or share == 1:
            done = _READ_SHARE * (self._place + share) / self._places
            self._collection.tell(done, f"{self.rows:,} rows of {self._name}")


def _described(role: Role, source: SourceConfig, rows: int, taken: int) -> Source:
    licence = source.licence
    if licence is None:
        own = "Apache-2.0" if source.path is None else "not named"
        licence = LAYOUTS[source.kind].licence if source.kind in LAYOUTS else own
    return Source(
        role=role,
        kind=source.kind,
        path=source.path,
        licence=licence,
        rows=taken if source.path is None else rows,
        taken=taken,
        asked=source.limit,
    )
