"""Our verifier against bare math-verify and the graders of RL frameworks: labelled answers, attacks, and speed.

    python -m benchmarks.grading            all tables, about ten minutes on two cores
    python -m benchmarks.grading --quick    fewer repetitions and edits
    python -m benchmarks.grading --parts mended adversarial attack    without the pairs that are kept out

**Pairs that rules were mended on** (`mended`): what they say of other answers is little. **Pairs kept out of all
tuning** (`kept-out`, grading_data/README.md): to be looked at when work on the rules is over, and never mended on; a
pair that was is moved to the others. The two are never added up. A *false accept* is an incorrect answer that is
accepted, a *false reject* a correct one that is not. A grader that reads no prose must reject what only prose says.

**Adversarial kinds** (`adversarial`): completions that are incorrect by construction, for gold answers of 12 kinds; of
each kind of edit how many are accepted. Kinds with a star are rejected by rule and not by mathematics; they are not in
the sums. Too large answers are for ours alone: other graders may work on them for ever. **The attack** (`attack`): a
bandit searches for an edit that is accepted (grading_attack.py); those that it finds are printed.

**Speed** (`speed`): 512 completions, 16 for each of 32 problems, in the order in which a training grades them. They are
worked solutions of a few hundred characters that end in a box; of 16 answers to a problem 3 to 6 differ, as those of a
policy do, and every text differs. Both use two processes: math-verify a pool of workers that have imported it, ours its
own grader. Runs alternate, each of ours with an empty memory of verdicts, on warm processes; `speedup_vs_math_verify`
is the geometric mean of the ratios of pairs, with its 95 % interval.

Intervals of rates are Clopper and Pearson's. Times per pair are those of one process, first sight of each pair.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial

from benchmarks import grading_attack, grading_cases, grading_graders
from benchmarks.grading_attack import CONTENTS, ENDLESS, GOLDS, Edit, Seen
from benchmarks.grading_cases import Case
from benchmarks.grading_graders import MODES, WORKERS, Judged, Pair, bare_math_verify, warm
from benchmarks.grading_tables import Rate, print_by_category, print_counts, print_tallies, tally
from benchmarks.pairs import Ratio, figures_of, ratio
from lens_core.verify import Grader, Outcome

PARTS = ("mended", "kept-out", "adversarial", "attack", "speed")
ATTACK_TIMEOUT_S = 5.0

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


def judged_by_all(pairs: Sequence[Pair], pool: ProcessPoolExecutor) -> dict[str, Judged]:
    """What every grader says of the pairs, ours first."""
    found = {mode.name: grading_graders.ours(mode, pairs) for mode in MODES}
    found["math-verify"] = grading_graders.math_verify(pairs, pool)
    return found | grading_graders.verl(pairs)


def agreement(title: str, cases: Sequence[Case], pool: ProcessPoolExecutor) -> dict[str, float]:
    """Print the tables of labelled cases; our figures."""
    judged = judged_by_all([(case.completion, case.gold) for case in cases], pool)
    reads_prose = dict.fromkeys(judged, True) | {mode.name: mode.reads_prose for mode in MODES}
    tallies = {name: tally(cases, each.outcomes, reads_prose[name]) for name, each in judged.items()}
    print_tallies(
        f"{title}: {len(cases)} pairs",
        tallies,
        {name: 1000 * each.process_s / len(cases) for name, each in judged.items()},
    )
    wrong = {
        name: [
            tally([case], [outcome], reads_prose[name]).wrong.hits > 0
            for case, outcome in zip(cases, each.outcomes, strict=True)
        ]
        for name, each in judged.items()
    }
    print_by_category(cases, wrong)
    return {
        f"{mode.name}: {figure}": value
        for mode in MODES
        for figure, value in (
            ("wrong_share", tallies[mode.name].wrong.hits / len(cases)),
            ("false_accepts", tallies[mode.name].false_accepts.hits),
        )
    }


def adversarial(each: int, pool: ProcessPoolExecutor) -> dict[str, float]:
    """Print accept rates by kind of edit; the sums of ours."""
    kinds = grading_attack.variants(each=each)
    edits = [one for made in kinds.values() for one in made]
    endless = [_pair(one) for one in edits if one.is_endless]
    pairs = [_pair(one) for one in edits if not one.is_endless]
    said = {name: dict(zip(pairs, judged.outcomes, strict=True)) for name, judged in judged_by_all(pairs, pool).items()}
    for mode in MODES:
        said[mode.name] |= dict(zip(endless, grading_graders.ours(mode, endless).outcomes, strict=True))
    rows = []
    for kind, made in kinds.items():
        star = " *" if any(one.is_strict for one in made) else ""
        rows.append([kind + star, str(len(made)), *(_accepted(made, outcomes) for outcomes in said.values())])
    counted = [one for one in edits if not one.is_strict and not one.is_endless]
    sums = {
        name: Rate(sum(outcomes[_pair(one)] is Outcome.CORRECT for one in counted), len(counted))
        for name, outcomes in said.items()
    }
    ungraded = [str(sum(each is Outcome.UNGRADED for each in outcomes.values())) for outcomes in said.values()]
    rows.append(["all that all judged, without a star", str(len(counted)), *map(str, sums.values())])
    rows.append(["ungraded, of all", str(len(edits)), *ungraded])
    print_counts("Accepted adversarial completions, by kind", ["kind", "completions", *said], rows)
    return {f"{mode.name}: adversarial_accepts": sums[mode.name].hits for mode in MODES}


def _pair(one: Edit) -> Pair:
    return one.completion, one.gold


def _accepted(made: Sequence[Edit], outcomes: Mapping[Pair, Outcome]) -> str:
    """How many of a kind's completions are accepted; a dash where the grader was not asked."""
    if not all(_pair(one) in outcomes for one in made):
        return "-"
    return str(sum(outcomes[_pair(one)] is Outcome.CORRECT for one in made))


