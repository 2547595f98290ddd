"""Small real things for tests."""

import os
import signal
from pathlib import Path

import torch
from torch import Tensor
from transformers import Qwen2ForCausalLM

from lens_core import baselines
from lens_core.training.ladder_base import BaseConfig, character_tokenizer, new_policy

TINY = BaseConfig(hidden_size=16, intermediate_size=32, layers=2, heads=2)


def tiny_policy(seed: int = 0) -> Qwen2ForCausalLM:
    """An untrained Qwen2 of a few thousand parameters."""
    torch.manual_seed(seed)
    return new_policy(TINY.model_copy(update={"seed": seed}), character_tokenizer())


def save_tiny_policy(folder: Path) -> Path:
    """The same with its tokenizer, in Hugging Face format."""
    tiny_policy().save_pretrained(folder)
    character_tokenizer().save_pretrained(folder)
    return folder


def constant_objective(rewards: Tensor, confidences: Tensor, entropies: Tensor | None, *, value: float) -> Tensor:
    """An objective of a user's own: the same advantage for every answer."""
    return torch.full_like(rewards, value)


def failing_objective(rewards: Tensor, confidences: Tensor, entropies: Tensor | None) -> Tensor:
    """An objective that passes the check of a configuration, and fails in a training of more than two groups."""
    if len(rewards) > 2:
        raise ArithmeticError("this objective knows two groups")
    return torch.zeros_like(rewards)


_calls = 0


def dying_objective(
    rewards: Tensor, confidences: Tensor, entropies: Tensor | None, *, at_step: int = 0, mark: str = ""
) -> Tensor:
    """`nsr` in a process that is killed in the middle of step `at_step`, once: the file `mark` says that it was."""
    global _calls
    if mark:  # not the check of a configuration
        _calls += 1
    if mark and _calls == at_step and not Path(mark).exists():
        Path(mark).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return baselines.nsr(rewards, confidences, entropies)
