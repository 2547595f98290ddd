"""Our verifier against bare math-verify: agreement on labelled answers by category, and speed side by side.

    python -m benchmarks.grading            tables and figures, a few minutes on two cores
    python -m benchmarks.grading --quick    fewer repetitions, under a minute

**Bare math-verify** is what its README shows: `verify(parse(gold), parse(completion))` with default settings on a main
thread. Gold answers that carry no delimiters go into `$...$`, since `parse` looks for those; completions are the same
for both. An answer (not a response with text around it) is put into a box for both, as policies are told to do.

**Labelled answers**: ours (tests/unit/verify/pairs.jsonl), and, where the folder of real data is at hand
(LENS_SHARED_DATA), those of math-verify's own tests without the ones that are marked as suspect. A *false accept* is a
wrong answer called right, a *false reject* a right one not called right. `wrong_share` and `false_accepts` are those of
our verifier over all of them.

**Speed**: 512 completions, 16 for each of 32 problems, in the order in which a training grades them. They are worked
solutions of a few hundred characters that end in a box; of 16 answers to a problem 3 to 6 differ, as those of a policy
do, and every text differs. Both use two processes: math-verify a pool of workers that have imported it, ours its own
grader. Runs alternate, each of ours with an empty memory of verdicts, on warm processes; `speedup_vs_math_verify` is
the geometric mean of the ratios of pairs, with its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.pairs import Ratio, figures_of, ratio
from lens_core.verify import Grader, Outcome

ROOT = Path(__file__).resolve().parents[1]
PAIRS = ROOT / "tests" / "unit" / "verify" / "pairs.jsonl"
WORKERS = 2


class Case(NamedTuple):
    category: str
    gold: str
    completion: str
    expected: bool


# Gold answer, and other spellings of it; the wrong ones come from other problems' answers and from slips.
PROBLEMS = (
    ("\\frac{3}{4}", ("\\dfrac{3}{4}", "0.75", "3/4"), ("\\frac{4}{3}", "\\frac{3}{5}")),
    ("12", ("12",), ("13", "24", "6")),
    ("2\\sqrt{3}", ("2\\sqrt3", "\\sqrt{12}"), ("3\\sqrt{2}", "2\\sqrt{6}")),
    ("x^2 - 4", ("(x-2)(x+2)", "x^2-4"), ("x^2+4", "(x-2)^2")),
    ("(3, -2)", ("(3,-2)", "\\left(3, -2\\right)"), ("(-2,3)", "(3,2)")),
    ("[0, 5)", ("[0,5)", "\\left[0,5\\right)"), ("(0,5)", "[0,5]")),
    ("\\frac{\\pi}{6}", ("\\dfrac{\\pi}{6}", "\\frac{1}{6}\\pi"), ("\\frac{\\pi}{3}", "30")),
    ("1,250", ("1250", "1,250"), ("1200", "125")),
    ("50\\%", ("50\\%", "50"), ("25\\%", "5")),
    ("1, 2, 5", ("1,2,5", "5, 2, 1"), ("1,2", "1,2,4")),
    ("y = 2x + 1", ("y=2x+1", "2x - y + 1 = 0"), ("y=2x-1", "y=x+1")),
    (
        "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}",
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}",),
        ("\\begin{pmatrix}2\\\\1\\end{pmatrix}",),
    ),
    ("\\text{(C)}", ("C", "\\text{C}"), ("D", "B")),
    ("\\frac{n(n+1)}{2}", ("\\frac{n^2+n}{2}", "n(n+1)/2"), ("\\frac{n(n-1)}{2}", "n^2")),
    ("18\\text{ cm}", ("18", "18\\text{ cm}"), ("9", "36\\text{ cm}")),
    ("3 + 4i", ("3+4i", "4i+3"), ("3-4i", "5")),
)  # fmt: skip
_STEPS = (
    "Let $x$ be the quantity that we look for, and write down what the problem says about it.",
    "From the first condition we get $x + y = {a}$, and from the second $x - y = {b}$.",
    "Adding the two equations gives $2x = {c}$, so that $x = \\frac{{{c}}}{{2}}$.",
    "We check the boundary cases: for $n = {a}$ the expression equals ${b}$, which does not change the result.",
    "By the quadratic formula, \\[ x = \\frac{{-{a} \\pm \\sqrt{{{b}^2 - 4 \\cdot {c}}}}}{{2}}. \\]",
    "Substituting back, the left side is {a} * {b} = {c}, which agrees with the right side.",
    "Since both sides are positive, squaring keeps all solutions, and we can simplify.",
)


def labelled() -> list[Case]:
    """Our own pairs, and those of math-verify's tests where they are at hand."""
    rows = [json.loads(line) for line in PAIRS.open(encoding="utf-8")]
    cases = [Case(row["class"], row["gold"], row["completion"], row["expected"]) for row in rows]
    others = Path(os.environ.get("LENS_SHARED_DATA", ROOT.parent / "shared" / "data")) / "grading"
    path = others / "math_verify_cases.jsonl"
    if not path.exists():
        print("without the pairs of math-verify's tests: LENS_SHARED_DATA names no folder with grading/")
        return cases
    for row in map(json.loads, path.open(encoding="utf-8")):
        if not row.get("suspect"):
            is_answer = row["kind"] == "answer_pair"
            completion = f"\\boxed{{{row['prediction'].strip('$')}}}" if is_answer else row["prediction"]
            category = f"math-verify's tests: {'answers' if is_answer else 'responses'}"
            cases.append(Case(category, row["gold"], completion, row["expected"]))
    return cases


