"""Trainers on a tiny policy, with a reward that needs no arithmetic."""

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from lens_core.training.ladder_base import character_tokenizer
from tests.helpers.fakes import tiny_policy

DATASET = Dataset.from_list([{"prompt": f"Compute {i}+{i}.\n", "answer": str(2 * i)} for i in range(8)])
GROUP = 4


def checksum_reward(completions: list[str], **_: Any) -> list[float]:
    """Right when the text's code points add up to a multiple of three: about one answer in three."""
    return [float(sum(map(ord, text)) % 3 == 0) for text in completions]


def config(folder: Path, **fields: Any) -> GRPOConfig:
    values: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 16,
        "num_generations": GROUP,
        "max_completion_length": 12,
        "max_steps": 3,
        "learning_rate": 1e-3,
        "loss_type": "grpo",
        "beta": 0.0,
        "bf16": False,
        "use_cpu": True,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    return GRPOConfig(**{**values, **fields})


def build(cls: type[GRPOTrainer], folder: Path, reward: Any = checksum_reward, **kwargs: Any) -> GRPOTrainer:
    fields = kwargs.pop("config", {})
    return cls(
        tiny_policy(),
        reward_funcs=reward,
        args=config(folder, **fields),
        train_dataset=DATASET,
        processing_class=character_tokenizer(),
        **kwargs,
    )


def generate(trainer: GRPOTrainer) -> dict[str, Any]:
    """One generation batch, as training makes it."""
    trainer.model.train()
    torch.manual_seed(0)
    rows = [DATASET[index] for index in range(4) for _ in range(GROUP)]
    return trainer._generate_and_score_completions(rows)
