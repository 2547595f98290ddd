"""Pages of results as the package writes them, from small records: a run, a study, a sweep, samples, a data card."""

import json
import math
import random
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lens_core.config import DataConfig, SourceConfig
from lens_core.data.prepare import prepare
from lens_core.evaluation.by_problem import compare_results
from lens_core.evaluation.by_seed import mean_over_seeds, paired_differences
from lens_core.evaluation.records import Completion, PassKReport, ProblemResult
from lens_core.evaluation.summary import summarise
from lens_core.report.comparison import render_comparison
from lens_core.report.data_card import render_card
from lens_core.report.run import render_report
from lens_core.report.study import render_study
from lens_core.report.sweep import render_sweep
from lens_core.report.viewer import render_viewer

METHODS = ("base", "grpo", "lens")
LONG = "We factor $x^{2}-5x+6=(x-2)(x-3)$, so that " + "both roots are positive, and " * 40 + "\\boxed{5}"
UNBROKEN = "9" * 300


def results(seed: int) -> list[ProblemResult]:
    """20 problems on five levels, four answers to each: long ones, unbroken ones, markup, and one that is ungraded."""
    draw = random.Random(seed)

    def completion(number: int) -> Completion:
        outcome = "ungraded" if number == 7 else draw.choice(("correct", "wrong"))
        text = {0: LONG, 1: UNBROKEN, 2: "<b>x</b> & \\boxed{y}"}.get(number, f"\\boxed{{{number}}}")
        confidence = draw.uniform(0.3, 1.0)
        logprobs = tuple(round(math.log(draw.uniform(0.1, 1.0)), 3) for _ in text)
        return Completion.model_validate(
            {"text": text, "outcome": outcome, "reason": "equal" if outcome == "correct" else "not equal"}
            | {"extracted": "5", "confidence": confidence, "tokens": len(text), "truncated": number == 1}
            | {"token_logprobs": logprobs, "token_lengths": (1,) * len(text)}
        )

    return [
        ProblemResult(
            problem=f"ladder-{number % 5 + 1}-{number}",
            prompt=LONG if number == 12 else f"Compute {number} + {number}.",
            answer=str(2 * number),
            level=number % 5 + 1,
            subject=("Algebra", "Geometry")[number % 2],
            source="ladder",
            completions=tuple(completion(4 * number + each) for each in range(4)),
        )
        for number in range(20)
    ]


def evaluations() -> dict[str, tuple[PassKReport, list[ProblemResult]]]:
    found = {method: results(seed) for seed, method in enumerate(METHODS)}
    return {method: (summarise(method, "d" * 64, of, 4, (1, 2, 4)), of) for method, of in found.items()}


def history(seed: int, steps: int = 40) -> list[dict[str, float]]:
    """What a training logs, made of smooth curves and noise."""
    draw = random.Random(seed)

    def noisy(value: float) -> float:
        return min(1.0, max(0.0, value + draw.gauss(0, 0.04)))

    return [
        {
            "step": step,
            "reward": noisy(0.3 + 0.4 * step / steps),
            "lens/groups/negative": noisy(0.4 - 0.3 * step / steps),
            "lens/tokens/rescued": noisy(0.35 - 0.25 * step / steps) if seed else 0.0,
            "lens/advantage_rms/negative": 0.002 if seed else 0.0,
            "lens/advantage_rms/mixed": noisy(0.95),
            "lens/tokens/generated": 1000.0 * step,
            "lens/confidence/right": noisy(0.8),
            "lens/confidence/wrong": noisy(0.6),
            "lens/entropy": noisy(0.5 - 0.3 * step / steps),
            "completions/mean_length": 30 + draw.random(),
        }
        for step in range(1, steps + 1)
    ]


def run_page(folder: Path) -> Path:
    found = evaluations()
    return render_report(
        "LENS run demo-0a1b2c3d",
        "grpo and lens trained from ladder-base on 1,980 problems; every policy then answered the same 20 problems.",
        {"Base policy": "ladder-base", "Test data SHA-256": "d" * 64, "Training": "40 steps of 8 prompts x 16 answers"},
        [report for report, _ in found.values()],
        {method: history(seed) for seed, method in enumerate(METHODS[1:])},
        {method: of[::4] for method, (_, of) in found.items()},
        folder / "report.html",
        [
            compare_results(found[one], found[other])
            for one, other in (("grpo", "lens"), ("base", "grpo"), ("base", "lens"))
        ],
    )


