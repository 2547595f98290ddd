"""LensTrainer on TRL's own machinery, with a tiny real policy."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import GRPOTrainer

from lens_core.errors import LensError
from lens_core.objective import LensConfig, advantages, confidence
from lens_core.training.ladder_base import character_tokenizer
from lens_core.training.trainer import LensTrainer
from tests.helpers.fakes import tiny_policy
from tests.helpers.trainers import DATASET, GROUP, build, checksum_reward, generate

pytestmark = pytest.mark.integration


def trained_weights(cls: type[GRPOTrainer], folder: Path, **kwargs: Any) -> dict[str, torch.Tensor]:
    """Weights after training; built and trained in one go, since building sets the seeds."""
    trainer = build(cls, folder, **kwargs)
    trainer.train()
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max((one[name] - other[name]).abs().max().item() for name in other)


def test_variant_off_trains_the_same_weights_as_stock_grpo(tmp_path: Path) -> None:
    ours = trained_weights(LensTrainer, tmp_path / "ours", lens=LensConfig(variant="off"))
    stock = trained_weights(GRPOTrainer, tmp_path / "stock")
    assert largest_difference(ours, stock) < 1e-6
    assert largest_difference(stock, tiny_policy().state_dict()) > 1e-4  # training moved them


def test_lens_trains_other_weights_than_grpo(tmp_path: Path) -> None:
    lens = trained_weights(LensTrainer, tmp_path / "lens", lens=LensConfig(alpha=4.0, scale=1.0))
    grpo = trained_weights(GRPOTrainer, tmp_path / "grpo")
    assert largest_difference(lens, grpo) > 1e-5


def test_advantages_are_the_objective_of_rewards_and_sampling_confidences(tmp_path: Path) -> None:
    trainer = build(LensTrainer, tmp_path)
    batch = generate(trainer)
    texts = character_tokenizer().batch_decode(
        [ids[mask.bool()] for ids, mask in zip(batch["completion_ids"], batch["completion_mask"], strict=True)],
        skip_special_tokens=True,
    )
    rewards = torch.tensor(checksum_reward(texts)).view(-1, GROUP)
    assert {int(row.sum()) for row in rewards} > {0}  # negative groups, and others
    sure = confidence(batch["sampling_per_token_logps"], batch["completion_mask"]).view(-1, GROUP)
    expected = advantages(rewards, sure, LensConfig()).flatten()
    torch.testing.assert_close(batch["advantages"], expected)
    assert list(trainer._logs["advantages"]) == pytest.approx(expected.tolist())


def test_confidence_needs_no_forward_pass_and_agrees_with_one(tmp_path: Path) -> None:
    trainer = build(LensTrainer, tmp_path, config={"temperature": 0.8})
    batch = generate(trainer)
    sampled = batch.pop("sampling_per_token_logps")
    trainer._drawn = None  # as if nothing had been recorded
    _, computed, _ = trainer._counted_logprobs(batch)
    mask = batch["completion_mask"].bool()
    torch.testing.assert_close(sampled[mask], computed[mask], rtol=0, atol=1e-5)


def test_metrics_of_every_step_reach_the_log(tmp_path: Path) -> None:
    trainer = build(LensTrainer, tmp_path)
    trainer.train()
    steps = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert len(steps) == 3
    for entry in steps:
        kinds = [entry[f"lens/groups/{kind}"] for kind in ("negative", "mixed", "positive")]
        assert sum(kinds) == pytest.approx(1)
        assert 0 < entry["lens/confidence/wrong"] <= 1
        assert entry["lens/ungraded"] == 0


def test_negative_groups_are_rescued_by_lens_and_not_by_grpo(tmp_path: Path) -> None:
    def never(completions: list[str], **_: Any) -> list[float]:
        return [0.0] * len(completions)

    lens = build(LensTrainer, tmp_path / "lens", reward=never)
    grpo = build(LensTrainer, tmp_path / "grpo", reward=never, lens=LensConfig(variant="off"))
    assert generate(lens)["advantages"].abs().min() > 0
    assert not generate(grpo)["advantages"].any()
    assert lens._metrics["train"]["lens/tokens/rescued"] == [1.0]
    assert grpo._metrics["train"]["lens/tokens/rescued"] == [0.0]


def test_ungraded_answers_get_no_gradient(tmp_path: Path) -> None:
    def first_unknown(completions: list[str], **_: Any) -> list[float | None]:
        return [None if index % GROUP == 0 else float(index % 2) for index in range(len(completions))]

    trainer = build(LensTrainer, tmp_path, reward=first_unknown, max_ungraded_share=0.5)
    got = generate(trainer)["advantages"].view(-1, GROUP)
    assert not got[:, 0].any()
    assert got[:, 1:].all()


def test_too_many_ungraded_answers_stop_the_run(tmp_path: Path) -> None:
    def unknown(completions: list[str], **_: Any) -> list[None]:
        return [None] * len(completions)

    with pytest.raises(LensError, match=r"100% of a batch's answers could not be graded \(limit 10%\)"):
        build(LensTrainer, tmp_path, reward=unknown).train()


def with_some_cut_off(cls: type[GRPOTrainer], folder: Path, **options: Any) -> tuple[GRPOTrainer, dict[str, Any]]:
    """A trainer that masks truncated completions, and a batch in which some end and others are cut off."""
    trainer = build(cls, folder, config={"mask_truncated_completions": True}, **options)
    trainer.eos_token_ids = trainer.generation_config.eos_token_id = list(range(2, 40))
    batch = generate(trainer)
    cut = batch["completion_mask"].sum(dim=1) == 0
    assert cut.any()
    assert not cut.all()
    return trainer, batch


def test_masked_truncated_completions_count_in_their_group_as_in_trl(tmp_path: Path) -> None:
    _, stock = with_some_cut_off(GRPOTrainer, tmp_path / "trl")
    trainer, ours = with_some_cut_off(LensTrainer, tmp_path / "ours", lens=LensConfig(variant="off"))
    assert torch.equal(ours["completion_ids"], stock["completion_ids"])
    assert torch.equal(ours["completion_mask"], stock["completion_mask"])
    torch.testing.assert_close(ours["advantages"], stock["advantages"])
    assert trainer._metrics["train"]["lens/ungraded"] == [0.0]
    trainer.current_gradient_accumulation_steps = 1
    expected = GRPOTrainer._compute_loss(trainer, trainer.model, dict(stock)).item()
    assert trainer._compute_loss(trainer.model, dict(ours)).item() == pytest.approx(expected, abs=1e-6)


def test_confidence_of_a_truncated_completion_is_that_of_its_tokens(tmp_path: Path) -> None:
    trainer, batch = with_some_cut_off(LensTrainer, tmp_path)
    mask, logprobs, _ = trainer._counted_logprobs(batch)
    cut = batch["completion_mask"].sum(dim=1) == 0
    assert (mask[cut].sum(dim=1) == 12).all()  # all that it may have
    trainer._drawn, batch = None, {key: value for key, value in batch.items() if not key.endswith("_logps")}
    again, computed, _ = trainer._counted_logprobs(batch)
    assert torch.equal(mask, again)
    torch.testing.assert_close(computed * mask, logprobs * mask, rtol=0, atol=1e-5)


def test_truncated_completions_leave_their_group_where_that_is_asked_for(tmp_path: Path) -> None:
    _, batch = with_some_cut_off(LensTrainer, tmp_path, truncated_leave_group=True, max_ungraded_share=1.0)
    cut = batch["completion_mask"].sum(dim=1) == 0
    assert not batch["advantages"][cut].any()


def test_normalisations_that_lens_would_overwrite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scale_rewards='group'"):
        build(LensTrainer, tmp_path, config={"scale_rewards": "batch"})


def test_evaluation_with_one_answer_a_prompt_is_left_to_trl(tmp_path: Path) -> None:
    trainer = build(
        LensTrainer, tmp_path, eval_dataset=DATASET, config={"num_generations_eval": 1, "per_device_eval_batch_size": 4}
    )
    assert trainer.evaluate()["eval_reward"] >= 0


def test_gradient_accumulation_gives_the_same_weights(tmp_path: Path) -> None:
    halved = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}
    whole = trained_weights(LensTrainer, tmp_path / "whole")
    halves = trained_weights(LensTrainer, tmp_path / "halves", config=halved)
    assert largest_difference(whole, halves) < 1e-5


class VllmGeneration:
    """TRL's adapter to vLLM as the trainer sees it; records the seeds that reach it."""

    def __init__(self) -> None:
        self.generation_kwargs: dict[str, Any] = {}
        self.seeds: list[Any] = []

    def sync_weights(self) -> None:
        pass

    def generate(self, prompts: list[list[int]], **_: Any) -> tuple[Any, ...]:
        self.seeds.append(self.generation_kwargs["seed"])
        return None, [[2, 3]] * len(prompts), [[[-1.0], [-2.0]]] * len(prompts), None


