"""Identical gradients, less work: every technique against the plain batch, on a real policy and TRL's own loss."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from trl import GRPOTrainer

from lens_core.config import EconomyConfig
from lens_core.objective import LensConfig
from lens_core.training.trainer import LensTrainer
from tests.helpers.trainers import GROUP, build, checksum_reward, generate

pytestmark = pytest.mark.integration

OFF = dict.fromkeys(EconomyConfig.model_fields, False)
TECHNIQUES = ["skip_zero_advantages", "merge_identical", "length_buckets", "share_prompts"]
SOME_END = list(range(2, 14))
"""With so many end-of-text tokens, answers have all lengths."""


def first_groups_right(completions: list[str], **_: Any) -> list[float]:
    """All right in the first two groups, so that their advantage is 0."""
    return [1.0 if row < 2 * GROUP else value for row, value in enumerate(checksum_reward(completions))]


def prepared(folder: Path, loss_type: str = "grpo", **kwargs: Any) -> tuple[LensTrainer, dict[str, Any]]:
    kwargs.setdefault("reward", first_groups_right)
    config = {"loss_type": loss_type, "gradient_checkpointing": False}
    trainer = build(LensTrainer, folder, config=config, **kwargs)
    trainer.eos_token_ids = trainer.generation_config.eos_token_id = SOME_END
    trainer.current_gradient_accumulation_steps = 1
    batch = generate(trainer)
    for name in ("completion_ids", "completion_mask"):  # two answers that repeat another of their group
        batch[name][9] = batch[name][8]
        batch[name][15] = batch[name][12]
    return trainer, batch


@contextmanager
def counted_tokens(model: torch.nn.Module) -> Iterator[list[int]]:
    """Tokens of each forward pass through the model's first layer."""
    tokens: list[int] = []
    hook = model.model.layers[0].register_forward_pre_hook(
        lambda _, args, kwargs: tokens.append((args[0] if args else kwargs["hidden_states"])[..., 0].numel()),
        with_kwargs=True,
    )
    try:
        yield tokens
    finally:
        hook.remove()


def gradient(trainer: LensTrainer, batch: dict[str, Any], **economy: bool) -> tuple[Tensor, int]:
    """`(gradient of all parameters, tokens that went through the policy)`."""
    trainer.economy = EconomyConfig(**{**OFF, **economy})
    trainer.model.zero_grad()
    with counted_tokens(trainer.model) as tokens:
        trainer._compute_loss(trainer.model, dict(batch)).backward()
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters()]), sum(tokens)


def assert_same(one: Tensor, other: Tensor) -> None:
    assert other.norm() > 1e-3  # there is something to be equal to
    assert (one - other).norm() / other.norm() < 1e-5
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dr_grpo", "dapo"])
@pytest.mark.parametrize("technique", [*TECHNIQUES, "all"])
def test_gradient_is_the_same_for_less_work(tmp_path: Path, technique: str, loss_type: str) -> None:
    trainer, batch = prepared(tmp_path, loss_type)
    chosen = TECHNIQUES if technique == "all" else [technique]
    plain, plain_tokens = gradient(trainer, batch)
    thrifty, thrifty_tokens = gradient(trainer, batch, **dict.fromkeys(chosen, True))
    assert_same(thrifty, plain)
    # Buckets pay where rows are many: sixteen rows of twelve tokens stay together.
    assert thrifty_tokens < plain_tokens or technique == "length_buckets"


def test_plain_batch_is_stock_trl(tmp_path: Path) -> None:
    trainer, batch = prepared(tmp_path)
    trainer.model.zero_grad()
    GRPOTrainer._compute_loss(trainer, trainer.model, dict(batch)).backward()
    stock = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])
    assert_same(gradient(trainer, batch, **dict.fromkeys(TECHNIQUES, True))[0], stock)


def test_gradient_is_the_same_off_policy_where_the_ratio_is_clipped(tmp_path: Path) -> None:
    trainer, batch = prepared(tmp_path)
    torch.manual_seed(1)
    noise = 0.4 * torch.randn_like(batch["sampling_per_token_logps"])
    batch["old_per_token_logps"] = batch["sampling_per_token_logps"] + noise
    plain, _ = gradient(trainer, batch)
    assert trainer._metrics["train"]["clip_ratio/region_mean"][-1] > 0.1
    assert_same(gradient(trainer, batch, **dict.fromkeys(TECHNIQUES, True))[0], plain)


def test_gradient_is_the_same_with_token_level_advantages(tmp_path: Path) -> None:
    trainer, batch = prepared(tmp_path)
    tokens = torch.linspace(0.5, 1.5, batch["completion_ids"].shape[1])
    batch["advantages"] = batch["advantages"].unsqueeze(1) * tokens
    assert_same(gradient(trainer, batch, **dict.fromkeys(TECHNIQUES, True))[0], gradient(trainer, batch)[0])


