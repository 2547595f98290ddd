"""One training step on a GPU: stock TRL and our trainer as GRPO, on the same completions.

    python -m benchmarks.gpu                     models of 0.5 and 1.5 B parameters, a few minutes on an H100
    python -m benchmarks.gpu --sizes 0.5b --steps 3
    python -m benchmarks.gpu --without lean_decoding share_prompts    what these ways of saving work contribute

As `benchmarks.step`, whose processes, turns and tables these are. The models have the shapes and the vocabulary of
Qwen2.5 and random weights: what a step costs does not depend on what a model has learned. One token in 256 ends an
answer, so that lengths are spread as they are in real runs; a quarter of all answers is right. Weights and optimiser
are float32, computations bfloat16.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
from collections.abc import Sequence
from datetime import date
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM
from transformers.utils.logging import disable_progress_bar

from benchmarks.pairs import figures_of
from benchmarks.step import GRPO, OURS, TRL, Variant, Workload, measure, print_table, step_ratio
from lens_core.config import EconomyConfig
from lens_core.training.ladder_base import character_tokenizer

VOCABULARY, ENDS_ONE_IN = 151_936, 256
SHAPES: dict[str, dict[str, int]] = {
    "0.5b": {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
    },
    "1.5b": {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
    },
}
"""Of Qwen2.5-0.5B and Qwen2.5-1.5B (their config.json)."""


def policy(size: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    torch.manual_seed(0)
    tokenizer = character_tokenizer()
    config = Qwen2Config(
        **SHAPES[size],
        vocab_size=VOCABULARY,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config), tokenizer


def one_in_four(completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
    """Right for a quarter of all token sequences, the same ones everywhere."""
    return [float(hashlib.sha256(str(list(ids)).encode()).digest()[0] < 64) for ids in completion_ids]


def workload(size: str, prompts: int, micro_batch_size: int, max_new_tokens: int) -> Workload:
    return Workload(
        partial(policy, size),
        one_in_four,
        prompts=prompts,
        group_size=16,
        max_new_tokens=max_new_tokens,
        micro_batch_size=micro_batch_size,
        end_tokens=tuple(range(1, VOCABULARY, ENDS_ONE_IN)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--steps", type=int, default=8, help="steps of each trainer, after one that does not count")
    parser.add_argument("--prompts", type=int, default=8, help="groups of 16 in a step")
    parser.add_argument("--micro-batch", type=int, default=32, help="completions in one forward and backward pass")
    parser.add_argument("--max-new-tokens", type=int, default=512)
    parser.add_argument("--without", nargs="+", default=[], choices=list(EconomyConfig.model_fields), help="also so")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("there is no CUDA device here: benchmarks.step measures on a CPU")
    disable_progress_bar()
    print(
        f"{date.today()}, {torch.cuda.get_device_name()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"torch {torch.__version__}"
    )
    variants: dict[str, Variant] = {TRL: {}, OURS: {"lens": GRPO}}
    for name in arguments.without:
        variants[f"without {name}"] = {"lens": GRPO, "economy": EconomyConfig(**{name: False})}
    figures: dict[str, float] = {}
    for size in arguments.sizes:
        work = workload(size, arguments.prompts, arguments.micro_batch, arguments.max_new_tokens)
        measured = measure(variants, work, arguments.steps)
        print_table(f"Untrained Qwen2, shape of {size}", work, measured)
        speedup = step_ratio(measured, TRL, OURS)
        print(f"\nspeedup_vs_trl_{size}: {speedup}")
        figures |= figures_of({f"speedup_vs_trl_{size}": speedup})
        figures[f"peak_memory_ratio_{size}"] = measured[OURS].memory_bytes / measured[TRL].memory_bytes
    print()
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