def test_seed_reaches_a_vllm_server_anew_with_every_request(tmp_path: Path) -> None:
    def seeds(seed: int) -> list[Any]:
        trainer = build(LensTrainer, tmp_path, config={"seed": seed})
        trainer.use_vllm, trainer.vllm_mode, trainer._last_loaded_step = True, "server", -1
        trainer.vllm_generation = VllmGeneration()
        for _ in range(2):
            trainer._generate_single_turn([[5, 6]] * GROUP, None, {}, GROUP)
        return trainer.vllm_generation.seeds

    assert seeds(7) == seeds(7)
    assert len({*seeds(7), *seeds(8)}) == 4


def test_seed_reaches_a_colocated_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = GRPOTrainer.__init__

    def with_vllm(self: GRPOTrainer, *args: Any, **kwargs: Any) -> None:
        whole(self, *args, **kwargs)
        self.use_vllm, self.vllm_mode = True, "colocate"
        torch.manual_seed(0)  # what a colocated engine does as it starts, whatever args.seed is

    monkeypatch.setattr(GRPOTrainer, "__init__", with_vllm)

    def draw(seed: int) -> float:
        build(LensTrainer, tmp_path, config={"seed": seed})
        return torch.rand(()).item()

    assert draw(7) == draw(7) != draw(8)