def test_buckets_cut_the_padding_of_one_long_answer(tmp_path: Path) -> None:
    trainer, batch = prepared(tmp_path)
    # 16 rows, one of 400 tokens: in two buckets 15 rows are not padded to its length.
    batch["completion_ids"] = torch.cat([batch["completion_ids"], torch.randint(2, 40, (16, 388))], dim=1)
    mask = torch.zeros(16, 400, dtype=torch.long)
    mask[:, :8] = 1
    mask[5] = 1
    batch["completion_mask"] = mask
    batch["advantages"] = torch.linspace(-1, 1, 16)
    batch.pop("sampling_per_token_logps")
    plain, plain_tokens = gradient(trainer, batch)
    cut, cut_tokens = gradient(trainer, batch, length_buckets=True)
    assert_same(cut, plain)
    assert cut_tokens < plain_tokens / 5


def test_batch_without_gradient_needs_no_forward_pass(tmp_path: Path) -> None:
    def right(completions: list[str], **_: Any) -> list[float]:
        return [1.0] * len(completions)

    trainer, batch = prepared(tmp_path, reward=right)
    got, tokens = gradient(trainer, batch, skip_zero_advantages=True)
    assert tokens == 0
    assert not got.any()
    stock, _ = gradient(trainer, batch)
    assert not stock.any()


@pytest.mark.parametrize("loss", [{"entropy_coef": 0.1}, {"top_entropy_quantile": 0.5}])
def test_losses_that_are_no_sum_over_rows_are_left_whole(tmp_path: Path, loss: dict[str, float]) -> None:
    config = {"gradient_checkpointing": False, **loss}
    trainer = build(LensTrainer, tmp_path, reward=first_groups_right, config=config, lens=LensConfig(variant="off"))
    trainer.eos_token_ids = trainer.generation_config.eos_token_id = SOME_END
    trainer.current_gradient_accumulation_steps = 1
    batch = generate(trainer)
    everything = dict.fromkeys(TECHNIQUES, True)
    assert_same(gradient(trainer, batch, **everything)[0], gradient(trainer, batch)[0])


def test_second_update_on_a_batch_takes_the_old_logprobs_from_sampling(tmp_path: Path) -> None:
    def old_logprobs(reuse: bool) -> tuple[Tensor, int]:
        trainer = build(
            LensTrainer,
            tmp_path,
            config={"per_device_train_batch_size": 8, "steps_per_generation": 2},
            economy=EconomyConfig(reuse_sampling_logprobs=reuse, lean_decoding=True),
        )
        generated = trainer._generate_single_turn
        with counted_tokens(trainer.model) as tokens:

            def forget_generation(*args: Any, **kwargs: Any) -> Any:
                result = generated(*args, **kwargs)
                tokens.clear()
                return result

            trainer._generate_single_turn = forget_generation
            batch = generate(trainer)
        return batch["old_per_token_logps"] * batch["completion_mask"], sum(tokens)

    (reused, none), (computed, some) = old_logprobs(True), old_logprobs(False)
    assert none == 0 < some
    torch.testing.assert_close(reused, computed, rtol=0, atol=1e-5)


def test_lean_decoding_draws_what_generate_draws(tmp_path: Path) -> None:
    def draw(lean: bool) -> dict[str, Any]:
        trainer = build(LensTrainer, tmp_path, economy=EconomyConfig(lean_decoding=lean), config={"temperature": 0.9})
        trainer.eos_token_ids = trainer.generation_config.eos_token_id = SOME_END
        batch = generate(trainer)
        return {**batch, "random": torch.get_rng_state()}

    lean, stock = draw(True), draw(False)
    for name in ("prompt_ids", "completion_ids", "completion_mask", "random"):
        assert torch.equal(lean[name], stock[name])
    logprobs = "sampling_per_token_logps"
    torch.testing.assert_close(lean[logprobs], stock[logprobs], rtol=0, atol=1e-5)
    assert len(set(lean["completion_mask"].sum(dim=1).tolist())) > 3


@pytest.mark.parametrize("filters", [{"top_k": 5}, {"top_p": 0.5}, {"min_p": 0.2}, {"repetition_penalty": 1.5}])
def test_sampling_filters_are_warned_of_and_left_to_generate(
    tmp_path: Path, filters: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    trainer = build(LensTrainer, tmp_path, config=filters)
    assert "bias confidence" in caplog.text
    generate(trainer)
    assert trainer._drawn is None


def test_answers_are_graded_while_others_are_decoded(tmp_path: Path) -> None:
    events: list[str] = []

    class Reward:
        __name__ = "reward"

        def prefetch(self, completion: str, answer: str, **_: Any) -> None:
            events.append(completion)

        def __call__(self, completions: list[str], **_: Any) -> list[float]:
            assert sorted(events) == sorted(completions)
            events.append("called")
            return [0.0] * len(completions)

    trainer = build(LensTrainer, tmp_path, reward=Reward())
    trainer.eos_token_ids = trainer.generation_config.eos_token_id = SOME_END
    generate(trainer)
    assert events[-1] == "called"
    assert events[:-1] != sorted(events[:-1])  # in the order of their ends
