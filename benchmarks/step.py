"""One training step: stock TRL, our trainer as GRPO, our trainer as LENS, on the same completions.

    python -m benchmarks.step                the whole table, twenty minutes on two cores
    python -m benchmarks.step --quick        fewer steps, under a minute
    python -m benchmarks.step --ablation     what each way of saving work contributes

The trainers share policy, prompts, seeds and rewards, and since the learning rate is 0, the completions too (they are
compared). Each has a process of its own; they take their steps strictly in turn, and every ratio is the geometric mean
over pairs of equal steps with its 95 % interval, so that a machine that speeds up or slows down does so for all. Two
workloads: the demo's policy on the ladder (8 prompts x 16 answers of at most 64 tokens), and an untrained Qwen2 of 50 M
parameters (answers of at most 256 tokens, which it ends with a probability of one in its vocabulary, so that lengths
are spread as they are in real runs).
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from importlib import resources
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback, TrainerState
from transformers.utils.logging import disable_progress_bar
from trl import GRPOTrainer

from benchmarks.pairs import Ratio, figures_of, ratio
from lens_core.config import SHIPPED_BASE, EconomyConfig, TrainConfig, load_config
from lens_core.data.ladder import ladder
from lens_core.objective import LensConfig
from lens_core.rollout.engine import format_prompt, load_policy
from lens_core.training.ladder_base import BaseConfig, character_tokenizer, new_policy
from lens_core.training.run import grpo_config
from lens_core.training.trainer import LensTrainer
from lens_core.verify.reward import math_reward

GRPO, LENS = LensConfig(variant="off"), LensConfig()
ALL_ROWS = EconomyConfig(skip_zero_advantages=False)
Variant = dict[str, Any]
"""Arguments of LensTrainer; TRL's own trainer where there are none."""
TRL, OURS = "TRL GRPOTrainer", "LensTrainer, GRPO"
PARTS = ("generate", "grade", "log-probabilities", "backward", "optimiser")


@dataclass(frozen=True)
class Workload:
    """A policy, its prompts, and how many of them make a step."""

    policy: Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerBase]]
    reward: Any
    prompts: int
    group_size: int
    max_new_tokens: int
    micro_batch_size: int | None = None
    end_tokens: tuple[int, ...] = ()
    """Beside the tokenizer's own, for an untrained policy to end its answers by chance."""


def demo_policy() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    with resources.as_file(resources.files("lens_core.training") / SHIPPED_BASE) as base:
        return load_policy(base)


def policy_50m() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    torch.manual_seed(0)
    tokenizer = character_tokenizer()
    shape = BaseConfig(hidden_size=512, intermediate_size=2048, layers=12, heads=8)
    return new_policy(shape, tokenizer), tokenizer


def one_in_four(completions: list[str], **_: Any) -> list[float]:
    """Right for a quarter of all texts, the same ones everywhere: an untrained policy solves nothing."""
    return [float(hashlib.sha256(text.encode()).digest()[0] < 64) for text in completions]


DEMO = Workload(demo_policy, math_reward, prompts=8, group_size=16, max_new_tokens=64)
LARGE = Workload(policy_50m, one_in_four, prompts=2, group_size=8, max_new_tokens=256)


@dataclass
class Measured:
    """What was seen of one trainer, a value for each step."""

    seconds: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    memory_bytes: int = 0
    completions: list[tuple[int, ...]] = field(default_factory=list)