UPGRADE = "TRL has changed under LensTrainer: read its release notes and adapt lens_core/training"


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("_generate_single_turn", ["prompt_ids", "images", "multimodal_fields", "num_generations"]),
        ("_calculate_rewards", ["inputs", "prompts", "completions", "completion_ids_list"]),
        ("_generate_and_score_completions", ["inputs"]),
        ("_compute_loss", ["model", "inputs"]),
        (
            "_get_per_token_logps_and_entropies",
            ["model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy"],
        ),
        ("_get_train_sampler", ["dataset"]),
        ("_save_checkpoint", ["model", "trial"]),
        ("_load_optimizer_and_scheduler", ["checkpoint"]),
        ("_get_output_dir", ["trial"]),
        ("_get_grad_norm", ["model", "grad_norm"]),
        ("training_step", ["model", "inputs", "num_items_in_batch"]),
    ],
)
def test_trl_still_has_the_methods_that_we_extend(method: str, parameters: list[str]) -> None:
    assert hasattr(GRPOTrainer, method), UPGRADE
    signature = list(inspect.signature(getattr(GRPOTrainer, method)).parameters)
    assert signature[1 : 1 + len(parameters)] == parameters, UPGRADE


def test_trl_still_has_the_values_that_we_read(tmp_path: Path) -> None:
    trainer = build(GRPOTrainer, tmp_path)
    batch = generate(trainer)
    wanted = {"prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "num_items_in_batch"}
    assert wanted <= batch.keys(), UPGRADE
    attributes = (
        "accelerator aux_loss_enabled beta current_gradient_accumulation_steps eos_token_ids generation_config "
        "loss_type max_completion_length num_generations num_generations_eval num_iterations off_policy_mask_threshold "
        "reward_funcs reward_weights scale_rewards state temperature top_entropy_quantile use_vllm "
        "use_transformers_continuous_batching _buffered_inputs _entropy_bonus_enabled _logs _metrics _step _tokenizer"
    )
    trainer.current_gradient_accumulation_steps = 1  # set as training begins
    missing = [name for name in attributes.split() if not hasattr(trainer, name)]
    assert not missing, f"{UPGRADE}: {missing} are gone"
    assert "advantages" in trainer._logs, UPGRADE
    assert list(trainer._logs["advantages"]) == pytest.approx(batch["advantages"].tolist()), UPGRADE


def test_trl_still_takes_old_logprobs_from_the_batch_and_advantages_per_token(tmp_path: Path) -> None:
    trainer = build(GRPOTrainer, tmp_path)
    trainer.current_gradient_accumulation_steps = 1
    batch = generate(trainer)
    plain = trainer._compute_loss(trainer.model, batch).item()
    by_token = batch["advantages"].unsqueeze(1) * batch["completion_mask"]
    assert trainer._compute_loss(trainer.model, {**batch, "advantages": by_token}).item() == pytest.approx(plain), (
        UPGRADE
    )
    far = torch.full_like(by_token, -20.0)  # the ratio is huge, and clipped where the advantage is positive
    assert abs(trainer._compute_loss(trainer.model, {**batch, "old_per_token_logps": far}).item()) > 10, UPGRADE


@pytest.mark.parametrize("masked", [False, True])
def test_budget_counts_every_generated_token_masked_or_not(masked: bool, tmp_path: Path) -> None:
    fields = {"mask_truncated_completions": masked, "max_steps": 9}
    trainer = build(LensTrainer, tmp_path, config=fields, max_tokens=2 * 16 * 12)
    trainer.eos_token_ids = trainer.generation_config.eos_token_id = [10**6]  # nothing ends: 16 answers of 12 tokens
    trainer.train()
    assert trainer.draws.tokens == 2 * 16 * 12
    assert trainer.state.global_step == 2
