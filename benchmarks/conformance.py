"""Which models LensTrainer computes with less work than TRL, and that nothing else differs.

    python -m benchmarks.conformance

Tiny random models of many architectures answer left-padded prompts of several lengths, and learn from the first of two
updates on these answers: once with stock TRL, once with LensTrainer as it is, and once with every economy off; all with
GRPO's advantages and from the same seed. The table says how many of the 16 completions are the same, and how far loss
and gradient are from TRL's. `tests/integration/test_conformance.py` holds them to it.
"""

from __future__ import annotations

import logging
import platform
import tempfile
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any

import peft
import torch
import transformers
import trl
from datasets import Dataset
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from trl import GRPOConfig, GRPOTrainer

from lens_core.config import EconomyConfig
from lens_core.objective import LensConfig
from lens_core.rollout.exact import inexact_decoding, inexact_passes
from lens_core.training.ladder_base import character_tokenizer
from lens_core.training.trainer import LensTrainer

GROUP, PROMPTS = 4, 4
ENDS = list(range(2, 14))
"""With so many end tokens, answers have all lengths."""
TOKENIZER = character_tokenizer()
DATA = Dataset.from_list(
    [{"prompt": f"Compute {place}+{'1' * (1 + 5 * place)}.\n", "answer": ""} for place in range(PROMPTS)]
)
OFF = EconomyConfig(**dict.fromkeys(EconomyConfig.model_fields, False))

_TOKENS = {
    "vocab_size": len(TOKENIZER),
    "bos_token_id": None,
    "eos_token_id": TOKENIZER.eos_token_id,
    "pad_token_id": TOKENIZER.pad_token_id,
}
_SIZES: dict[str, Any] = {
    **_TOKENS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,  # answers depend on their prompts
}
_WITHOUT_HEAD_DIM = {name: value for name, value in _SIZES.items() if name != "head_dim"}
_GPT: dict[str, Any] = {
    **_TOKENS,
    **{"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "n_inner": 48, "initializer_range": 0.3},
}
_NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
_EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}


def _rope(kind: str, **values: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 1e4, "factor": 4.0, **values}}


@dataclass(frozen=True)
class Kind:
    """A model that trainers are compared on."""

    model_type: str
    values: dict[str, Any] = field(default_factory=lambda: _SIZES)
    generation: dict[str, Any] = field(default_factory=dict)
    adapter: peft.PeftConfig | None = None
    weights: torch.dtype = torch.float32