class Turn(TrainerCallback):
    """In a trainer's process: takes a step when the main process says so, and tells it what the step took.

    Step `i` starts from seed `i` in all trainers, so that they sample the same completions. The first step is the one
    whose memory is measured.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._start: float | None = None
        self._memory = 0
        self.parts: dict[str, float] = defaultdict(float)
        self.completions: list[tuple[int, ...]] = []

    def on_step_begin(self, args: Any, state: TrainerState, *_: Any, **__: Any) -> None:
        self._end_step()
        self._pipe.recv()
        torch.manual_seed(state.global_step)
        self.parts.clear()
        self.completions.clear()
        self._memory = start_memory_peak() if state.global_step == 0 else 0
        self._start = now()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._end_step()

    def _end_step(self) -> None:
        if self._start is not None:
            seconds = now() - self._start
            memory = memory_peak() - self._memory if self._memory else 0
            self._pipe.send((seconds, [self.parts[part] for part in PARTS], memory, list(self.completions)))


def now() -> float:
    """Seconds, when all that was asked of a GPU has been done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def start_memory_peak() -> int:
    """Bytes in use now, after which `memory_peak` counts afresh."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    ctypes.CDLL(None).malloc_trim(0)  # what other trainers have freed does not count
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def memory_peak() -> int:
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _status("VmHWM")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def settings(workload: Workload, steps: int) -> TrainConfig:
    """Of `steps` updates on the workload."""
    overrides = {
        "steps": steps,
        "warmup_steps": 0,
        "prompts_per_step": workload.prompts,
        "group_size": workload.group_size,
        "max_new_tokens": workload.max_new_tokens,
        "micro_batch_size": "null" if workload.micro_batch_size is None else workload.micro_batch_size,
        "bf16": torch.cuda.is_available(),
    }
    return load_config("demo", [f"train.{key}={value}" for key, value in overrides.items()]).train


def build(
    variant: Variant, workload: Workload, steps: int, folder: Path, callbacks: Sequence[TrainerCallback] = ()
) -> GRPOTrainer:
    model, tokenizer = workload.policy()
    dataset = Dataset.from_list(
        [{"prompt": format_prompt(p.prompt, tokenizer), "answer": p.answer} for p in ladder(40, seed=1)]
    )
    config = grpo_config(settings(workload, steps), folder)
    config.learning_rate = 0.0
    trainer = (LensTrainer if variant else GRPOTrainer)(
        model,
        reward_funcs=workload.reward,
        args=config,
        train_dataset=dataset,
        processing_class=tokenizer,
        callbacks=list(callbacks),
        **variant,
    )
    trainer.remove_callback(PrinterCallback)
    if workload.end_tokens:
        trainer.eos_token_ids = trainer.generation_config.eos_token_id = list(workload.end_tokens)
    return trainer


def _time_parts(trainer: GRPOTrainer, turn: Turn) -> None:
    """Adds up the seconds of each part of a step; the optimiser's are what a step spends outside of training_step."""

    def timed(owner: Any, method: str, part: str) -> None:
        call = getattr(owner, method)

        def measure(*args: Any, **kwargs: Any) -> Any:
            start = now()
            result = call(*args, **kwargs)
            turn.parts[part] += now() - start
            if method == "_generate_single_turn":
                turn.completions += map(tuple, result[0])
            return result

        setattr(owner, method, measure)

    timed(trainer, "_generate_single_turn", "generate")
    timed(trainer, "_calculate_rewards", "grade")
    timed(trainer, "_compute_loss", "log-probabilities")
    timed(trainer.accelerator, "backward", "backward")
    timed(trainer, "_get_grad_norm", "optimiser")
    timed(trainer, "_clip_grad_norm", "optimiser")


def train(variant: Variant, workload: Workload, steps: int, pipe: Connection) -> None:
    with tempfile.TemporaryDirectory() as folder:
        turn = Turn(pipe)
        trainer = build(variant, workload, steps, Path(folder), [turn])
        _time_parts(trainer, turn)
        trainer.train()


def measure(variants: Mapping[str, Variant], workload: Workload, steps: int, warm_up: int = 1) -> dict[str, Measured]:
    """`steps` steps of each variant after `warm_up` that do not count, each variant in a process of its own."""
    # Forked processes import nothing again, but cannot share a GPU with what they were forked from.
    context: Any = multiprocessing.get_context("spawn" if torch.cuda.is_available() else "fork")
    pipes, processes = {}, []
    for name, variant in variants.items():
        pipes[name], theirs = context.Pipe()
        processes.append(context.Process(target=train, args=(variant, workload, warm_up + steps, theirs)))
        processes[-1].start()
        theirs.close()  # so that a trainer that dies ends the wait for it
    measured = {name: Measured() for name in variants}
    for step in range(warm_up + steps):
        for name in list(pipes)[:: 1 if step % 2 else -1]:  # whom a neighbour disturbs is not always the same one
            pipes[name].send("go")
            seconds, parts, memory, completions = pipes[name].recv()
            measured[name].memory_bytes += memory
            measured[name].completions += completions
            if step >= warm_up:
                measured[name].seconds.append(seconds)
                for part, value in zip(PARTS, parts, strict=True):
                    measured[name].parts[part].append(value)
    for process in processes:
        process.join()
    return measured


def step_ratio(measured: Mapping[str, Measured], over: str, under: str) -> Ratio:
    """Over pairs of equal steps."""
    return ratio(zip(measured[over].seconds, measured[under].seconds, strict=True))


