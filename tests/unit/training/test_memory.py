import pytest

from lens_core.config import TrainConfig, load_config
from lens_core.training.memory import memory_bytes

PAPER = load_config("llama-3.1-8b-math-dapo")
GIB = 2**30


def test_memory_of_8b_parameters_in_float32() -> None:
    # 8.03e9 parameters x 4 bytes = 29.9 GiB; gradients as much, AdamW's moments twice that
    assert PAPER.base_shape is not None
    parts = memory_bytes(PAPER.train, PAPER.base_shape)
    assert parts["weights"] / GIB == pytest.approx(29.91, abs=0.01)
    assert parts["gradients"] == parts["weights"] == parts["optimiser"] / 2
    assert parts["keys and values of a batch"] == 0  # vLLM's, which has a share of its own


def changed(**values: object) -> dict[str, float]:
    assert PAPER.base_shape is not None
    train = TrainConfig.model_validate({**PAPER.train.model_dump(), **values})
    return memory_bytes(train, PAPER.base_shape)


def test_memory_follows_what_it_depends_on() -> None:
    plain = changed()
    assert changed(micro_batch_size=4)["activations of a micro-batch"] == 2 * plain["activations of a micro-batch"]
    assert (
        changed(gradient_checkpointing=False)["activations of a micro-batch"]
        > 5 * plain["activations of a micro-batch"]
    )
    lora = changed(lora={"rank": 16})
    assert lora["optimiser"] < plain["optimiser"] / 100
    assert lora["weights"] == pytest.approx(plain["weights"] / 2, rel=0.02)
    # 2 x 32 layers x 8 heads x 128 x 2 bytes = 128 KiB a token, 2,048 rollouts of 4,352 tokens
    assert changed(vllm=None)["keys and values of a batch"] == 2048 * 4352 * 131072
