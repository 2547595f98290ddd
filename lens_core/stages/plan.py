"""What a training would generate, update and occupy, before anything of it is done: `lens train --dry-run`."""

from __future__ import annotations

import os
from pathlib import Path

from lens_core.config import ModelShape, RunConfig, SourceConfig, TrainConfig
from lens_core.data.prepare import TRAIN_FILE, in_either_form
from lens_core.data.summary import read_summary
from lens_core.data.tables import require_there
from lens_core.distributed.count import Workers
from lens_core.errors import LensError
from lens_core.files import read_json
from lens_core.rollout.shipped import resolved
from lens_core.training.memory import memory_bytes

_GIB = 2**30


def plan_training(
    settings: RunConfig,
    method: str,
    base: Path | None = None,
    data: Path | None = None,
    workers: Workers | None = None,
) -> dict[str, dict[str, str]]:
    """Data, batch arithmetic and a memory estimate as titled tables; nothing is downloaded, prepared or written.

    Args:
        base: the policy to start from; None: the configuration's.
        data: a prepared folder; None: the data that the configuration would prepare.
        workers: processes that train together; None: this one, or those of torchrun.

    Raises:
        LensError: if the configuration has no such method, a file or folder is not there, or a step's completions
            cannot be shared evenly.
    """
    settings.required_method(method)
    train = settings.train_for(method)
    ranks = int(os.environ.get("WORLD_SIZE", "1")) if workers is None else workers.most
    if base is not None:
        _require_policy(base)
    shape = _shape(settings, base)
    memory = {"unknown": "give base_shape in the configuration, or --base with a local folder"}
    if shape is not None:
        parts = memory_bytes(train, shape)
        memory = {name: f"{value / _GIB:.2f}" for name, value in {**parts, "total": sum(parts.values())}.items()}
    if train.vllm is not None:
        memory["vLLM"] = f"{train.vllm.memory_share:.0%} of the device besides"
    return {
        "Data": _data(settings, data),
        "Batch": _batch(train, ranks),
        "Memory of one process, GiB, an estimate": memory,
    }


def _require_policy(base: Path) -> None:
    """What is no folder has to be a name on the hub, `owner/name`, which is not asked."""
    folder = Path(resolved(base))
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise LensError(f"{base} holds no policy in Hugging Face format: config.json is missing")
    if not folder.is_dir() and (folder.is_absolute() or len(folder.parts) != 2):
        raise LensError(f"--base {base} is neither a folder nor a name on the hub (owner/name): give one of them")


def _data(settings: RunConfig, data: Path | None) -> dict[str, str]:
    """What would be trained on: a prepared folder's problems, or the sources that they would be made of."""
    if data is not None:
        summary = read_summary(data)
        if not in_either_form(data / TRAIN_FILE).is_file():
            raise LensError(f"{data} holds no {TRAIN_FILE}: run `lens data prepare` again")
        made_of = ", ".join(dict.fromkeys(source.path or source.kind for source in summary.sources))
        return {
            "folder": f"{data}" + (f", made of {made_of}" if made_of else ""),
            "problems": f"{summary.train:,} to train on, {summary.test:,} to evaluate on",
        }
    test = () if settings.data.test is None else (settings.data.test,)
    for source in (*settings.data.train, *test):
        require_there(source)
    held_out = f"{settings.data.test_share:.0%} of the training problems"
    return {
        "training": "; ".join(map(_source, settings.data.train)),
        "evaluation": "; ".join(map(_source, test)) or held_out,
    }


def _source(source: SourceConfig) -> str:
    """`gsm8k from data/gsm8k.jsonl, at most 100`"""
    place = f" from {source.path}" if source.path is not None else ""
    sizes = {"of each level": source.per_level, "problems": source.size, "at most": source.limit}
    return f"{source.kind}{place}" + "".join(
        f", {value:,} {name}" for name, value in sizes.items() if value is not None
    )


def _batch(train: TrainConfig, ranks: int) -> dict[str, str]:
    rollouts = train.prompts_per_step * train.group_size
    micro = train.micro_batch_of(ranks)
    batches = -(-train.steps // train.updates_per_batch)
    return {
        "an update": f"{train.prompts_per_step} prompts x {train.group_size} completions = {rollouts:,} rollouts",
        "a batch of rollouts": f"{train.prompts_per_step * train.updates_per_batch:,} prompts, "
        f"{rollouts * train.updates_per_batch:,} rollouts, {train.updates_per_batch} updates",
        "the training": f"{train.steps:,} updates on {batches:,} batches, "
        f"{rollouts * train.updates_per_batch * batches:,} rollouts",
        "generated tokens, at most": f"{rollouts * train.updates_per_batch * batches * train.max_new_tokens:,}",
        "processes": f"{ranks}, each {rollouts // (ranks * micro)} x {micro} rollouts an update",
    }


def _shape(settings: RunConfig, base: Path | None) -> ModelShape | None:
    """Of the shipped base, of a local base's config.json, or as the configuration says; None if it says nothing."""
    path = Path(resolved(settings.base if base is None else base)) / "config.json"
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
