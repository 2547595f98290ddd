"""The parts of benchmarks.gpu, each in a process of its own: `python -m benchmarks.gpu_parts PART SCALE OUTPUT`.

Models have the shapes and the vocabulary of Qwen2.5 and random weights: what a step costs does not depend on what a
model has learned. One token in 256 ends an answer, so that lengths are spread as they are in real runs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM
from transformers.utils.logging import disable_progress_bar
from trl import GRPOTrainer

from benchmarks.step import GRPO, OURS, TRL, Measured, Workload, build, measure, now, print_table, settings
from lens_core.cli.doctor import examine
from lens_core.config import EconomyConfig, ModelShape, RunConfig, load_config
from lens_core.data.ladder import ladder
from lens_core.rollout.engine import SamplingConfig, TransformersEngine
from lens_core.training.checkpoint import last_checkpoint
from lens_core.training.ladder_base import BaseConfig, character_tokenizer, train_base
from lens_core.training.memory import memory_bytes
from lens_core.training.metrics_file import read_metrics
from lens_core.training.run import train_policy
from lens_core.training.spec import TrainingSpec

Figures = dict[str, float | list[float]]
"""What was measured, by name and unit; a list has a value for each pair of steps."""
GIB = 2**30
ENDS_ONE_IN = 256


@dataclass(frozen=True)
class Shape:
    """Of a Qwen2 model, by its config.json."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int = 151_936
    micro_batch_size: int = 32
    """Completions that a device with 80 GB holds in one forward and backward pass, beside another trainer."""
    alone: bool = False
    """Whether two trainers are too much for one such device, and take their turns one after the other."""


SHAPES: Mapping[str, Shape] = {
    "tiny": Shape(64, 128, 2, 2, 1, vocab_size=1024, micro_batch_size=8),
    "0.5b": Shape(896, 4864, 24, 14, 2),
    "1.5b": Shape(1536, 8960, 28, 12, 2, micro_batch_size=16),
    "3b": Shape(2048, 11008, 36, 16, 2, micro_batch_size=8, alone=True),
}


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    small: str
    """The shape that all but the steps are measured on."""
    prompts: int
    group_size: int
    max_new_tokens: int
    steps: int
    """Of each trainer, after one that does not count."""
    base: BaseConfig
    """Of the policy that learns the ladder."""
    ladder_steps: int


GPU = Scale("0.5b", 8, 16, 192, 3, BaseConfig(hidden_size=512, intermediate_size=2048, layers=12, heads=8), 24)
CPU = Scale("tiny", 2, 4, 16, 2, BaseConfig(hidden_size=64, intermediate_size=128, layers=2, heads=2, steps=4), 2)