def study_page(folder: Path) -> Path:
    seeds = list(range(6))
    shift = {"grpo": 0.0, "lens": 0.02, "lens-alpha-4": 0.05}
    draw = random.Random(0)
    luck = [draw.gauss(0, 0.01) for _ in seeds]

    def summary(start: float) -> dict[str, Any]:
        noise = {method: [draw.gauss(0, 0.005) for _ in seeds] for method in shift}
        values = {m: {s: start + shift[m] + luck[s] + noise[m][s] for s in seeds} for m in shift}
        differences = paired_differences(values, "grpo")
        return {
            method: {"mean": asdict(mean_over_seeds(list(of.values())))}
            | ({"difference": asdict(differences[method])} if method in differences else {})
            for method, of in values.items()
        }

    tokens = {"generated": 40000.0, "to_reach": None, "reached_by": 0, "in_negative_groups": 0.2}
    study: Mapping[str, Any] = {
        "name": "ladder-quick",
        "reference": "grpo",
        "seeds": seeds,
        "problems": 250,
        "pass_at_k": {"1": summary(0.4), "8": summary(0.7)},
        "levels": {str(level): summary(0.9 - 0.15 * level) for level in range(1, 6)},
        "tokens": dict.fromkeys(shift, tokens),
        "token_target": 0.68,
        "sensitivity": {"alpha": {"lens": 0.25, "lens-alpha-4": 4.0}},
        "failed": {"grpo-s7": "steps 4 to 8 had no finite loss: " + UNBROKEN},
    }
    histories = {method: {seed: history(seed) for seed in seeds} for method in shift}
    facts = {"Base policy": "ladder-base", "Method lens-alpha-4": "lens, alpha 4"}
    return render_study(study, histories, facts, folder / "report.html")


def sweep_page(folder: Path) -> Path:
    """Twelve trials over eight values, as of the recipe ladder-sweep."""
    draw = random.Random(0)

    def trial(number: int) -> dict[str, Any]:
        status = ("finished", "finished", "pruned", "failed")[number % 4]
        values = {f"methods.lens.{name}": 10 ** draw.uniform(-2, 1) for name in ("alpha", "scale", "negative_scale")}
        values |= {"methods.lens.margin": draw.uniform(1, 4), "train.learning_rate": draw.uniform(2e-5, 7e-5)}
        choices = {
            "methods.lens.variant": draw.choice(("full", "mixed_only", "negative_only")),
            "methods.lens.difficulty_from": draw.choice(("confidence", "sequence")),
            "methods.lens.negative_normalisation": draw.choice(("mean", "mean_std")),
        }
        steps = 10 if status == "pruned" else 40
        past = [
            {"step": step, "tokens": 4000.0 * step, "reward": 0.5, "pass_at_k": 0.5 + draw.gauss(0, 0.03)}
            for step in range(10, steps + 1, 10)
        ]
        failed = status == "failed"
        return {
            "id": f"{draw.getrandbits(32):08x}",
            "values": values | choices,
            "status": status,
            "history": [] if failed else past,
            "value": None if failed else past[-1]["pass_at_k"],
            "folder": "trials",
            "error": "the grader ran out of memory" if failed else None,
        }

    trials = [trial(number) for number in range(12)]
    best = max((each for each in trials if each["status"] == "finished"), key=lambda each: each["value"])
    sweep = {"name": "ladder-sweep", "target": "Pass@1", "method": "lens", "best": best["id"], "trials": trials}
    return render_sweep(sweep, f"name: ladder-sweep\nbase: {UNBROKEN}\n", folder / "report.html")


def samples_page(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return render_viewer(*evaluations()["lens"], folder / "viewer.html")


def data_page(folder: Path) -> Path:
    """A file with levels, subjects, long prompts and doubles, of which some are evaluation problems."""
    folder.mkdir(parents=True)
    draw = random.Random(0)
    numbers = [[draw.randrange(10**6) for _ in range(4 + 2 * row)] for row in range(30)]
    rows = [
        {"problem": f"Add {each}.", "answer": "1", "level": row % 5 + 1, "type": ("Algebra", "Geometry")[row % 2]}
        for row, each in enumerate(numbers)
    ]
    for name, part in (("train", [*rows, rows[3]]), ("test", rows[:10])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    train, test = (SourceConfig(kind="math", path=str(folder / f"{name}.jsonl")) for name in ("train", "test"))
    prepare(DataConfig(train=train, test=test), folder / "data")
    return render_card(folder / "data", "Data of demo-0a1b2c3d")


def comparison_page(folder: Path) -> Path:
    found = evaluations()
    return render_comparison(compare_results(found["grpo"], found["lens"], {}), folder / "report.html")


PAGES = {
    "run": run_page,
    "study": study_page,
    "sweep": sweep_page,
    "samples": samples_page,
    "data": data_page,
    "comparison": comparison_page,
}
