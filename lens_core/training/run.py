"""One training run from files to files: problems and a base policy in, a trained policy and its metrics out."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOConfig

from lens_core.config import TrainConfig
from lens_core.data.problem import Problem
from lens_core.objective import LensConfig
from lens_core.rollout.engine import format_prompt, load_policy
from lens_core.training.metrics_file import METRICS_FILE
from lens_core.training.trainer import LensTrainer
from lens_core.verify.reward import math_reward

OnStep = Callable[[int, dict[str, float]], None]
"""Called with the step and its metrics each time metrics are logged."""


def train_policy(
    problems: Sequence[Problem], base: Path, config: TrainConfig, objective: LensConfig, output: Path, on_step: OnStep
) -> Path:
    """Train `base` on `problems` and save policy and tokenizer into `output`, in Hugging Face format.

    `output/metrics.jsonl` gets a line for each logged step: `{"step": 10, "reward": 0.31, ...}`, finite numbers only.
    """
    model, tokenizer = load_policy(base)
    dataset = Dataset.from_list(
        [{"prompt": format_prompt(problem.prompt, tokenizer), "answer": problem.answer} for problem in problems]
    )
    output.mkdir(parents=True, exist_ok=True)
    trainer = LensTrainer(
        model,
        reward_funcs=math_reward,
        args=grpo_config(config, output),
        train_dataset=dataset,
        processing_class=tokenizer,
        callbacks=[_MetricsFile(output / METRICS_FILE, on_step)],
        lens=objective,
        max_ungraded_share=config.max_ungraded_share,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.save_model(str(output))
    tokenizer.save_pretrained(output)
    return output


def grpo_config(config: TrainConfig, output: Path) -> GRPOConfig:
    """Our training section in TRL's words."""
    rollouts = config.prompts_per_step * config.group_size
    micro_batch = rollouts if config.micro_batch_size is None else config.micro_batch_size
    return GRPOConfig(
        output_dir=str(output),
        max_steps=config.steps,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=rollouts // micro_batch,
        num_generations=config.group_size,
        max_completion_length=config.max_new_tokens,
        temperature=config.temperature,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_steps,
        lr_scheduler_type=config.schedule,
        adam_beta2=config.adam_beta2,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        epsilon=config.clip,
        beta=config.beta,
        loss_type=config.loss_type,
        bf16=config.bf16,
        gradient_checkpointing=config.gradient_checkpointing,
        optim="adamw_torch_fused",
        seed=config.seed,
        logging_steps=config.log_every,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


class _MetricsFile(TrainerCallback):
    """Writes each logged step into a JSON Lines file as it happens, and passes it on."""

    def __init__(self, path: Path, on_step: OnStep) -> None:
        self._path = path
        self._on_step = on_step
        self._start = time.monotonic()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._path.write_text("", encoding="utf-8")
        self._start = time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if logs is None or "reward" not in logs:  # the summary line at the end of training is no step
            return
        numbers = {key: float(value) for key, value in logs.items() if isinstance(value, int | float)}
        metrics = {key: value for key, value in numbers.items() if math.isfinite(value)}
        metrics["elapsed_s"] = time.monotonic() - self._start
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **metrics}) + "\n")
        self._on_step(state.global_step, metrics)
