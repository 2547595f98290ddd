"""LENS on TRL: the advantage is ours, every other line of the step is GRPOTrainer's.

    trainer = LensTrainer(model, reward_funcs=math_reward, args=GRPOConfig(...), train_dataset=dataset)
    trainer.train()

Super is called, never copied. Three of TRL's methods are extended: `_generate_single_turn` hands on the sampling
log-probabilities, `_calculate_rewards` keeps the rewards, `_generate_and_score_completions` replaces the advantages.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from lens_core.errors import LensError
from lens_core.objective import LensConfig, advantages, confidence
from lens_core.rollout.logprobs import sampling_logprobs
from lens_core.training.group_metrics import group_metrics

logger = logging.getLogger(__name__)


class LensTrainer(GRPOTrainer):
    """TRL's GRPOTrainer with LENS advantages (arXiv 2510.08696).

    Takes every argument of GRPOTrainer, and:

    Args:
        lens: the objective; `LensConfig(variant="off")` is GRPO by the same code.
        max_ungraded_share: the run stops with a LensError when more than this share of a generation batch could not
            be graded (reward None or NaN). Ungraded answers otherwise take no part in their group and get no gradient.

    The paper's loss is `GRPOConfig(loss_type="grpo", beta=0.0, epsilon=0.2)`; TRL's default loss type is "dapo".

    Raises:
        ValueError: if `args` asks TRL to normalise rewards in a way that LENS would overwrite.
    """

    def __init__(
        self, *args: Any, lens: LensConfig | None = None, max_ungraded_share: float = 0.1, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.lens = LensConfig() if lens is None else lens
        self.max_ungraded_share = max_ungraded_share
        if self.scale_rewards != "group" or self.multi_objective_aggregation != "sum_then_normalize":
            raise ValueError(
                "LensTrainer normalises rewards itself: leave scale_rewards='group' and "
                "multi_objective_aggregation='sum_then_normalize'"
            )
        if (self.args.top_p, self.args.top_k, self.args.min_p) not in ((1.0, 0, None), (1.0, None, None)):
            logger.warning("top_p, top_k and min_p bias confidence and the importance ratio; LENS expects them off")
        self._reward_B: Tensor | None = None

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> tuple[list[list[int]], list[list[float]] | None]:
        if self.use_vllm or self.use_transformers_continuous_batching:
            return super()._generate_single_turn(*args, **kwargs)
        model = self.accelerator.unwrap_model(self.model)
        decoder = model.get_base_model() if hasattr(model, "get_base_model") else model
        with sampling_logprobs(decoder, self.temperature) as recorder:
            completion_ids, _ = super()._generate_single_turn(*args, **kwargs)
        return completion_ids, recorder.rows(completion_ids)

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        rewards_per_func = super()._calculate_rewards(*args, **kwargs)  # [B of all ranks, functions]
        weighted = (rewards_per_func * self.reward_weights.to(rewards_per_func.device)).nansum(dim=1)
        self._reward_B = weighted.masked_fill(rewards_per_func.isnan().all(dim=1), torch.nan)
        return rewards_per_func

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        mode = "train" if self.model.training else "eval"
        group_size = self.num_generations if mode == "train" else self.num_generations_eval
        if group_size < 2:  # evaluation with one answer a prompt: there is no group to compare with
            return batch
        mask_BT, logprob_BT = self._counted_logprobs(batch)
        # A group may straddle ranks: everything that compares its answers is gathered first.
        confidence_PG = self.accelerator.gather(confidence(logprob_BT, mask_BT)).view(-1, group_size)
        length_PG = self.accelerator.gather(mask_BT.sum(dim=1)).view(-1, group_size)
        assert self._reward_B is not None
        reward_PG = self._reward_B.view(-1, group_size).masked_fill(confidence_PG.isnan(), torch.nan)
        advantage_PG = advantages(reward_PG, confidence_PG, self.lens)

        rows = len(batch["advantages"])
        first = self.accelerator.process_index * rows
        batch["advantages"] = advantage_PG.flatten()[first : first + rows]
        self._replace_logged_advantages(advantage_PG.flatten().tolist())
        metrics = group_metrics(reward_PG, confidence_PG, advantage_PG, length_PG, self.lens.success_threshold)
        for name, value in metrics.items():
            self._metrics[mode][f"lens/{name}"].append(value)
        if metrics["ungraded"] > self.max_ungraded_share:
            raise LensError(
                f"{metrics['ungraded']:.0%} of a batch's answers could not be graded (limit "
                f"{self.max_ungraded_share:.0%}): mend the reward function, or raise max_ungraded_share"
            )
        return batch

    def _counted_logprobs(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """`(mask_BT, logprob_BT)` of the policy that sampled: from sampling itself where TRL has it, else computed."""
        mask_BT = batch["completion_mask"]
        if "tool_mask" in batch:
            mask_BT = mask_BT * batch["tool_mask"]
        for source in ("sampling_per_token_logps", "old_per_token_logps"):
            if source in batch:
                logprob_BT = batch[source]
                return mask_BT * ~logprob_BT.isnan(), logprob_BT.nan_to_num()  # vLLM: NaN where it has no score
        with torch.no_grad():
            logprob_BT, _, _ = self._get_per_token_logps_and_entropies(
                self.model,
                torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
                torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1),
                batch["completion_ids"].size(1),
                batch_size=self.args.per_device_train_batch_size,
            )
        return mask_BT, logprob_BT

    def _replace_logged_advantages(self, values: list[float]) -> None:
        """Overwrite the advantages that super has just logged, which are plain GRPO's."""
        logged = self._logs["advantages"]
        for _ in range(min(len(values), len(logged))):
            logged.pop()
        logged.extend(values)