KINDS: dict[str, Kind] = {
    "Apertus": Kind("apertus"),
    "Arcee": Kind("arcee"),
    "BLOOM (ALiBi)": Kind("bloom", {**_TOKENS, "hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3,
                                    "hidden_dropout": 0.0, "attention_dropout": 0.0}),
    "CodeGen": Kind("codegen", {**_GPT, **_NO_DROPOUT, "rotary_dim": 4}),
    "Command R": Kind("cohere"),
    "Command R7B, sliding window": Kind("cohere2", {**_SIZES, "sliding_window": 6}),
    "DeepSeek-V3": Kind("deepseek_v3", {
        **_SIZES, **_EXPERTS, "head_dim": 4, "num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16,
        "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8, "n_routed_experts": 4, "n_group": 2,
        "topk_group": 1, "first_k_dense_replace": 1,
    }),
    "ERNIE 4.5": Kind("ernie4_5"),
    "EXAONE 4, sliding window": Kind("exaone4", {**_SIZES, "sliding_window": 6}),
    "Falcon": Kind("falcon", {**_WITHOUT_HEAD_DIM, "alibi": False, "new_decoder_architecture": False}),
    "Falcon (ALiBi)": Kind("falcon", {**_WITHOUT_HEAD_DIM, "alibi": True, "new_decoder_architecture": False}),
    "Gemma": Kind("gemma"),
    "Gemma 2, sliding window": Kind("gemma2", {**_SIZES, "sliding_window": 6, "query_pre_attn_scalar": 8}),
    "Gemma 3, sliding window": Kind("gemma3_text", {**_SIZES, "sliding_window": 6, "query_pre_attn_scalar": 8}),
    "GLM-4": Kind("glm4"),
    "GPT-J": Kind("gptj", {**_GPT, **_NO_DROPOUT, "rotary_dim": 4}),
    "GPT-NeoX": Kind("gpt_neox"),
    "gpt-oss, sliding window": Kind("gpt_oss", {**_SIZES, **_EXPERTS, "sliding_window": 6}),
    "Granite": Kind("granite"),
    "Helium": Kind("helium"),
    "Llama": Kind("llama"),
    "Llama, Llama 3's positions": Kind("llama", {**_SIZES, **_rope(
        "llama3", low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)}),
    "Llama, linear positions": Kind("llama", {**_SIZES, **_rope("linear")}),
    "Llama, YaRN": Kind("llama", {**_SIZES, **_rope("yarn", original_max_position_embeddings=16)}),
    "Llama, LoRA": Kind("llama", adapter=peft.LoraConfig(
        r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")),
    "Mistral": Kind("mistral", {**_SIZES, "sliding_window": None}),
    "Mistral, sliding window": Kind("mistral", {**_SIZES, "sliding_window": 6}),
    "Mixtral": Kind("mixtral", {**_SIZES, **_EXPERTS, "sliding_window": None}),
    "Nemotron": Kind("nemotron"),
    "OLMo": Kind("olmo"),
    "OLMo 2": Kind("olmo2"),
    "OLMo 3, sliding window": Kind("olmo3", {**_SIZES, "sliding_window": 6}),
    "OPT": Kind("opt", {**_SIZES, "ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0}),
    "Persimmon": Kind("persimmon", {n: v for n, v in _SIZES.items() if n != "num_key_value_heads"}),
    "Phi": Kind("phi"),
    "Phi-3": Kind("phi3", {**_SIZES, "sliding_window": None}),
    "Qwen2": Kind("qwen2"),
    "Qwen2, sliding window": Kind("qwen2", {
        **_SIZES, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}),
    "Qwen3": Kind("qwen3"),
    "Qwen3-MoE": Kind("qwen3_moe", {**_SIZES, **_EXPERTS}),
    "Seed-OSS": Kind("seed_oss", {**_SIZES, "attention_dropout": 0.0, "residual_dropout": 0.0}),
    "SmolLM3": Kind("smollm3", {**_SIZES, "no_rope_layer_interval": 2}),
    "StableLM": Kind("stablelm"),
    "StarCoder2": Kind("starcoder2", {**_SIZES, "sliding_window": None}),
    # Left as TRL computes them, each for another reason.
    "Falcon-H1": Kind("falcon_h1", {
        **_SIZES, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 4}),
    "GPT-2": Kind("gpt2", {**_GPT, **_NO_DROPOUT}),
    "GPT-2 with dropout": Kind("gpt2", _GPT),
    "GPT-Neo": Kind("gpt_neo", {**_SIZES, "num_layers": 2, "num_heads": 4, "window_size": 6,
                                "attention_types": [[["global", "local"], 1]]}),
    "GPT-BigCode": Kind("gpt_bigcode", {**_GPT, **_NO_DROPOUT}),
    "Jamba": Kind("jamba", {**_SIZES, "num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1,
                            "use_mamba_kernels": False, "mamba_d_state": 4}),
    "LFM2": Kind("lfm2", {**_SIZES, "layer_types": ["conv", "full_attention"], "block_multiple_of": 8}),
    "Llama, bfloat16 weights": Kind("llama", weights=torch.bfloat16),
    "Llama, dynamic NTK": Kind("llama", {**_SIZES, "max_position_embeddings": 16, **_rope("dynamic")}),
    "Llama, long rope": Kind("llama", {**_SIZES, **_rope(
        "longrope", original_max_position_embeddings=16, short_factor=[1.0] * 4, long_factor=[2.0] * 4)}),
    "Llama, prompt tuning": Kind("llama", adapter=peft.PromptTuningConfig(
        num_virtual_tokens=3, task_type="CAUSAL_LM")),
    "Llama, IA3": Kind("llama", adapter=peft.IA3Config(
        target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM")),
    "Llama, suppressed tokens": Kind("llama", generation={"suppress_tokens": list(range(40, 80))}),
    "Mamba": Kind("mamba", {**_TOKENS, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
    "Mamba 2": Kind("mamba2", {**_TOKENS, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4,
                               "num_heads": 8, "head_dim": 8, "n_groups": 1}),
    "MPT (ALiBi)": Kind("mpt", {**_TOKENS, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128}),
    "Qwen3-Next": Kind("qwen3_next", {
        **_SIZES, **_EXPERTS, "layer_types": ["linear_attention", "full_attention"],
        "shared_expert_intermediate_size": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 2,
        "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    }),
    "RecurrentGemma": Kind("recurrent_gemma", {**_SIZES, "attention_window_size": 6, "lru_width": 32}),
}  # fmt: skip


def build(kind: Kind) -> PreTrainedModel:
    """A random model, the same each time."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind.model_type, **kind.values))
    model.generation_config.update(pad_token_id=TOKENIZER.pad_token_id, **kind.generation)
    return model.to(kind.weights).eval()


def one_right(completions: list[str], **_: Any) -> list[float]:
    """Nothing in the first group, whose advantages are 0, and one completion in each of the others."""
    return [float(row >= GROUP and row % GROUP == row // GROUP) for row in range(len(completions))]


@dataclass(frozen=True)
class Update:
    """The first update on a batch of rollouts, which two are made on."""

    completions: list[list[int]]
    loss: float
    gradient: Tensor
    clipped: float
    """Share of the tokens at which the ratio was clipped."""


def update(kind: Kind, trainer_of: Any) -> Update:
    """Sample, and go back through the loss, as training does."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(
            build(kind),
            reward_funcs=one_right,
            args=GRPOConfig(
                output_dir=folder,
                per_device_train_batch_size=GROUP * PROMPTS,
                num_generations=GROUP,
                num_iterations=2,
                max_completion_length=12,
                loss_type="grpo",
                beta=0.0,
                bf16=False,
                use_cpu=True,
                report_to="none",
                disable_tqdm=True,
                gradient_checkpointing=False,
            ),
            train_dataset=DATA,
            processing_class=TOKENIZER,
            peft_config=kind.adapter,
        )
    trainer.eos_token_ids = trainer.generation_config.eos_token_id = ENDS
    trainer.current_gradient_accumulation_steps = 1
    trainer._pass_overhead = 0.0  # buckets wherever lengths differ, as in batches that are worth cutting
    trainer.model.train()
    torch.manual_seed(0)
    batch = trainer._generate_and_score_completions([row for row in DATA for _ in range(GROUP)])
    torch.manual_seed(0)
    loss = trainer._compute_loss(trainer.model, dict(batch))
    loss.backward()
    gradients = [p.grad.flatten().float() for p in trainer.model.parameters() if p.grad is not None]
    rows = zip(batch["completion_ids"], batch["completion_mask"].bool(), strict=True)
    return Update(
        [ids[mask].tolist() for ids, mask in rows],
        float(loss.detach()),
        torch.cat(gradients),
        trainer._metrics["train"]["clip_ratio/region_mean"][-1],
    )


def stock(kind: Kind) -> Update:
    """TRL's own."""
    return update(kind, GRPOTrainer)


def ours(kind: Kind, economy: EconomyConfig | None = None) -> Update:
    """GRPO by LensTrainer."""
    return update(kind, partial(LensTrainer, lens=LensConfig(variant="off"), economy=economy))


def reason(kind: Kind) -> str | None:
    """Why the model is computed as TRL computes it; None: with less work."""
    model = build(kind)
    wrapped = model if kind.adapter is None else peft.get_peft_model(model, kind.adapter)
    passes = inexact_passes(wrapped, mixed_precision=False)
    return inexact_decoding(wrapped) if passes is None else passes


def gradient_distance(one: Update, other: Update) -> float:
    """Relative to the other's length."""
    return float((one.gradient - other.gradient).norm() / other.gradient.norm())


def main() -> None:
    transformers.logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    print("| model | less work? | completions as TRL's | loss | gradient | economies off: loss | gradient |")
    print("|---|---|---|---|---|---|---|")
    for name, kind in KINDS.items():
        why, theirs, cells = reason(kind), stock(kind), []
        for mine in (ours(kind), ours(kind, OFF)):
            cells += [f"{abs(mine.loss - theirs.loss):.0e}", f"{gradient_distance(mine, theirs):.0e}"]
            same = sum(a == b for a, b in zip(mine.completions, theirs.completions, strict=True))
            cells[:0] = [f"{same} of {len(theirs.completions)}"] if len(cells) == 2 else []
        print(f"| {name} | {'yes' if why is None else f'no: {why}'} | {' | '.join(cells)} |", flush=True)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, TRL {trl.__version__}"
    print(f"\n{len(KINDS)} models, {platform.processor() or platform.machine()}, {versions}, {date.today()}")


if __name__ == "__main__":
    main()
