"""The demo's base policy: a small Qwen2 that has read worked ladder solutions, and bare answers beside them.

Real pre-training text holds both reasoned and unreasoned answers; so does this one, and that is what reinforcement
learning has to sort out: a sampled answer is right far more often when its working is written down first.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict, Field

from lens_core.data.ladder import boxed, climb
from lens_core.files import write_text
from lens_core.rollout.engine import best_device

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

TRAIN_SEED_OFFSET = 1_000_000
"""Ladder seeds of the base's own corpus start here, away from those that RL and evaluation use."""


END_OF_TEXT = "<|endoftext|>"


class BaseConfig(BaseModel):
    """Recipe of the base policy; the defaults made the weights that the package ships."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(0, ge=0)
    steps: int = Field(700, ge=1, le=10**8)
    batch_size: int = Field(64, ge=1)
    """Rows a step."""
    row_tokens: int = Field(128, ge=100)
    """Length of a row, packed with whole examples (the longest has under 100 tokens)."""
    learning_rate: float = Field(3e-3, gt=0)
    """Peak of a cosine that follows `warmup_steps` of linear rise."""
    warmup_steps: int = Field(100, ge=0)
    level_weights: tuple[float, float, float, float, float] = (0.25, 0.25, 0.15, 0.15, 0.2)
    """Share of each ladder level in the corpus."""
    worked_share: float = Field(0.5, ge=0, le=1)
    """Share of the solutions of levels 2 to 5 whose working is written out; the others are the bare answer."""
    hidden_size: int = Field(128, ge=8)
    intermediate_size: int = Field(384, ge=8)
    layers: int = Field(4, ge=1)
    heads: int = Field(4, ge=1)


def character_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with one token a byte (so one an ASCII character), padding and end of text; any text round-trips.

    The end is named as in Qwen2, whose tokenizer class `AutoTokenizer` loads it with: any other name would make that
    class add a token that the model has no embedding for.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<pad>", END_OF_TEXT, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token=END_OF_TEXT,
        unk_token=END_OF_TEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def new_policy(config: BaseConfig, tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    """An untrained Qwen2 of about 0.9 M parameters whose initial weights depend on `config.seed` alone."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(config.seed)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def corpus(config: BaseConfig) -> Iterator[tuple[str, str]]:
    """Endless (prompt, completion) pairs: worked solutions and bare answers beside them."""
    rng = random.Random(config.seed)
    levels = {level: climb(level, TRAIN_SEED_OFFSET + config.seed) for level in range(1, 6)}
    while True:
        level = rng.choices(range(1, 6), weights=config.level_weights)[0]
        problem = next(levels[level])
        worked = rng.random() < config.worked_share
        assert problem.solution is not None
        yield problem.prompt + "\n", problem.solution if worked else boxed(problem.answer)


def _batches(config: BaseConfig, tokenizer: PreTrainedTokenizerFast) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless `(input_ids_BT, labels_BT)`, each row packed with whole examples; only their completions are learned."""
    examples = (
        (tokenizer.encode(prompt), [*tokenizer.encode(text), tokenizer.eos_token_id]) for prompt, text in corpus(config)
    )
    ids: list[int] = []
    labels: list[int] = []
    rows: list[tuple[list[int], list[int]]] = []
    for prompt, completion in examples:
        if len(ids) + len(prompt) + len(completion) > config.row_tokens:
            padding = config.row_tokens - len(ids)
            rows.append((ids + [tokenizer.pad_token_id] * padding, labels + [-100] * padding))
            ids, labels = [], []
        ids, labels = ids + prompt + completion, labels + [-100] * len(prompt) + completion
        if len(rows) == config.batch_size:
            yield torch.tensor([row for row, _ in rows]), torch.tensor([row for _, row in rows])
            rows = []


def train_base(config: BaseConfig, output: Path, on_step: Callable[[int, float], None] | None = None) -> Path:
    """Train the base policy and save it with its tokenizer and recipe in Hugging Face format (safetensors).

    `on_step(step, loss)` is called after each optimiser step.
    """
    tokenizer = character_tokenizer()
    model = new_policy(config, tokenizer).to(best_device())
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )

    def rate(step: int) -> float:
        warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
        return warm * 0.5 * (1 + math.cos(math.pi * step / config.steps))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    batches = _batches(config, tokenizer)
    for step in range(1, config.steps + 1):
        input_ids, labels = next(batches)
        loss = model(input_ids=input_ids.to(model.device), labels=labels.to(model.device)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        if on_step is not None:
            on_step(step, loss.item())
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    write_text(output / "recipe.json", config.model_dump_json(indent=2) + "\n")
    return output
