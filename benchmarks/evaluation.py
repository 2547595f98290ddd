"""Completions a second of an evaluation, side by side with lm-evaluation-harness on the same model and engine.

    python -m benchmarks.evaluation            the table, a few minutes on two cores
    python -m benchmarks.evaluation --quick    fewer problems and pairs, under a minute

Both sample with transformers from the shipped base policy, at temperature 1 without filters: the same prompts, as many
answers to each, as many new tokens at most, as many answers in a batch. lm-evaluation-harness does what its tasks with
`repeats` do: HFLM.generate_until on every prompt n times. Ours is the whole evaluation: sample, grade, and write
rollouts.jsonl with the confidence in every token. They take turns in one process; the ratio is the geometric mean over
pairs, with its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from benchmarks.pairs import figures_of, ratio
from lens_core.config import SHIPPED_BASE, EvaluationConfig
from lens_core.data.ladder import LEVELS, ladder
from lens_core.data.problem import Problem
from lens_core.evaluation.evaluate import evaluate_engine
from lens_core.evaluation.folder import append
from lens_core.rollout.engine import TransformersEngine, format_prompt, load_policy

N, MAX_NEW_TOKENS, BATCH = 16, 64, 256
PAIRS, PER_LEVEL = 9, 20
QUICK_PAIRS, QUICK_PER_LEVEL = 3, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PAIRS} pairs of {5 * QUICK_PER_LEVEL} problems")
    arguments = parser.parse_args()
    try:
        import lm_eval
    except ImportError:
        print("lm-evaluation-harness is not installed: `make lm-eval` installs it", file=sys.stderr)
        sys.exit(2)
    problems = ladder(QUICK_PER_LEVEL if arguments.quick else PER_LEVEL, 3, LEVELS)
    with resources.as_file(resources.files("lens_core.training") / SHIPPED_BASE) as base:
        model, tokenizer = load_policy(base)
    ours, theirs = our_evaluation(model, tokenizer, problems), harness(model, tokenizer, problems)
    ours(0), theirs(0)  # first calls pay for what later ones find ready
    seconds = [(timed(ours, seed), timed(theirs, seed)) for seed in range(QUICK_PAIRS if arguments.quick else PAIRS)]
    report(f"lm-evaluation-harness {lm_eval.__version__}", len(problems) * N, seconds)


def our_evaluation(model: Any, tokenizer: Any, problems: list[Problem]) -> Callable[[int], int]:
    """`evaluate(seed)` -> completions, as `lens evaluate` makes them."""
    engine = TransformersEngine(model, tokenizer)

    def evaluate(seed: int) -> int:
        config = EvaluationConfig(n=N, ks=(1,), max_new_tokens=MAX_NEW_TOKENS, batch_size=BATCH, seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            batches = append(Path(folder), evaluate_engine(problems, engine, config))
            return sum(len(result.completions) for batch in batches for result in batch)

    return evaluate


def harness(model: Any, tokenizer: Any, problems: list[Problem]) -> Callable[[int], int]:
    """The same of lm-evaluation-harness, without its grading."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=BATCH, max_length=model.config.max_position_embeddings)
    arguments = {
        "until": [],
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "max_gen_toks": MAX_NEW_TOKENS,
    }

    def generate(seed: int) -> int:
        torch.manual_seed(seed)
        requests = [
            Instance("generate_until", {}, (format_prompt(problem.prompt, tokenizer), arguments), index)
            for index, problem in enumerate(problems)
            for _ in range(N)
        ]
        return len(lm.generate_until(requests, disable_tqdm=True))

    return generate


def timed(evaluate: Callable[[int], int], seed: int) -> float:
    start = time.perf_counter()
    evaluate(seed)
    return time.perf_counter() - start


def report(harness_name: str, completions: int, seconds: list[tuple[float, float]]) -> None:
    """Print the table in Markdown, and its figure as one JSON object on the last line."""
    faster = ratio((theirs, ours) for ours, theirs in seconds)
    print(f"\n{date.today()}, {platform.machine()}, {os.cpu_count()} cores; {completions} completions of at most")
    print(f"{MAX_NEW_TOKENS} tokens, {N} to a problem, batches of {BATCH}; medians of {len(seconds)} pairs\n")
    print("| | completions/s | |\n|---|---|---|")
    for name, column, what in (("lens evaluate", 0, "sampled, graded, written"), (harness_name, 1, "sampled")):
        print(f"| {name} | {completions / statistics.median(pair[column] for pair in seconds):.0f} | {what} |")
    print(f"| ratio | {faster.mean:.2f} | {faster.low:.2f} to {faster.high:.2f}, 95 % interval |\n")
    figures = figures_of({"throughput_vs_lm_eval": faster})
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
