"""A random model of a base policy's architecture that is small enough for a rehearsal on a CPU.

What decides which code runs is the original's: architecture, rotary embedding, tied weights, grouped heads, tokenizer
class, chat template, special tokens and the rules of generation_config.json. Where neither the machine nor a hub has
the original, the families below stand in for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lens_core.errors import LensError, first_line

if TYPE_CHECKING:
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

HEAD_SIZE = 32
"""The smallest that vLLM computes on a CPU."""
_SIZES: Mapping[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": HEAD_SIZE,
    "max_window_layers": 2,
}
_VOCABULARY = 400
"""Tokens of a tokenizer of our own: all bytes, special tokens, and a few merges."""


@dataclass(frozen=True)
class _Family:
    """How the models of one family are made, as their published folders say."""

    names: str
    """Regular expression of their names on a hub."""
    model_type: str
    template: str
    """Of TRL's chat templates."""
    end: str
    bos: str | None = None
    pad: str | None = None
    others: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)
    ends: tuple[str, ...] = ()
    """Of generation_config.json, where they are more than `end`."""


_QWEN: Mapping[str, Any] = {
    "model_type": "qwen2",
    "template": "qwen2_5.jinja",
    "pad": "<|endoftext|>",
    "others": ("<|im_start|>", "<|im_end|>"),
    "config": {"tie_word_embeddings": True, "rope_theta": 1000000.0, "max_position_embeddings": 32768},
}
_FAMILIES = (
    _Family(
        r"qwen2\.5.*instruct",
        **_QWEN,
        end="<|im_end|>",
        ends=("<|im_end|>", "<|endoftext|>"),
        generation={"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05},
    ),
    _Family(r"qwen2\.5", **_QWEN, end="<|endoftext|>"),
    _Family(
        r"llama-3\.[12].*instruct",
        model_type="llama",
        template="llama3_1.jinja",
        end="<|eot_id|>",
        bos="<|begin_of_text|>",
        others=("<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>"),
        config={
            "tie_word_embeddings": False,
            "max_position_embeddings": 131072,
            "rope_parameters": {
                "rope_theta": 500000.0,
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            },
        },
        ends=("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"),
        generation={"do_sample": True, "temperature": 0.6, "top_p": 0.9},
    ),
    _Family(
        r"smollm2",
        model_type="llama",
        template="qwen2_5.jinja",  # the same form: SmolLM2's has no tools, and another system message
        end="<|im_end|>",
        pad="<|im_end|>",
        others=("<|endoftext|>", "<|im_start|>"),
        config={
            "tie_word_embeddings": True,
            "max_position_embeddings": 8192,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
        },
    ),
)
# Splits text as the tokenizers of Llama 3 and Qwen 2.5 do, but for the number of digits in a piece.
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def save_miniature(base: str, output: Path, corpus: Iterable[str]) -> PreTrainedModel:
    """Write a random model like `base` and its tokenizer into `output`, in Hugging Face format, and return it.

    Args:
        base: a folder or a name on a hub.
        corpus: what a tokenizer of our own is made from, where that of `base` is out of reach.

    Raises:
        LensError: if `base` is out of reach, and of no family that is known.
    """
    from transformers import AutoModelForCausalLM

    found = _original(base)
    config, tokenizer, generation = _of_family(base, corpus) if found is None else found
    for name, value in _SIZES.items():
        if getattr(config, name, None) is not None:
            setattr(config, name, value)
    if getattr(config, "layer_types", None) is not None:
        config.layer_types = config.layer_types[: _SIZES["num_hidden_layers"]]
    config.vocab_size = len(tokenizer)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.generation_config = generation
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    return model


def _original(base: str) -> tuple[PretrainedConfig, PreTrainedTokenizerBase, GenerationConfig] | None:
    """Configuration, tokenizer and rules of generation of `base`, without its weights; None where it is not reached."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    try:
        config = AutoConfig.from_pretrained(base, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    except (OSError, ValueError) as error:
        if Path(base).exists():
            raise LensError(f"{base} holds no model in Hugging Face format: {first_line(error)}") from error
        return None
    try:
        return config, tokenizer, GenerationConfig.from_pretrained(base)
    except OSError:  # a model may do without
        return config, tokenizer, GenerationConfig.from_model_config(config)


def _of_family(base: str, corpus: Iterable[str]) -> tuple[PretrainedConfig, PreTrainedTokenizerBase, GenerationConfig]:
    from transformers import AutoConfig, GenerationConfig

    family = next((each for each in _FAMILIES if re.search(each.names, base, re.IGNORECASE)), None)
    if family is None:
        raise LensError(f"{base} is out of reach, and no family that is known by name: give a local folder as `base`")
    tokenizer = _tokenizer(family, corpus)
    ids = tokenizer.convert_tokens_to_ids
    numbers = {"eos_token_id": ids(family.end), "bos_token_id": None if family.bos is None else ids(family.bos)}
    pad = {} if family.pad is None else {"pad_token_id": ids(family.pad)}
    config = AutoConfig.for_model(family.model_type, **family.config, **numbers, **pad, head_dim=HEAD_SIZE)
    ends = {"eos_token_id": [ids(each) for each in family.ends]} if family.ends else {}
    return config, tokenizer, GenerationConfig(**family.generation, **pad, **(numbers | ends))


def _tokenizer(family: _Family, corpus: Iterable[str]) -> PreTrainedTokenizerBase:
    """A byte-level BPE tokenizer, as the family's own is."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = dict.fromkeys(each for each in (family.bos, family.pad, family.end, *family.others) if each is not None)
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=_VOCABULARY,
            special_tokens=list(special),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if family.bos is not None:  # Llama's puts it before every text
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", special_tokens=[(family.bos, tokenizer.token_to_id(family.bos))]
        )
    given = {"bos_token": family.bos, "pad_token": family.pad}
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=family.end,
        **{name: token for name, token in given.items() if token is not None},
        clean_up_tokenization_spaces=False,
    )
    template = resources.files("trl") / "chat_templates" / family.template
    made.chat_template = template.read_text(encoding="utf-8")
    return made
