"""One training step on the demo's policy: stock TRL, our trainer as GRPO, our trainer as LENS.

    python -m benchmarks.step

All three take the same steps: same policy, prompts, seeds, reward function and, since the learning rate is 0, the same
completions (8 prompts x 16 answers, at most 64 new tokens). They take their steps in turn, and each ratio is the median
over pairs of equal steps, so that a machine that speeds up or slows down does so for all.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback, TrainerState
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


class Turns:
    """Lets trainers in several threads take their steps strictly in turn, and times each from its start to the next.

    Each step starts from a seed of its own, so that the step of one number samples the same completions in all.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._condition = threading.Condition()
        self._order = list(names)
        self._turn = names[0]
        self.seconds: dict[str, list[float]] = {name: [] for name in names}

    def of(self, name: str) -> TrainerCallback:
        return _Turn(self, name)

    def wait(self, name: str) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._turn == name)

    def give_up(self, name: str) -> None:
        with self._condition:
            self._turn = self._order[(self._order.index(name) + 1) % len(self._order)]
            self._condition.notify_all()


class _Turn(TrainerCallback):
    def __init__(self, turns: Turns, name: str) -> None:
        self._turns = turns
        self._name = name
        self._start: float | None = None

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._turns.wait(self._name)

    def on_step_begin(self, args: Any, state: TrainerState, *_: Any, **__: Any) -> None:
        self._end_step()
        if self._start is not None:
            self._turns.give_up(self._name)
            self._turns.wait(self._name)
        torch.manual_seed(state.global_step)
        self._start = time.perf_counter()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._end_step()
        self._turns.give_up(self._name)

    def _end_step(self) -> None:
        if self._start is not None:
            self._turns.seconds[self._name].append(time.perf_counter() - self._start)


def build(variant: str, dataset: Dataset, steps: int, turns: Turns, folder: Path) -> GRPOTrainer:
    with resources.as_file(resources.files("lens_core.training") / SHIPPED_BASE) as base:
        model, tokenizer = load_policy(base)
    config = grpo_config(load_config("demo", [f"train.steps={steps}", "train.warmup_steps=0"]).train, folder)
    config.learning_rate = 0.0
    trainer = (LensTrainer if VARIANTS[variant] else GRPOTrainer)(
        model,
        reward_funcs=math_reward,
        args=config,
        train_dataset=dataset,
        processing_class=tokenizer,
        callbacks=[turns.of(variant)],
        **VARIANTS[variant],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="steps of each trainer")
    parser.add_argument("--quick", action="store_true", help="10 steps")
    arguments = parser.parse_args()
    steps = 10 if arguments.quick else arguments.steps
    disable_progress_bar()
    problems = ladder(40, seed=1)
    tokenizer = load_policy(str(resources.files("lens_core.training") / SHIPPED_BASE))[1]
    dataset = Dataset.from_list([{"prompt": format_prompt(p.prompt, tokenizer), "answer": p.answer} for p in problems])
    turns = Turns(list(VARIANTS))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(VARIANTS)) as threads:
        trainers = [build(variant, dataset, steps + 1, turns, Path(folder)) for variant in VARIANTS]
        for running in [threads.submit(trainer.train) for trainer in trainers]:
            running.result()
    seconds = {variant: values[1:] for variant, values in turns.seconds.items()}  # the first step warms up
    stock, grpo, lens = seconds.values()
    ratios = {
        "lens_trainer_over_trl": statistics.median(a / b for a, b in zip(grpo, stock, strict=True)),
        "lens_over_grpo": statistics.median(a / b for a, b in zip(lens, grpo, strict=True)),
    }
    print(f"\n{date.today()}, {platform.machine()}, {os.cpu_count()} cores; {steps} steps of each trainer, in turn\n")
    print("| trainer | seconds a step, median (middle half) |\n|---|---|")
    for variant, values in seconds.items():
        low, middle, high = statistics.quantiles(values, n=4)
        print(f"| {variant} | {middle:.3f} ({low:.3f} to {high:.3f}) |")
    print(json.dumps({name: round(ratio, 4) for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()
