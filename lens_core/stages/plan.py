"""What a training would generate, update and occupy, before anything of it is done: `lens train --dry-run`."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from lens_core.config import SHIPPED_BASE, ModelShape, RunConfig, TrainConfig
from lens_core.files import read_json
from lens_core.training.memory import memory_bytes

_GIB = 2**30


def plan_training(settings: RunConfig, method: str, base: Path | None = None) -> dict[str, dict[str, str]]:
    """Batch arithmetic and a memory estimate as titled tables; reads a local base's config.json and nothing else.

    Raises:
        LensError: if the configuration has no such method.
    """
    settings.required_method(method)
    train = settings.train_for(method)
    shape = _shape(settings, base)
    memory = {"unknown": "give base_shape in the configuration, or --base with a local folder"}
    if shape is not None:
        parts = memory_bytes(train, shape)
        memory = {name: f"{value / _GIB:.2f}" for name, value in {**parts, "total": sum(parts.values())}.items()}
    if train.vllm is not None:
        memory["vLLM"] = f"{train.vllm.memory_share:.0%} of the device besides"
    return {"Batch": _batch(train), "Memory of one process, GiB, an estimate": memory}


def _batch(train: TrainConfig) -> dict[str, str]:
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    rollouts = train.prompts_per_step * train.group_size
    micro = rollouts // ranks if train.micro_batch_size is None else train.micro_batch_size
    batches = -(-train.steps // train.updates_per_batch)
    return {
        "an update": f"{train.prompts_per_step} prompts x {train.group_size} answers = {rollouts:,} rollouts",
        "a batch of rollouts": f"{train.prompts_per_step * train.updates_per_batch:,} prompts, "
        f"{rollouts * train.updates_per_batch:,} rollouts, {train.updates_per_batch} updates",
        "the training": f"{train.steps:,} updates on {batches:,} batches, "
        f"{rollouts * train.updates_per_batch * batches:,} rollouts",
        "generated tokens, at most": f"{rollouts * train.updates_per_batch * batches * train.max_new_tokens:,}",
        "processes": f"{ranks}, each {rollouts // (ranks * micro)} x {micro} rollouts an update",
    }


def _shape(settings: RunConfig, base: Path | None) -> ModelShape | None:
    """Of the shipped base, of a local base's config.json, or as the configuration says; None if it says nothing."""
    if base is None and settings.base == SHIPPED_BASE:
        with resources.as_file(resources.files("lens_core.training") / SHIPPED_BASE) as folder:
            return _read_shape(folder / "config.json")
    path = (Path(settings.base) if base is None else base) / "config.json"
    return _read_shape(path) if path.is_file() else settings.base_shape


def _read_shape(path: Path) -> ModelShape:
    """The shape of a Llama- or Qwen-like decoder: grouped attention, a gated MLP, perhaps tied embeddings."""
    config = read_json(path)
    hidden, layers, heads = config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]
    kv_heads, head_size = config.get("num_key_value_heads", heads), config.get("head_dim") or hidden // heads
    attention = 2 * hidden * head_size * (heads + kv_heads)
    bias = head_size * (heads + 2 * kv_heads) if config["model_type"] == "qwen2" else 0
    layer = attention + bias + 3 * hidden * config["intermediate_size"] + 2 * hidden
    embeddings = (1 if config.get("tie_word_embeddings") else 2) * config["vocab_size"] * hidden
    return ModelShape(
        parameters=layers * layer + embeddings + hidden,
        layers=layers,
        hidden_size=hidden,
        kv_heads=kv_heads,
        head_size=head_size,
    )
