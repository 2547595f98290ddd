"""One training step on the demo's policy: stock TRL, our trainer as GRPO, our trainer as LENS.

    python -m benchmarks.step

All three take the same steps: same policy, prompts, seeds, reward function and, since the learning rate is 0, the same
completions (8 prompts x 16 answers, at most 64 new tokens). They take turns; each ratio is the median over rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from transformers.utils.logging import disable_progress_bar
from trl import GRPOTrainer

from lens_core.config import load_config
from lens_core.data.ladder import ladder
from lens_core.objective import LensConfig
from lens_core.rollout.engine import format_prompt, load_policy
from lens_core.stages import SHIPPED_BASE
from lens_core.training.run import grpo_config
from lens_core.training.trainer import LensTrainer
from lens_core.verify.reward import math_reward

VARIANTS: dict[str, dict[str, Any]] = {
    "TRL GRPOTrainer": {},
    "LensTrainer, GRPO": {"lens": LensConfig(variant="off")},
    "LensTrainer, LENS": {"lens": LensConfig()},
}


class StepTimes(TrainerCallback):
    """Wall seconds of each step, generation and grading included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._start = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._start = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.perf_counter() - self._start)


def step_seconds(variant: str, dataset: Dataset, steps: int, folder: Path) -> float:
    """Median seconds of a step; the first, which warms up, is left out."""
    with resources.as_file(resources.files("lens_core.training") / SHIPPED_BASE) as base:
        model, tokenizer = load_policy(base)
    config = grpo_config(load_config("demo", [f"train.steps={steps + 1}", "train.warmup_steps=0"]).train, folder)
    config.learning_rate = 0.0
    times = StepTimes()
    trainer = (LensTrainer if VARIANTS[variant] else GRPOTrainer)(
        model,
        reward_funcs=math_reward,
        args=config,
        train_dataset=dataset,
        processing_class=tokenizer,
        callbacks=[times],
        **VARIANTS[variant],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return statistics.median(times.seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=8, help="timed steps of each variant in a round")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 3 steps")
    arguments = parser.parse_args()
    rounds, steps = (3, 3) if arguments.quick else (arguments.rounds, arguments.steps)
    disable_progress_bar()
    problems = ladder(40, seed=1)
    tokenizer = load_policy(str(resources.files("lens_core.training") / SHIPPED_BASE))[1]
    dataset = Dataset.from_list([{"prompt": format_prompt(p.prompt, tokenizer), "answer": p.answer} for p in problems])
    seconds: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            order = list(VARIANTS)
            for variant in order[turn % 3 :] + order[: turn % 3]:  # nobody is always first
                seconds[variant].append(step_seconds(variant, dataset, steps, Path(folder)))
    stock, grpo, lens = seconds.values()
    ratios = {
        "lens_trainer_over_trl": statistics.median(a / b for a, b in zip(grpo, stock, strict=True)),
        "lens_over_grpo": statistics.median(a / b for a, b in zip(lens, grpo, strict=True)),
    }
    print(f"\n{date.today()}, {platform.machine()}, {os.cpu_count()} cores; {rounds} rounds of {steps} steps\n")
    print("| trainer | seconds a step, median (lowest to highest round) |\n|---|---|")
    for variant, values in seconds.items():
        print(f"| {variant} | {statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f}) |")
    print(json.dumps({name: round(ratio, 4) for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()