def policy(size: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    torch.manual_seed(0)
    tokenizer, shape = character_tokenizer(), dataclasses.asdict(SHAPES[size])
    config = Qwen2Config(
        **{name: value for name, value in shape.items() if name not in ("micro_batch_size", "alone")},
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config)
    assert model.generation_config is not None
    model.generation_config.eos_token_id = list(range(1, config.vocab_size, ENDS_ONE_IN))
    return model, tokenizer


def one_in_four(completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
    """Right for a quarter of all token sequences, the same ones everywhere."""
    return [float(hashlib.sha256(str(list(ids)).encode()).digest()[0] < 64) for ids in completion_ids]


def workload(size: str, scale: Scale) -> Workload:
    shape = SHAPES[size]
    return Workload(
        partial(policy, size),
        one_in_four,
        prompts=scale.prompts,
        group_size=scale.group_size,
        max_new_tokens=scale.max_new_tokens,
        micro_batch_size=shape.micro_batch_size,
        end_tokens=tuple(range(1, shape.vocab_size, ENDS_ONE_IN)),
    )


def doctor(scale: Scale) -> Figures:
    """What `lens doctor` says here; the figure is the number of things that are broken."""
    checks = examine(Path(), "sqlite:///none.db", None)
    for each in checks:
        print(f"{each.name}: {each.status}, {each.found}{'; ' if each.remedy else ''}{each.remedy}")
    return {"lens doctor: broken": float(sum(each.status == "broken" for each in checks))}


def step(size: str, scale: Scale) -> Figures:
    """Stock TRL and our trainer as GRPO on the same completions, and memory against `lens train --dry-run`."""
    work, shape = workload(size, scale), SHAPES[size]
    variants = {TRL: {}, OURS: {"lens": GRPO}}
    turns = [{name: variant} for name, variant in variants.items()] if shape.alone else [variants]
    measured: dict[str, Measured] = {}
    for together in turns:
        measured |= measure(together, work, scale.steps)
    print_table(f"Untrained Qwen2, shape of {size}", work, measured)
    model_shape = ModelShape(
        parameters=_parameters(size),
        layers=shape.num_hidden_layers,
        hidden_size=shape.hidden_size,
        kv_heads=shape.num_key_value_heads,
        head_size=shape.hidden_size // shape.num_attention_heads,
    )
    parts = memory_bytes(settings(work, scale.steps), model_shape)
    ratios = [theirs / ours for theirs, ours in zip(measured[TRL].seconds, measured[OURS].seconds, strict=True)]
    return {
        f"{size}: step of stock TRL, s": statistics.median(measured[TRL].seconds),
        f"{size}: step of LensTrainer, s": statistics.median(measured[OURS].seconds),
        f"{size}: TRL's step over ours": ratios,
        f"{size}: generation over generation": _part_ratios(measured, ("generate",)),
        f"{size}: update over update": _part_ratios(measured, ("log-probabilities", "backward", "optimiser")),
        f"{size}: peak memory over the weights, TRL, GiB": measured[TRL].memory_bytes / GIB,
        f"{size}: peak memory over the weights, LensTrainer, GiB": measured[OURS].memory_bytes / GIB,
        f"{size}: the same by --dry-run, GiB": (sum(parts.values()) - parts["weights"]) / GIB,
    }


def _parameters(size: str) -> int:
    with torch.device("meta"):
        return policy(size)[0].num_parameters()


def _part_ratios(measured: Mapping[str, Measured], parts: Sequence[str]) -> list[float]:
    theirs, ours = (
        [sum(each) for each in zip(*(measured[name].parts[part] for part in parts), strict=True)]
        for name in (TRL, OURS)
    )
    return [one / other for one, other in zip(theirs, ours, strict=True)]


def exactness(scale: Scale) -> Figures:
    """Relative distances of gradients in bfloat16 from stock TRL's in float32: ours may be as far as TRL's own is."""
    work = workload(scale.small, scale)
    off = EconomyConfig(**dict.fromkeys(EconomyConfig.model_fields, False))
    with tempfile.TemporaryDirectory() as folder:
        trainer = build({"lens": GRPO}, work, 1, Path(folder))
        trainer.current_gradient_accumulation_steps = 1
        trainer.model.train()
        rows = [trainer.train_dataset[index] for index in range(work.prompts) for _ in range(work.group_size)]
        batch = trainer._generate_and_score_completions(rows)
        size = min(len(rows), SHAPES[scale.small].micro_batch_size)  # whole groups
        batch = {
            key: value[:size] if isinstance(value, Tensor) and value.ndim else value for key, value in batch.items()
        }
        stock = partial(GRPOTrainer._compute_loss, trainer)
        whole = _gradient(trainer, stock, batch, torch.float32)
        figures: Figures = {"bf16 gradient: stock TRL to float32": _distance(_gradient(trainer, stock, batch), whole)}
        economies = {
            name: off.model_copy(update={name: True})
            for name in ("skip_zero_advantages", "merge_identical", "length_buckets", "share_prompts")
        }
        for name, economy in {**economies, "all economies": EconomyConfig()}.items():
            trainer.economy = economy
            found = _gradient(trainer, trainer._compute_loss, batch)
            figures[f"bf16 gradient: {name} to float32"] = _distance(found, whole)
    return figures


def _gradient(trainer: GRPOTrainer, loss: Callable[..., Tensor], batch: Any, dtype: Any = torch.bfloat16) -> Tensor:
    trainer.model.zero_grad()
    device = next(trainer.model.parameters()).device.type
    with torch.autocast(device, torch.bfloat16, enabled=dtype == torch.bfloat16):
        value = loss(trainer.model, dict(batch))
    value.backward()  # type: ignore[no-untyped-call]
    return torch.cat([each.grad.flatten() for each in trainer.model.parameters() if each.grad is not None]).cpu()


def _distance(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


def generation(scale: Scale) -> Figures:
    """Tokens a second of one batch: transformers' own `generate`, our decoding, and vLLM where it is installed."""
    rows = scale.prompts * scale.group_size
    questions = [problem.prompt for problem in ladder(rows, seed=1)[:rows]]
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer = policy(scale.small)
        model = model.to(torch.bfloat16 if torch.cuda.is_available() else torch.float32)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        prompts = [tokenizer.encode(question) for question in questions]
        sampling = SamplingConfig(max_new_tokens=scale.max_new_tokens)
        figures: Figures = {**_transformers_rates(TransformersEngine(model, tokenizer), prompts, sampling)}
        del model
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return figures | _vllm_rate(Path(folder), prompts, sampling)


def _transformers_rates(
    engine: TransformersEngine, prompts: Sequence[list[int]], sampling: SamplingConfig
) -> dict[str, float]:
    padded: Any = engine.tokenizer.pad({"input_ids": list(prompts)}, padding_side="left", return_tensors="pt")
    padded = padded.to(engine.model.device)
    return {
        "generation: transformers, tokens/s": _rate(lambda: engine._generate(padded, sampling).token_ids),
        "generation: our decoding, tokens/s": _rate(lambda: engine.sample_ids(prompts, sampling, 0).token_ids),
    }


def _vllm_rate(folder: Path, prompts: Sequence[list[int]], sampling: SamplingConfig) -> dict[str, float]:
    if importlib.util.find_spec("vllm") is None:
        print("vLLM is not installed here, and was not measured")
        return {}
    from lens_core.rollout.vllm_engine import VllmEngine

    engine = VllmEngine(folder, max(map(len, prompts)) + sampling.max_new_tokens)
    try:
        return {"generation: vLLM, tokens/s": _rate(lambda: engine.sample_ids(prompts, sampling, 0).token_ids)}
    finally:
        engine.close()


def _rate(draw: Callable[[], list[list[int]]]) -> float:
    """Of the second of two calls: the first compiles and allocates."""
    draw()
    start = now()
    drawn = draw()
    return sum(map(len, drawn)) / (now() - start)


_DRAWN_BY_TRL = "train.economy.lean_decoding=false"
"""A sharded policy's completions are; only of the same completions can gradients be compared."""


def fsdp2(scale: Scale) -> Figures:
    """A training under FSDP2 on one device, beside the same one without."""
    with tempfile.TemporaryDirectory() as folder:
        train_policy(_spec(scale, Path(folder), "plain", _DRAWN_BY_TRL))
        sharding = Path(__file__).parents[1] / "lens_core/recipes/accelerate/fsdp2.yaml"
        launch = ["-m", "accelerate.commands.launch", "--config_file", str(sharding), "--num_processes", "1"]
        if not torch.cuda.is_available():
            launch += ["--mixed_precision", "no"]
        worker = ["-m", "benchmarks.gpu_parts", "sharded", scale.small, folder]
        subprocess.run([sys.executable, *launch, *worker], check=True)
        plain, sharded = (read_metrics(Path(folder) / name) for name in ("plain", "sharded"))
    return {
        "FSDP2: step on one device, s": _median(sharded, "step_time"),
        "FSDP2: the same step without it, s": _median(plain, "step_time"),
        "FSDP2: greatest difference of gradient norms": _difference(plain, sharded),
    }


def sharded(scale: Scale, folder: Path) -> None:
    """In a process of `accelerate launch`."""
    if not torch.cuda.is_available():
        from tests.helpers.ranks import pass_for_accelerators

        pass_for_accelerators()
    train_policy(_spec(scale, folder, "sharded", _DRAWN_BY_TRL))


def resume(scale: Scale) -> Figures:
    """A training that goes on from a checkpoint, beside one that was left alone."""
    with tempfile.TemporaryDirectory() as folder:
        spec = _spec(scale, Path(folder), "whole", "train.checkpoint_every=2", "train.keep_checkpoints=2")
        train_policy(spec)
        start = last_checkpoint(spec.output)
        assert start is not None
        first = start.with_name("checkpoint-2")
        size = sum(file.stat().st_size for file in first.rglob("*"))
        again = Path(folder) / "resumed"
        shutil.copytree(first, again / first.name)
        shutil.copy(spec.output / "metrics.jsonl", again)
        begun = time.monotonic()
        train_policy(dataclasses.replace(spec, output=again, resume_from=again / first.name))
        whole, resumed = read_metrics(spec.output), read_metrics(again)
    return {
        "resume: checkpoint, GiB": size / GIB,
        "resume: two steps from it, loading and saving included, s": time.monotonic() - begun,
        "resume: greatest difference of gradient norms": _difference(whole, resumed),
    }


def _spec(scale: Scale, folder: Path, name: str, *changes: str) -> TrainingSpec:
    """Four updates of LENS on the ladder, by a policy that is saved in `folder`."""
    base = folder / "base"
    if not base.exists():
        model, tokenizer = policy(scale.small)
        model.save_pretrained(base)
        tokenizer.save_pretrained(base)
    sizes = [
        "train.steps=4",
        "train.warmup_steps=0",
        f"train.prompts_per_step={scale.prompts}",
        f"train.group_size={scale.group_size}",
        f"train.micro_batch_size={SHAPES[scale.small].micro_batch_size}",
        f"train.max_new_tokens={scale.max_new_tokens}",
        f"train.bf16={str(torch.cuda.is_available()).lower()}",
        *changes,
    ]
    return _training(load_config("demo", sizes), "lens", base, folder / name)


def _training(config: RunConfig, method: str, base: Path, output: Path) -> TrainingSpec:
    problems = ladder(400, seed=1)
    return TrainingSpec(problems, base, config.train_for(method), config.methods[method], output)


def ladder_50m(scale: Scale) -> Figures:
    """A base of 50 M parameters made from nothing, and a small study: GRPO and LENS from it, with two seeds each."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        base = train_base(scale.base, Path(folder) / "base")
        figures["ladder: making the base, s"] = time.monotonic() - begun
        begun = time.monotonic()
        for method in ("grpo", "lens"):
            for seed in (0, 1):
                sizes = [f"train.steps={scale.ladder_steps}", "train.warmup_steps=2", f"train.seed={seed}"]
                config = load_config("demo", sizes)
                output = train_policy(_training(config, method, base, Path(folder) / f"{method}-{seed}"))
                rewards = [each["reward"] for each in read_metrics(output)]
                for place, part in (("first", rewards[: len(rewards) // 2]), ("last", rewards[len(rewards) // 2 :])):
                    figures[f"ladder: {method}, seed {seed}, mean reward of the {place} half"] = statistics.mean(part)
        figures["ladder: a training, s"] = (time.monotonic() - begun) / 4
    return figures


def _median(steps: Sequence[Mapping[str, float]], name: str) -> float:
    return statistics.median(each[name] for each in steps[1:])


def _difference(one: Sequence[Mapping[str, float]], other: Sequence[Mapping[str, float]]) -> float:
    """Of the gradient norms of equal steps, in parts of their size: on policy, losses are near 0 anyway."""
    pairs = ((a["grad_norm"], b["grad_norm"]) for a, b in zip(one, other, strict=True))
    return max(abs(a - b) / a for a, b in pairs)


PARTS: Mapping[str, Callable[[Scale], Figures]] = {
    "doctor": doctor,
    **{f"step-{size}": partial(step, size) for size in SHAPES},
    "exactness": exactness,
    "generation": generation,
    "resume": resume,
    "fsdp2": fsdp2,
    "ladder": ladder_50m,
}


def main() -> None:
    disable_progress_bar()
    part, small, output = sys.argv[1:]
    scale = CPU if small == CPU.small else GPU
    if part == "sharded":
        sharded(scale, Path(output))
    else:
        Path(output).write_text(json.dumps(PARTS[part](scale)), encoding="utf-8")


if __name__ == "__main__":
    main()