def bare_math_verify(pair: tuple[str, str]) -> bool:
    """Whether math-verify with default settings calls (completion, gold) right."""
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    completion, gold = pair
    gold = gold if "$" in gold or "\\boxed" in gold or "\\(" in gold or "\\[" in gold else f"${gold}$"
    return bool(verify(parse(gold), parse(completion)))


def agreement(cases: Sequence[Case], pool: ProcessPoolExecutor, grader: Grader) -> dict[str, float]:
    """Print the table; our verifier's share of wrong verdicts, and its false accepts."""
    bare = list(pool.map(bare_math_verify, [(case.completion, case.gold) for case in cases], chunksize=8))
    verdicts = grader.grade_many((case.completion, case.gold) for case in cases)
    ours = [verdict.outcome is Outcome.CORRECT for verdict in verdicts]
    counts: dict[str, list[int]] = defaultdict(lambda: [0] * 7)
    for case, theirs, own in zip(cases, bare, ours, strict=True):
        for category in (case.category, "all"):
            row = counts[category]
            row[0] += 1
            for offset, called_right in ((1, theirs), (4, own)):
                row[offset] += called_right == case.expected
                row[offset + 1] += called_right and not case.expected
                row[offset + 2] += case.expected and not called_right
    table = Table("category", "pairs", *(f"{who}: {what}" for who in ("math-verify", "ours") for what in _COLUMNS))
    for category in [*(name for name in counts if name != "all"), "all"]:
        table.add_row(category, *map(str, counts[category]))
    Console(width=150).print(table)
    total = counts["all"]
    ungraded = sum(verdict.outcome is Outcome.UNGRADED for verdict in verdicts)
    print(f"wrong: math-verify {1 - total[1] / total[0]:.1%}, ours {1 - total[4] / total[0]:.1%} ({ungraded} ungraded)")
    return {"wrong_share": 1 - total[4] / total[0], "false_accepts": total[5]}


_COLUMNS = ("right", "false accept", "false reject")


def rollouts(problems: int, group_size: int, seed: int = 0) -> list[tuple[str, str]]:
    """(completion, gold) pairs: worked solutions whose answers repeat within a group as a policy's do."""
    draw = random.Random(seed)
    pairs = []
    for problem in range(problems):
        gold, right, wrong = PROBLEMS[problem % len(PROBLEMS)]
        if problem >= len(PROBLEMS) and gold.isdigit():  # the second round has other numbers where that is easy
            gold, right, wrong = "35", ("35",), ("36", "70", "7")
        ability = draw.uniform(0.1, 0.9)
        for _ in range(group_size):
            answers = right if draw.random() < ability else wrong
            weights = [0.7**place for place in range(len(answers))]
            answer = draw.choices(answers, weights)[0]
            pairs.append((f"{_worked(draw)}\n\nTherefore, the answer is $\\boxed{{{answer}}}$.", gold))
    return pairs


def _worked(draw: random.Random) -> str:
    steps = draw.sample(_STEPS, draw.randint(3, len(_STEPS)))
    numbers = {name: draw.randint(2, 99) for name in "abc"}
    return "\n".join(f"{place}. {step.format(**numbers)}" for place, step in enumerate(steps, start=1))


def speed(pairs: Sequence[tuple[str, str]], repetitions: int, pool: ProcessPoolExecutor, grader: Grader) -> Ratio:
    """Print both times; their ratio."""
    theirs: list[float] = []
    ours: list[float] = []
    for repetition in range(repetitions):
        runs = [_time_math_verify, _time_ours] if repetition % 2 == 0 else [_time_ours, _time_math_verify]
        for run in runs:
            seconds = run(pairs, pool, grader)
            (ours if run is _time_ours else theirs).append(seconds)
    faster = ratio(zip(theirs, ours, strict=True))
    distinct = len({(completion[completion.rindex("\\boxed") :], gold) for completion, gold in pairs})
    print(
        f"{len(pairs)} completions of {len(pairs) // 16} problems, {distinct} distinct answers, {WORKERS} processes, "
        f"medians of {repetitions} pairs of runs: math-verify {statistics.median(theirs):.2f} s, "
        f"ours {statistics.median(ours):.2f} s; times as fast: {faster}"
    )
    return faster


def _time_math_verify(pairs: Sequence[tuple[str, str]], pool: ProcessPoolExecutor, grader: Grader) -> float:
    start = time.perf_counter()
    list(pool.map(bare_math_verify, pairs, chunksize=4))
    return time.perf_counter() - start


def _time_ours(pairs: Sequence[tuple[str, str]], pool: ProcessPoolExecutor, grader: Grader) -> float:
    with Grader(workers=WORKERS) as fresh:
        for verdict in [fresh.start(f"\\boxed{{x^{power}}}", f"x^{power} + 1") for power in (2, 3)]:
            verdict.result()  # both processes have started; neither has seen a gold answer
        start = time.perf_counter()
        fresh.grade_many(pairs)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=9, help="pairs of timed runs")
    parser.add_argument("--quick", action="store_true", help="3 of them")
    arguments = parser.parse_args()
    repetitions = 3 if arguments.quick else arguments.repetitions
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores")
    with ProcessPoolExecutor(WORKERS) as pool, Grader(workers=WORKERS, timeout_s=20) as grader:
        list(pool.map(bare_math_verify, [("$x$", "$x$")] * WORKERS * 2))
        figures = agreement(labelled(), pool, grader)
        figures |= figures_of({"speedup_vs_math_verify": speed(rollouts(32, 16), repetitions, pool, grader)})
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
