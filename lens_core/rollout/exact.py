"""For which models less work is known to give the same numbers.

Leaving out padding, sharing prompts and decoding of our own rest on what a model does with positions, with its memory
and with rounding. They are used with the kinds of model that `tests/integration/test_conformance.py` compares with
stock TRL; every other model is computed as TRL and transformers compute it.

The functions return why not, in words that follow "the policy", or None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, GenerationConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

PROVEN = frozenset((
    "apertus", "arcee", "bloom", "codegen", "cohere", "cohere2", "deepseek_v3", "ernie4_5", "exaone4", "falcon",
    "gemma", "gemma2", "gemma3_text", "glm4", "gpt_neox", "gpt_oss", "gptj", "granite", "helium", "llama", "mistral",
    "mixtral", "nemotron", "olmo", "olmo2", "olmo3", "opt", "persimmon", "phi", "phi3", "qwen2", "qwen3",
    "qwen3_moe", "seed_oss", "smollm3", "stablelm", "starcoder2",
))  # fmt: skip
"""Values of `config.model_type`."""
NUMBERS_PADDING = frozenset(("gpt2", "gpt_bigcode", "gpt_neo"))
"""Also proven as far as decoding goes. TRL gives a forward pass no positions, and these then count the padding on the
left of a prompt: with less of it the same tokens get other embeddings."""
_ROPE_TYPES = frozenset(("default", "linear", "llama3", "yarn"))
"""Rotations that depend on a token's place alone; `dynamic` and `longrope` also depend on how long the sequence is."""
_CACHE_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer)
_ADAPTERS = frozenset(("LORA",))
_OUR_OWN_OR_WITHOUT_EFFECT = frozenset((
    "bos_token_id", "cache_implementation", "do_sample", "eos_token_id", "max_length", "max_new_tokens",
    "pad_token_id", "repetition_penalty", "temperature", "top_k", "top_p", "transformers_version", "use_cache",
    "_from_model_config",
))  # fmt: skip
"""Fields of a generation configuration that the caller's own values replace, or that change no token."""


def inexact_decoding(model: Any) -> str | None:
    """Why `model`'s completions are left to `generate`.

    Args:
        model: a causal language model, in PEFT's wrapper perhaps.
    """
    reason = _unproven(model, PROVEN | NUMBERS_PADDING)
    if reason is not None:
        return reason
    rules = _rules(causal_lm(model).generation_config)
    return f"has rules of its own for generation ({', '.join(rules)})" if rules else None


def inexact_passes(model: Any, mixed_precision: bool) -> str | None:
    """Why every forward pass of a training of `model` is left as TRL makes it.

    Args:
        mixed_precision: the training rounds to half precision on purpose.
    """
    policy = causal_lm(model)
    if policy.config.model_type in NUMBERS_PADDING:
        return f"numbers the padding of prompts ({policy.config.model_type})"
    if any(_dropouts(model)):
        return "has dropout, which draws other random numbers for other batches"
    if policy.dtype != torch.float32 and not mixed_precision:
        return f"is computed in {str(policy.dtype).removeprefix('torch.')}, which rounds differently in other batches"
    return _unproven(model, PROVEN)


def _unproven(model: Any, proven: frozenset[str]) -> str | None:
    policy = causal_lm(model)
    config = policy.config
    adapters = {str(each.peft_type.value) for each in getattr(model, "peft_config", {}).values()} - _ADAPTERS
    if adapters:
        return f"has adapters that are not on the list of those tested ({', '.join(sorted(adapters))})"
    if config.model_type not in proven or not type(policy).__module__.startswith("transformers.models."):
        return f"is of a kind that is not on the list of those tested ({config.model_type}, {type(policy).__name__})"
    ropes = set(_rope_types(config.to_dict())) - _ROPE_TYPES
    if ropes:
        return f"has positions that are not on the list of those tested ({', '.join(sorted(ropes))})"
    layers = {type(layer) for layer in DynamicCache(config=config).layers}
    if policy._is_stateful or not layers.issubset(_CACHE_LAYERS):
        return "has another memory than keys and values"
    return None


def causal_lm(model: Any) -> PreTrainedModel:
    """The language model itself, below PEFT's wrapper where there is one."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _rope_types(config: Mapping[str, Any]) -> Iterator[str]:
    """At any depth: some models have one for each kind of layer."""
    for key, value in config.items():
        if key in ("rope_type", "type") and isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from _rope_types(value)


def _rules(generation: GenerationConfig | None) -> list[str]:
    """What a model's configuration asks of `generate` beside its defaults."""
    if generation is None:
        return []
    defaults = GenerationConfig._get_default_generation_params()
    return sorted(
        name
        for name, value in generation.to_diff_dict().items()
        if name not in _OUR_OWN_OR_WITHOUT_EFFECT and value not in (None, [], defaults.get(name, False))
    )


def _dropouts(model: nn.Module) -> Iterator[bool]:
    """Whether each chance of dropout is above 0: of modules, and of functions that take it from an attribute."""
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            yield module.p > 0
        yield from (value > 0 for name, value in vars(module).items() if "drop" in name and isinstance(value, float))