def attack(edits: int, seed: int, pool: ProcessPoolExecutor) -> dict[str, float]:
    """Print what the bandit found against each mode of ours, and against math-verify; how much against ours."""
    rows, figures = [], {}
    for mode in MODES:
        with Grader(workers=WORKERS, timeout_s=ATTACK_TIMEOUT_S, **mode.arguments) as grader:
            warm(grader)
            judge = partial(_seen_by_ours, grader)
            found, ungraded = _attacked(judge, edits, seed, not mode.reads_prose, list(CONTENTS))
        rows.append([mode.name, str(Rate(len(found), edits)), str(ungraded)])
        figures[f"{mode.name}: attack_accepts"] = float(len(found))
        for one in found:
            print(
                json.dumps({"gold": one.gold, "completion": one.completion, "kinds": _kinds(one)}, ensure_ascii=False)
            )
    judge = partial(_seen_by_math_verify, pool)
    found, _ = _attacked(judge, edits, seed, False, [name for name in CONTENTS if name not in ENDLESS])
    rows.append(["math-verify", str(Rate(len(found), edits)), ""])
    print_counts(f"The attack: accepted of {edits:,} edits, seed {seed}", ["grader", "accepted", "ungraded"], rows)
    return figures


def _attacked(
    judge: grading_attack.Judge, edits: int, seed: int, strict: bool, contents: Sequence[str]
) -> tuple[list[Edit], int]:
    """The edits that are accepted, and how many are not graded."""
    found, ungraded = [], 0
    for place, gold in enumerate(GOLDS):
        share = edits // len(GOLDS) + (place < edits % len(GOLDS))
        for one, seen in grading_attack.search(gold, judge, share, seed, strict, contents):
            ungraded += seen.outcome is Outcome.UNGRADED
            if seen.outcome is Outcome.CORRECT:
                found.append(one)
    return found, ungraded


def _seen_by_ours(grader: Grader, pairs: Sequence[Pair]) -> list[Seen]:
    return [Seen(verdict.outcome, verdict.extracted) for verdict in grader.grade_many(pairs)]


def _seen_by_math_verify(pool: ProcessPoolExecutor, pairs: Sequence[Pair]) -> list[Seen]:
    accepted = list(pool.map(bare_math_verify, pairs, chunksize=5))
    return [Seen(outcome, None) for outcome in grading_graders.outcomes_of(accepted)]


def _kinds(one: Edit) -> str:
    return " / ".join((one.content, one.frame, one.decoration))


def rollouts(problems: int, group_size: int, seed: int = 0) -> list[Pair]:
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


def speed(pairs: Sequence[Pair], repetitions: int, pool: ProcessPoolExecutor) -> Ratio:
    """Print both times; their ratio."""
    theirs: list[float] = []
    ours: list[float] = []
    for repetition in range(repetitions):
        runs = [_time_math_verify, _time_ours] if repetition % 2 == 0 else [_time_ours, _time_math_verify]
        for run in runs:
            seconds = run(pairs, pool)
            (ours if run is _time_ours else theirs).append(seconds)
    faster = ratio(zip(theirs, ours, strict=True))
    distinct = len({(completion[completion.rindex("\\boxed") :], gold) for completion, gold in pairs})
    print(
        f"{len(pairs)} completions of {len(pairs) // 16} problems, {distinct} distinct answers, {WORKERS} processes, "
        f"medians of {repetitions} pairs of runs: math-verify {statistics.median(theirs):.2f} s, "
        f"ours {statistics.median(ours):.2f} s; times as fast: {faster}"
    )
    return faster


def _time_math_verify(pairs: Sequence[Pair], pool: ProcessPoolExecutor) -> float:
    start = time.perf_counter()
    list(pool.map(bare_math_verify, pairs, chunksize=4))
    return time.perf_counter() - start


def _time_ours(pairs: Sequence[Pair], pool: ProcessPoolExecutor) -> float:
    with Grader(workers=WORKERS, **MODES[0].arguments) as grader:
        warm(grader)
        start = time.perf_counter()
        grader.grade_many(pairs)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="which tables; all if not given")
    parser.add_argument("--repetitions", type=int, default=9, help="pairs of timed runs")
    parser.add_argument("--edits", type=int, default=10_000, help="of the attack")
    parser.add_argument("--seed", type=int, default=0, help="of the attack")
    parser.add_argument("--quick", action="store_true", help="3 pairs of timed runs, 1,000 edits")
    arguments = parser.parse_args()
    repetitions, edits = (3, 1000) if arguments.quick else (arguments.repetitions, arguments.edits)
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores")
    figures: dict[str, float] = {}
    with ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(bare_math_verify, [("$x$", "$x$")] * WORKERS * 2))
        if "mended" in arguments.parts:
            found = agreement("Pairs that rules were mended on", grading_cases.mended(), pool)
            figures |= {f"mended, {name}": value for name, value in found.items()}
        if "kept-out" in arguments.parts:
            found = agreement("Pairs kept out of all tuning", grading_cases.kept_out(), pool)
            figures |= {f"kept out, {name}": value for name, value in found.items()}
        if "adversarial" in arguments.parts:
            figures |= adversarial(each=2, pool=pool)
        if "attack" in arguments.parts:
            figures |= attack(edits, arguments.seed, pool)
        if "speed" in arguments.parts:
            figures |= figures_of({"speedup_vs_math_verify": speed(rollouts(32, 16), repetitions, pool)})
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
