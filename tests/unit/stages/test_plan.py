from pathlib import Path

import pytest

from lens_core.config import TrainConfig, load_config
from lens_core.errors import LensError
from lens_core.rollout.engine import load_policy
from lens_core.stages.plan import memory_bytes, plan_training
from tests.helpers.fakes import save_tiny_policy

PAPER = load_config("llama-3.1-8b-math-dapo")
GIB = 2**30


def test_batch_arithmetic_of_the_paper() -> None:
    batch = plan_training(PAPER, "lens")["Batch"]
    assert batch["an update"] == "32 prompts x 16 answers = 512 rollouts"
    assert batch["a batch of rollouts"] == "128 prompts, 2,048 rollouts, 4 updates"
    # 1,500 / 4 = 375 batches of 2,048 rollouts, each of 4,096 tokens at most
    assert batch["the training"] == "1,500 updates on 375 batches, 768,000 rollouts"
    assert batch["generated tokens, at most"] == "3,145,728,000"


def test_ranks_share_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert plan_training(PAPER, "lens")["Batch"]["processes"] == "8, each 32 x 2 rollouts an update"


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


@pytest.mark.parametrize("shipped", [True, False])
def test_shape_of_a_local_base_is_read_from_its_configuration(tmp_path: Path, shipped: bool) -> None:
    base = None if shipped else save_tiny_policy(tmp_path)
    model, _ = load_policy("lens_core/training/ladder-base" if shipped else tmp_path)
    plan = plan_training(load_config("demo"), "lens", base)
    parameters = sum(p.numel() for p in model.parameters())
    assert plan["Memory of one process, GiB, an estimate"]["weights"] == f"{4 * parameters / GIB:.2f}"
    from lens_core.stages.plan import _shape

    shape = _shape(load_config("demo"), base)
    assert shape is not None
    assert shape.parameters == parameters


def test_unknown_shape_says_what_to_give() -> None:
    settings = load_config("demo", ["base=some/model"])
    memory = plan_training(settings, "lens")["Memory of one process, GiB, an estimate"]
    assert memory == {"unknown": "give base_shape in the configuration, or --base with a local folder"}


def test_unknown_method_is_named() -> None:
    with pytest.raises(LensError, match="no method 'nope'; it has grpo, lens"):
        plan_training(PAPER, "nope")
