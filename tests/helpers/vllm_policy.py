"""A policy that vLLM can run on a CPU: its attention has no heads as small as those of tests/helpers/fakes.py."""

from pathlib import Path

import torch

from lens_core.training.ladder_base import BaseConfig, character_tokenizer, new_policy

TINY = BaseConfig(hidden_size=32, intermediate_size=32, layers=2, heads=1)
ENDS = list(range(2, 22))
"""The tokenizer's own, 1, is not among them."""


def save_vllm_policy(folder: Path, seed: int) -> Path:
    policy = new_policy(TINY.model_copy(update={"seed": seed}), character_tokenizer())
    with torch.no_grad():
        policy.model.norm.weight.mul_(8)  # else all tokens are about as likely, at any temperature
    policy.generation_config.eos_token_id = ENDS
    policy.generation_config.top_k = 5  # to be ignored
    policy.generation_config.do_sample = True
    policy.save_pretrained(folder)
    character_tokenizer().save_pretrained(folder)
    return folder
