"""What scripts of TRL's users do: it works as with GRPOTrainer, or is one line before any work."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import IterableDataset
from trl import GRPOTrainer

from lens_core.errors import LensError
from lens_core.objective import LensConfig, advantages
from lens_core.rollout.decode import Sampled
from lens_core.rollout.engine import TransformersEngine
from lens_core.training.ladder_base import character_tokenizer
from lens_core.training.trainer import LensTrainer
from tests.helpers.fakes import tiny_policy
from tests.helpers.trainers import DATASET, GROUP, checksum_reward, config

pytestmark = pytest.mark.integration


def trainer(folder: Path, cls: type[GRPOTrainer] = LensTrainer, reward: Any = checksum_reward, **kwargs: Any) -> Any:
    fields = {"per_device_train_batch_size": 2 * GROUP, **kwargs.pop("config", {})}
    kwargs.setdefault("train_dataset", DATASET)
    return cls(
        tiny_policy(),
        reward_funcs=reward,
        args=config(folder, **fields),
        processing_class=character_tokenizer(),
        **kwargs,
    )


def stream(problems: int = len(DATASET)) -> IterableDataset:
    def rows() -> Iterator[dict[str, str]]:
        yield from DATASET.select(range(problems))

    return IterableDataset.from_generator(rows)


# --- rewards ---


def accuracy_and_format(completions: list[str], **_: Any) -> list[float]:
    """0, 1 or 2."""
    return [float(place % 3) for place in range(len(completions))]


def with_a_penalty(completions: list[str], **_: Any) -> list[float]:
    return [(-0.5, 1.0)[place % 2] for place in range(len(completions))]


@pytest.mark.parametrize(
    ("reward", "found"), [(accuracy_and_format, "from 0 to 2"), (with_a_penalty, "from -0.5 to 1")]
)
def test_rewards_of_another_range_are_refused_with_the_remedy(tmp_path: Path, reward: Any, found: str) -> None:
    with pytest.raises(LensError, match=rf"these go {found}: give LensTrainer reward_range=\(lowest, highest\)"):
        trainer(tmp_path, reward=reward).train()


def test_rewards_of_a_given_range_are_mapped_to_that_of_the_paper(tmp_path: Path) -> None:
    trained = trainer(tmp_path, reward=accuracy_and_format, reward_range=(0, 2), config={"max_steps": 1})
    torch.manual_seed(0)
    batch = trained._generate_and_score_completions([row for row in DATASET.select(range(2)) for _ in range(GROUP)])
    halves = torch.tensor(accuracy_and_format([""] * 2 * GROUP)).view(2, GROUP) / 2
    mask = batch["completion_mask"]
    mean_logprobs = (batch["sampling_per_token_logps"] * mask).sum(dim=1) / mask.sum(dim=1)
    expected = advantages(halves, mean_logprobs.exp().view(2, GROUP), LensConfig()).flatten()
    torch.testing.assert_close(batch["advantages"], expected)
    assert trained._metrics["train"]["reward"][-1] == pytest.approx(float(2 * halves.mean()))  # TRL's log


def test_rewards_outside_of_the_given_range_and_ranges_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LensError, match=r"the reward 2, outside reward_range=\(0, 1\.5\): widen it"):
        trainer(tmp_path, reward=accuracy_and_format, reward_range=(0, 1.5)).train()
    with pytest.raises(ValueError, match=r"reward_range is \(1, 1\); the first must be below the second"):
        trainer(tmp_path, reward_range=(1, 1))


# --- data ---


def test_streamed_data_go_on_after_an_epoch_as_in_trl(tmp_path: Path) -> None:
    fields = {"max_steps": 6, "save_strategy": "steps", "save_steps": 5}  # four steps an epoch
    log = {}
    for cls, variant in ((GRPOTrainer, {}), (LensTrainer, {"lens": LensConfig(variant="off")})):
        folder = tmp_path / cls.__name__
        trainer(folder, cls, train_dataset=stream(), config=fields, **variant).train()
        resumed = trainer(folder, cls, train_dataset=stream(), config=fields, **variant)
        resumed.train(resume_from_checkpoint=str(folder / "checkpoint-5"))
        log[cls] = [line["reward"] for line in resumed.state.log_history if "reward" in line]
    assert len(log[LensTrainer]) == 6
    assert log[LensTrainer] == log[GRPOTrainer]


@pytest.mark.parametrize("data", [DATASET, stream()], ids=["table", "stream"])
def test_further_prompts_are_each_once_in_a_pass_and_go_on_after_a_checkpoint(tmp_path: Path, data: Any) -> None:
    def drawn(trained: Any, calls: int) -> list[str]:
        return [row["prompt"] for _ in range(calls) for row in trained._further_prompts(2)[::GROUP]]

    first = trainer(tmp_path, train_dataset=data, resample_rounds=2)
    prompts = drawn(first, 10)  # two and a half passes through eight problems
    for pass_ in (prompts[:8], prompts[8:16]):
        assert sorted(pass_) == sorted(DATASET["prompt"])
    later = trainer(tmp_path, train_dataset=data, resample_rounds=2)
    later.draws.load_state_dict({"batches_drawn": 0, "tokens_generated": 0, "resample_draws": 5})
    assert drawn(later, 5) == prompts[10:]


def test_further_prompts_are_in_the_order_of_the_data_where_that_is_not_shuffled(tmp_path: Path) -> None:
    trained = trainer(tmp_path, resample_rounds=2, config={"shuffle_dataset": False})
    assert [row["prompt"] for row in trained._further_prompts(4)[::GROUP]] == DATASET["prompt"][:4]


def test_streamed_data_serve_dynamic_sampling(tmp_path: Path) -> None:
    trained = trainer(tmp_path, train_dataset=stream(), resample_rounds=2, config={"max_steps": 2})
    trained.train()
    assert trained.draws.resamples > 0


def test_fewer_problems_than_a_batch_takes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train_dataset has 1 problems, and a generation batch takes 2 "):
        trainer(tmp_path, train_dataset=DATASET.select([0]))


# --- lengths ---


def test_completions_without_a_limit_are_those_of_trl(tmp_path: Path) -> None:
    def completions(cls: type[GRPOTrainer], **kwargs: Any) -> list[list[int]]:
        trained = trainer(tmp_path, cls, config={"max_completion_length": None}, **kwargs)
        torch.manual_seed(0)
        return trained._generate_and_score_completions([DATASET[0]] * 2 * GROUP)["completion_ids"].tolist()

    assert completions(LensTrainer, row_seeded=True) == completions(GRPOTrainer)


def test_completions_beyond_the_positions_of_the_policy_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LensError, match=r"tokens and 2040 new ones exceed the policy's 2048 positions: lower max_new"):
        trainer(tmp_path, config={"max_completion_length": 2040}).train()


# --- engines ---


class WithoutANumber(TransformersEngine):
    """Gives no log-probability for the second token of the first completion, as vLLM at times does."""

    def sample_ids(self, *args: Any, **kwargs: Any) -> Sampled:
        drawn = super().sample_ids(*args, **kwargs)
        drawn.logprobs[0][1] = float("nan")
        return drawn


def test_token_without_a_log_probability_takes_no_part_in_the_loss(tmp_path: Path) -> None:
    def gradient(token: int | None) -> torch.Tensor:
        """With the policy's own number for it, and another token's in its place."""
        engine = WithoutANumber(tiny_policy(), character_tokenizer())
        trained = trainer(tmp_path, engine=engine, estimator=constant_objective_of_one)
        trained.current_gradient_accumulation_steps = 1
        batch = trained._generate_and_score_completions([DATASET[0]] * 2 * GROUP)
        if token is not None:
            batch["old_per_token_logps"][0, 1] = token
        trained._compute_loss(trained.model, batch).backward()
        return torch.cat([p.grad.flatten() for p in trained.model.parameters()])

    plain = gradient(None)
    assert plain.isfinite().all()
    torch.testing.assert_close(gradient(-5), plain)  # a ratio of e^5 would be clipped


def constant_objective_of_one(rewards: torch.Tensor, confidences: torch.Tensor, entropies: Any) -> torch.Tensor:
    return torch.ones_like(rewards)


# --- checkpoints ---


@pytest.mark.parametrize("limit", [None, 2, 1])
def test_best_checkpoint_is_kept_and_loaded_as_in_trl(tmp_path: Path, limit: int | None) -> None:
    fields = {"max_steps": 4, "save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1,
              "load_best_model_at_end": True, "metric_for_best_model": "eval_reward", "save_total_limit": limit,
              "per_device_eval_batch_size": 2 * GROUP, "learning_rate": 0.1}  # fmt: skip
    found = {}
    for cls in (GRPOTrainer, LensTrainer):
        folder = tmp_path / cls.__name__
        trained = trainer(folder, cls, eval_dataset=DATASET.select(range(2)), config=fields,
                          **({"lens": LensConfig(variant="off")} if cls is LensTrainer else {}))  # fmt: skip
        trained.train()
        best = Path(trained.state.best_model_checkpoint)
        kept = sorted(path.name for path in folder.glob("checkpoint-*"))
        state = json.loads((folder / kept[-1] / "trainer_state.json").read_text())
        named = Path(state["best_model_checkpoint"]).relative_to(folder)
        found[cls] = (best.relative_to(folder), best.exists(), kept, named)
    assert found[LensTrainer] == found[GRPOTrainer]


@pytest.mark.parametrize(("groups", "kept"), [("equal", {2}), ("all_right", {1, 2})])
def test_dynamic_sampling_replaces_the_groups_that_it_is_told_to(tmp_path: Path, groups: str, kept: set[int]) -> None:
    def by_problem(completions: list[str], answer: list[str], **_: Any) -> list[float]:
        """Of three problems, all right, none right and one right."""
        kinds = [(1, 1, 1, 1), (0, 0, 0, 0), (1, 0, 0, 0)]
        return [float(kinds[int(each) // 2 % 3][place % GROUP]) for place, each in enumerate(answer)]

    trained = trainer(tmp_path, reward=by_problem, resample_rounds=8, resample_groups=groups)
    batch = trained._dynamic_sampling([DATASET[0]] * GROUP + [DATASET[3]] * GROUP)  # all right
    prompts = character_tokenizer().batch_decode(batch["prompt_ids"][::GROUP], skip_special_tokens=True)
    assert {DATASET["prompt"].index(prompt) % 3 for prompt in prompts} <= kept
