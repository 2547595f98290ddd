"""What a training occupies on a device, by its configuration and the shape of its policy alone."""

from __future__ import annotations

from lens_core.config import ModelShape, TrainConfig

PROMPT_TOKENS = 256
"""A guess, beside completions of hundreds or thousands of tokens."""
_ACTIVATIONS_PER_LAYER = 34
"""Bytes per token and hidden unit of a layer in 16 bits, without attention's T x T part (arXiv 2205.05198, eq. 1)."""
_CHECKPOINTED = 2
"""The same where only each layer's input is kept."""


def memory_bytes(train: TrainConfig, shape: ModelShape, prompt_tokens: int = PROMPT_TOKENS) -> dict[str, float]:
    """Bytes of each part in one process that shares nothing; FSDP and ZeRO divide the first three by their ranks.

    Weights, gradients and AdamW's two moments are float32; under LoRA the frozen weights have 16 bits and only adapters
    (rank x (in + out) of every linear layer, about 14 hidden sizes a layer) have gradients and moments.
    """
    width = 2 if train.bf16 else 4
    trained = float(shape.parameters)
    weights = 4.0 * shape.parameters
    if train.lora is not None:
        trained = train.lora.rank * 14.0 * shape.hidden_size * shape.layers
        weights = float(width * shape.parameters) + 4 * trained
    rollouts = train.prompts_per_step * train.group_size
    micro = rollouts if train.micro_batch_size is None else train.micro_batch_size
    tokens = micro * (prompt_tokens + train.max_new_tokens)
    per_layer = _CHECKPOINTED if train.gradient_checkpointing else _ACTIVATIONS_PER_LAYER
    activations = tokens * shape.hidden_size * (shape.layers * per_layer + _ACTIVATIONS_PER_LAYER) * width / 2
    cache_per_token = 2 * shape.layers * shape.kv_heads * shape.head_size * width
    generated = rollouts * train.updates_per_batch * (prompt_tokens + train.max_new_tokens)
    return {
        "weights": weights,
        "gradients": 4 * trained,
        "optimiser": 8 * trained,
        "activations of a micro-batch": activations,
        # vLLM takes a fixed share of the device instead, and queues what does not fit.
        "keys and values of a batch": 0.0 if train.vllm is not None else float(generated * cache_per_token),
    }