def print_table(title: str, workload: Workload, measured: Mapping[str, Measured]) -> None:
    rows = workload.prompts * workload.group_size
    drawn = list(zip(*(one.completions for one in measured.values()), strict=True))
    equal = sum(len(set(same)) == 1 for same in drawn) / len(drawn)
    length = statistics.mean(len(same[0]) for same in drawn)
    print(f"\n{title}: {rows} completions a step, {length:.0f} tokens on average, {workload.max_new_tokens} at most")
    print(f"Equal in all trainers: {equal:.2%} of the completions\n")
    print("| trainer | seconds a step | completions/s | peak MiB | " + " | ".join(PARTS) + " |")
    print("|---|---|---|---|" + "---|" * len(PARTS))
    for name, one in measured.items():
        seconds = statistics.median(one.seconds)
        parts = " | ".join(f"{statistics.median(one.parts[part]):.3f}" for part in PARTS)
        print(f"| {name} | {seconds:.3f} | {rows / seconds:.0f} | {one.memory_bytes / 2**20:.0f} | {parts} |")


def compare(steps: int, large_steps: int, pairs: int, large: Workload) -> dict[str, float]:
    """The tables, and the figures of the last line."""
    ours: Variant = {"lens": GRPO}
    demo = measure({TRL: {}, OURS: ours}, DEMO, steps)
    print_table("The demo's policy, 0.9 M parameters", DEMO, demo)
    # A first step is little slower than the others there, and each takes half a minute.
    big = measure({TRL: {}, OURS: ours}, large, large_steps, warm_up=min(1, large_steps - 1))
    print_table("Untrained Qwen2, 50 M parameters", large, big)
    # The same rows for both: GRPO would skip negative groups. Many short steps, to see a difference of 1 %.
    rows = {name: {"lens": lens, "economy": ALL_ROWS} for name, lens in (("GRPO", GRPO), ("LENS", LENS))}
    short = replace(DEMO, prompts=2)
    equal = measure(rows, short, pairs)
    print_table("LENS beside GRPO, LensTrainer computing every row", short, equal)
    ratios = {
        "speedup_vs_trl": step_ratio(demo, TRL, OURS),
        "speedup_vs_trl_50m": step_ratio(big, TRL, OURS),
        "lens_over_grpo": step_ratio(equal, "LENS", "GRPO"),
    }
    print()
    for name, each in ratios.items():
        print(f"{name}: {each}")
    return figures_of(ratios) | {
        "peak_memory_ratio": demo[OURS].memory_bytes / demo[TRL].memory_bytes,
        "peak_memory_ratio_50m": big[OURS].memory_bytes / big[TRL].memory_bytes,
    }


def ablate(steps: int, large_steps: int, large: Workload) -> dict[str, float]:
    """What a step, and the parts that the techniques aim at, take without each of them, over the same with all."""
    figures: dict[str, float] = {}
    for title, workload, count in (("demo", DEMO, steps), ("50m", large, large_steps)):
        print(f"\n{title}: without a technique / with all of them, {count} pairs; parts are medians\n")
        print("| without | step | generate | log-probabilities and backward |\n|---|---|---|---|")
        for name in EconomyConfig.model_fields:
            variants: dict[str, Variant] = {
                "with": {"lens": GRPO},
                "without": {"lens": GRPO, "economy": EconomyConfig(**{name: False})},
            }
            measured = measure(variants, workload, count)
            whole = step_ratio(measured, "without", "with")
            figures |= figures_of({f"{title} without {name}": whole})
            parts = [
                statistics.median(without / all_on for without, all_on in zip(*part, strict=True))
                for part in (
                    [measured[variant].parts["generate"] for variant in ("without", "with")],
                    [
                        [sum(both) for both in zip(one.parts["log-probabilities"], one.parts["backward"], strict=True)]
                        for one in (measured["without"], measured["with"])
                    ],
                )
            ]
            interval = f"{whole.mean:.2f} [{whole.low:.2f}, {whole.high:.2f}]"
            print(f"| `{name}` | {interval} | {parts[0]:.2f} | {parts[1]:.2f} |", flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40, help="steps of each trainer on the demo's policy")
    parser.add_argument("--large-steps", type=int, default=12, help="steps of each trainer on the 50 M policy")
    parser.add_argument("--pairs", type=int, default=600, help="steps of LENS, and of GRPO on the same rows")
    parser.add_argument(
        "--quick", action="store_true", help="3, 1 and 12 of them, and half the size and length at 50 M"
    )
    parser.add_argument("--ablation", action="store_true", help="each technique off in its turn")
    arguments = parser.parse_args()
    steps, large_steps, pairs = arguments.steps, arguments.large_steps, arguments.pairs
    large = LARGE
    if arguments.quick:
        steps, large_steps, pairs, large = 3, 1, 12, replace(LARGE, prompts=1, max_new_tokens=128)
    disable_progress_bar()
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    figures = ablate(steps, large_steps, large) if arguments.ablation else compare(steps, large_steps, pairs, large)
    print()
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
