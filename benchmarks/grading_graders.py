"""The graders that are compared: ours in each of its modes, bare math-verify, and graders that RL trains with.

**Bare math-verify** is what its README shows: `verify(parse(gold), parse(completion))` with default settings on a main
thread. Gold answers that carry no delimiters go into `$...$`, since `parse` looks for those.

**verl's graders** are used as verl calls them, in a process of their own, where verl's older packages are found first:
`math_reward` (the last box, compared as a normalised string, as lm-evaluation-harness does for MATH), `prime_math`
(PRM800K's grader, then Qwen2.5-Math's `math_equal`) and `math_dapo` (`Answer: ...`, or the box as it is written).
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from lens_core.verify import Grader, Outcome

Pair = tuple[str, str]
"""Completion, gold answer."""
WORKERS = 2
VERL = Path(os.environ.get("LENS_VERL", Path(sys.prefix) / "verl"))


class Mode(NamedTuple):
    """One of our grader's modes."""

    name: str
    arguments: Mapping[str, Any]
    """Of `Grader`, beyond those that every mode has."""
    reads_prose: bool
    """Whether it looks for answers beyond boxes, `####` and answer tags."""


MODES = (
    Mode("ours, strict", {"strict": True}, reads_prose=False),
    Mode("ours, lenient", {"strict": False}, reads_prose=True),
)
"""The one place that knows which modes there are, and how a grader is asked for them."""


class Judged(NamedTuple):
    """What a grader says of a sequence of pairs."""

    outcomes: list[Outcome]
    process_s: float
    """Seconds of one process: wall time times the number of processes that shared the work."""


def ours(mode: Mode, pairs: Sequence[Pair], timeout_s: float = 20.0) -> Judged:
    with Grader(workers=WORKERS, timeout_s=timeout_s, **mode.arguments) as grader:
        warm(grader)
        start = time.perf_counter()
        outcomes = [verdict.outcome for verdict in grader.grade_many(pairs)]
        return Judged(outcomes, (time.perf_counter() - start) * WORKERS)


def warm(grader: Grader) -> None:
    """Have all processes started; none has seen a gold answer of a measurement."""
    for verdict in [grader.start(f"\\boxed{{x^{power}}}", f"x^{power} + 1") for power in range(2, 2 + WORKERS)]:
        verdict.result()


def bare_math_verify(pair: Pair) -> bool:
    """Whether math-verify with default settings calls (completion, gold) right."""
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    completion, gold = pair
    gold = gold if "$" in gold or "\\boxed" in gold or "\\(" in gold or "\\[" in gold else f"${gold}$"
    return bool(verify(parse(gold), parse(completion)))


def math_verify(pairs: Sequence[Pair], pool: ProcessPoolExecutor) -> Judged:
    list(pool.map(bare_math_verify, [("$x$", "$x$")] * WORKERS * 2))
    start = time.perf_counter()
    accepted = list(pool.map(bare_math_verify, pairs, chunksize=8))
    return Judged(outcomes_of(accepted), (time.perf_counter() - start) * WORKERS)


def verl(pairs: Sequence[Pair]) -> dict[str, Judged]:
    """verl's graders by name: none where verl is not installed, which is said."""
    if not VERL.is_dir():
        print(f"without verl's graders: no folder {VERL}; run `make test`, or set LENS_VERL")
        return {}
    root = Path(__file__).resolve().parents[1]
    paths = os.pathsep.join([str(VERL), str(root), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "VERL_USE_EXTERNAL_PLUGINS": "none"}
    command = [sys.executable, "-m", "benchmarks.grading_verl"]
    result = subprocess.run(
        command, input=json.dumps(pairs), env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    said = json.loads(result.stdout)
    return {f"verl's {name}": Judged(outcomes_of(each["accepted"]), each["process_s"]) for name, each in said.items()}


def outcomes_of(accepted: Sequence[bool]) -> list[Outcome]:
    return [Outcome.CORRECT if each else Outcome.WRONG for each in accepted]
