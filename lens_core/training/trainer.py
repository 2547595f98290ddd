"""LENS on TRL: the advantage is ours, the rest of the step is GRPOTrainer's.

    trainer = LensTrainer(model, reward_funcs=math_reward, args=GRPOConfig(...), train_dataset=dataset)
    trainer.train()

Super is called, never copied. What is extended, in the order of a step:

    _calculate_rewards                    keeps the rewards of all ranks
    _generate_and_score_completions       replaces the advantages

and in files of their own

    _generate_single_turn                 keeps the log-probabilities that completions were drawn with (drawing.py)
    _compute_loss                         leaves out what carries no gradient (forward.py)
    _get_per_token_logps_and_entropies    the policy's forward pass, without padding or repeated prompts (forward.py)
    _dynamic_sampling                     groups whose rewards differ, from further prompts (dynamic_sampling.py)
    _get_grad_norm                        drops a gradient that is not finite (nonfinite.py)
    _save_checkpoint                      everything or nothing (checkpoint.py)

Dimensions: P prompts (groups), G answers in a group, B = P * G rows, T completion tokens.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from accelerate.utils import set_seed
from datasets import Dataset
from torch import Tensor

from lens_core import baselines
from lens_core.config import EconomyConfig
from lens_core.errors import LensError
from lens_core.objective import LensConfig, confidence
from lens_core.rollout.decode import Sampled
from lens_core.rollout.engine import Sampler
from lens_core.rollout.exact import causal_lm, inexact_decoding, inexact_passes
from lens_core.training.drawing import DrawingMixin
from lens_core.training.dynamic_sampling import DynamicSamplingMixin
from lens_core.training.economy import Batch, loss_mask
from lens_core.training.engine_rollouts import AsyncSampler, Draws
from lens_core.training.forward import ForwardMixin, keep_float32, padded
from lens_core.training.group_metrics import group_metrics
from lens_core.training.nonfinite import NonFiniteMixin, SkippedSteps
from lens_core.training.reward_range import scaled, told_how_to_scale
from lens_core.training.trl_trainer import GRPOTrainer

if TYPE_CHECKING:
    from torch.distributed.checkpoint.stateful import Stateful  # a second of imports

logger = logging.getLogger(__name__)


class LensTrainer(DynamicSamplingMixin, DrawingMixin, ForwardMixin, NonFiniteMixin, GRPOTrainer):
    """TRL's GRPOTrainer with LENS advantages (arXiv 2510.08696), or those of any estimator in `baselines`.

    Takes every argument of GRPOTrainer, and:

    Args:
        lens: the objective; `LensConfig(variant="off")` is GRPO by the same code.
        estimator: another objective instead: a function of (rewards, confidences, entropies) as in `baselines`, its
            parameters bound with `functools.partial`.
        success_threshold: rewards above it count as right in metrics; None: the objective's own.
        resample_rounds: DAPO's dynamic sampling: groups without differing rewards are dropped and other prompts drawn
            until the batch is full, in at most so many further rounds; what is missing then is filled with dropped
            groups. 0: off, as LENS needs it.
        resample_groups: `all_right`: only groups in which all are right are dropped, as NGRPO's authors do.
        economy: ways to the same gradient with less work, all on by default; none is used with a kind of model that
            it was not tested with (docs/conformance.md), which a warning says.
        engine: where completions come from; None: the policy itself, or TRL's vLLM where `args.use_vllm` is set. With
            several ranks it is asked by the main one, for all of them.
        max_off_policy: so many batches of completions an `AsyncSampler` may draw ahead of the one that is trained on.
        row_seeded: a completion depends on `args.seed` and its place in the batch of all ranks, so that runs on more or
            fewer ranks draw the same ones (from an engine or with `economy.lean_decoding`). False: as TRL draws them.
        reward_range: (lowest, highest) that the weighted sum of the reward functions can be, where that is not (0, 1):
            LENS and its rivals, thresholds and metrics get it mapped to [0, 1]; TRL's own log keeps it as it is.
        truncated_leave_group: completions that `args.mask_truncated_completions` masks leave their group's statistics
            too. False: only the loss leaves them out, as in TRL.
        max_tokens: the run ends with the step in which so many completion tokens have been generated; None: no limit.
        max_ungraded_share: the run stops with a LensError when more than this share of a generation batch could not
            be graded (reward None or NaN). Ungraded answers otherwise take no part in their group and get no gradient.
        max_skipped_steps: the run stops with a LensError after so many steps in a row without a finite gradient. A
            single one is skipped and counted in the metric `skipped_steps`.
        run_state: strings that go into every checkpoint, for example the id of a tracked run.

    The paper's loss is `GRPOConfig(loss_type="grpo", beta=0.0, epsilon=0.2)`; TRL's default loss type is "dapo".

    Raises:
        ValueError: if `args` asks TRL to normalise rewards in a way that would be overwritten, if dynamic sampling
            would have to split a group over ranks, or if there are fewer problems than a batch takes.
    """

    def __init__(
        self,
        *args: Any,
        lens: LensConfig | None = None,
        estimator: baselines.Estimator | None = None,
        success_threshold: float | None = None,
        resample_rounds: int = 0,
        resample_groups: Literal["equal", "all_right"] = "equal",
        economy: EconomyConfig | None = None,
        engine: Sampler | None = None,
        max_off_policy: int = 0,
        row_seeded: bool = False,
        reward_range: tuple[float, float] | None = None,
        truncated_leave_group: bool = False,
        max_tokens: int | None = None,
        max_ungraded_share: float = 0.1,
        max_skipped_steps: int = 5,
        run_state: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        keep_float32(self.accelerator)
        if self.use_vllm and self.vllm_mode == "colocate":
            # It shares this process's random generators, and has reset them as it started, whatever args.seed is.
            set_seed(self.args.seed, device_specific=True)
        if lens is not None and estimator is not None:
            raise ValueError("pass either lens or estimator, not both")
        self.lens = LensConfig() if lens is None else lens
        self.estimator = partial(baselines.lens, **asdict(self.lens)) if estimator is None else estimator
        self.success_threshold = self.lens.success_threshold if success_threshold is None else success_threshold
        self.resample_rounds, self.resample_groups = resample_rounds, resample_groups
        self.economy = self._proven(EconomyConfig() if economy is None else economy)
        self.engine = engine
        self.max_off_policy = max_off_policy
        self.row_seeded = row_seeded
        self.reward_range = reward_range
        self.truncated_leave_group = truncated_leave_group
        self.max_tokens = max_tokens
        self.max_ungraded_share = max_ungraded_share
        self.run_state = {} if run_state is None else dict(run_state)
        self._policy_config = causal_lm(self.model).config
        self._check_arguments()
        self._inputs: list[dict[str, Any]] = []
        self._reward_B: Tensor | None = None
        self._drawn: Sampled | None = None
        self.draws, self.skipped_steps = Draws(), SkippedSteps(max_skipped_steps)
        self._generated_tokens = 0
        self._ahead = deque()

    def _check_arguments(self) -> None:
        if self.scale_rewards != "group" or self.multi_objective_aggregation != "sum_then_normalize":
            raise ValueError(
                "LensTrainer normalises rewards itself: leave scale_rewards='group' and "
                "multi_objective_aggregation='sum_then_normalize'"
            )
        if self.engine is not None and hasattr(self.model, "peft_config"):
            raise ValueError("an engine of its own samples full weights: with LoRA, use engine=None or args.use_vllm")
        if self.max_off_policy and (self.resample_rounds or not isinstance(self.engine, AsyncSampler)):
            raise ValueError("max_off_policy needs an engine that draws ahead (AsyncSampler), and resample_rounds=0")
        if self.engine is not None and self.max_completion_length is None:
            raise ValueError("an engine needs args.max_completion_length")
        if self.reward_range is not None and not self.reward_range[0] < self.reward_range[1]:
            raise ValueError(f"reward_range is {self.reward_range}; the first must be below the second")
        prompts = self.args.generation_batch_size // self.num_generations
        if isinstance(self.train_dataset, Dataset) and len(self.train_dataset) < prompts:
            raise ValueError(
                f"train_dataset has {len(self.train_dataset)} problems, and a generation batch takes {prompts} "
                "(args.generation_batch_size / args.num_generations): lower per_device_train_batch_size or "
                "steps_per_generation, or bring more data"
            )
        if self.resample_rounds and self.args.generation_batch_size // self.args.world_size % self.num_generations:
            raise ValueError(
                f"dynamic sampling needs whole groups on every rank: choose a batch that {self.num_generations} "
                f"x {self.args.world_size} (num_generations x ranks) divides"
            )
        if not self._samples_the_whole_softmax():
            logger.warning(
                "top_p, top_k, min_p and repetition_penalty bias confidence and the importance ratio; "
                "LENS expects them off"
            )

    def _proven(self, economy: EconomyConfig) -> EconomyConfig:
        """`economy`, or none where it is not known to be exact for this policy."""
        reason = inexact_passes(self.model, self.args.bf16 or self.args.fp16)
        if reason is None:
            slow = inexact_decoding(self.model) if economy.lean_decoding else None
            if slow is not None:
                logger.warning("completions are drawn by generate, which takes longer: the policy %s", slow)
            return economy
        if any(dict(economy).values()):
            logger.warning("the policy is computed as TRL computes it, which takes longer: it %s", reason)
        return EconomyConfig(**dict.fromkeys(EconomyConfig.model_fields, False))

    # -- Rewards and advantages ----------------------------------------------------------------------------------------

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        rewards_per_func = super()._calculate_rewards(*args, **kwargs)  # [B of all ranks, functions]
        weighted = (rewards_per_func * self.reward_weights.to(rewards_per_func.device)).nansum(dim=1)
        self._reward_B = weighted.masked_fill(rewards_per_func.isnan().all(dim=1), torch.nan)
        return rewards_per_func

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Batch:
        if not (self.resample_rounds and self.model.training):
            return self._rollout(inputs)[0]
        return self._dynamic_sampling(inputs)

    def _rollout(self, inputs: list[dict[str, Any]]) -> tuple[Batch, Tensor | None]:
        """One generation batch with our advantages, and the rewards [P, G] of all ranks (None without groups)."""
        self._inputs, self._generated_tokens = inputs, 0
        batch = super()._generate_and_score_completions(inputs)
        mode = "train" if self.model.training else "eval"
        group_size = self.num_generations if mode == "train" else self.num_generations_eval
        if group_size < 2:  # evaluation with one answer a prompt: there is no group to compare with
            return batch, None
        mask_BT, logprob_BT, entropy_BT = self._counted_logprobs(batch)
        if self.engine is not None:
            # The engine is not bit for bit the policy, and may be behind it: the clipped ratio corrects for what it
            # really sampled from.
            batch["old_per_token_logps"] = logprob_BT
            batch["tool_mask"] = mask_BT  # without tokens that the engine gave no number for
        # A group may straddle ranks: everything that compares its answers is gathered first.
        gather = self.accelerator.gather
        confidence_PG = gather(confidence(logprob_BT, mask_BT)).view(-1, group_size)
        length_PG = gather(mask_BT.sum(dim=1)).view(-1, group_size)
        entropy_PGT = None
        if entropy_BT is not None:
            nan_padded = entropy_BT.masked_fill(mask_BT == 0, torch.nan)
            padded = self.accelerator.pad_across_processes(nan_padded, dim=1, pad_index=torch.nan)
            entropy_PGT = gather(padded).view(*confidence_PG.shape, -1)
        assert self._reward_B is not None
        reward_PG = scaled(self._reward_B, self.reward_range).view(-1, group_size)
        reward_PG = reward_PG.masked_fill(confidence_PG.isnan(), torch.nan)
        with told_how_to_scale(reward_PG):
            advantage = self.estimator(reward_PG, confidence_PG.nan_to_num(1.0), entropy_PGT)

        rows = len(batch["advantages"])
        first = self._first_row(rows)
        local = advantage.flatten(0, 1)[first : first + rows]
        batch["advantages"] = local if local.dim() == 1 else local[:, : mask_BT.shape[1]] * mask_BT
        trained_PG = gather(loss_mask(batch).any(dim=1)).view(-1, group_size)
        self._log_groups(mode, reward_PG, confidence_PG, advantage, length_PG, trained_PG)
        if mode == "train":
            # Not what the loss counts: answers that were cut off cost their tokens, whatever becomes of them.
            self._count_tokens(int(gather(torch.tensor([self._generated_tokens], device=mask_BT.device)).sum()))
        return batch, reward_PG

    def _counted_logprobs(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """`(mask_BT, logprob_BT, entropy_BT)` of the policy that sampled, from sampling itself where it has them.

        Entropies are None unless the estimator needs them.
        """
        drawn_BT = self._drawn_mask(batch)
        mask_BT = drawn_BT * batch["tool_mask"] if "tool_mask" in batch else drawn_BT
        need_entropies = baselines.needs_entropies(self.estimator)
        entropy_BT = None
        if need_entropies and self._drawn is not None:
            entropy_BT = padded(self._drawn.entropies, (len(mask_BT), mask_BT.shape[1]), mask_BT.device)
        # TRL scores the old policy without attention to what the loss masks.
        sources = ("sampling_per_token_logps", *(() if self.mask_truncated_completions else ("old_per_token_logps",)))
        for source in sources:
            if source in batch and (entropy_BT is not None or not need_entropies):
                logprob_BT = batch[source]
                mask_BT = mask_BT * ~logprob_BT.isnan()  # vLLM: NaN where it has no score
                return mask_BT, logprob_BT.nan_to_num(), entropy_BT
        with torch.no_grad():
            logprob_BT, entropy_BT, _ = self._get_per_token_logps_and_entropies(
                self.model,
                torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
                torch.cat([batch["prompt_mask"], drawn_BT], dim=1),
                batch["completion_ids"].size(1),
                batch_size=self.args.per_device_train_batch_size,
                compute_entropy=need_entropies,
            )
        return mask_BT, logprob_BT, entropy_BT

    def _drawn_mask(self, batch: Batch) -> Tensor:
        """[B, T], 1 where a token was drawn, also of completions that the loss masks because they were cut off."""
        mask_BT: Tensor = batch["completion_mask"]
        if not self.mask_truncated_completions or self.truncated_leave_group or "tool_mask" in batch:
            return mask_BT
        length_B = torch.tensor(self._lengths, device=mask_BT.device)
        return (torch.arange(mask_BT.shape[1], device=mask_BT.device) < length_B.unsqueeze(1)).to(mask_BT.dtype)

    def _log_groups(
        self,
        mode: str,
        reward_PG: Tensor,
        confidence_PG: Tensor,
        advantage: Tensor,
        length_PG: Tensor,
        trained_PG: Tensor,
    ) -> None:
        """Our metrics, and our advantages in place of the plain GRPO ones that super has just logged.

        Args:
            trained_PG: False for completions that the loss masks: they get no gradient, whatever their advantage.

        Raises:
            LensError: if too many answers could not be graded.
        """
        advantage_PG = advantage
        rms_PG = advantage
        if advantage.dim() == 3:
            tokens_PG = length_PG.clamp(min=1)
            advantage_PG = advantage.sum(dim=2) / tokens_PG
            rms_PG = (advantage.square().sum(dim=2) / tokens_PG).sqrt()
        self._replace_logged_advantages(advantage_PG.flatten().tolist())
        metrics = group_metrics(reward_PG, confidence_PG, rms_PG * trained_PG, length_PG, self.success_threshold)
        for name, value in metrics.items():
            self._metrics[mode][f"lens/{name}"].append(value)
        # Not those of `reward_PG`: truncated answers that the loss masks have left their groups too.
        assert self._reward_B is not None
        ungraded = self._reward_B.isnan().float().mean().item()
        self._metrics[mode]["lens/ungraded"].append(ungraded)
        if ungraded > self.max_ungraded_share:
            raise LensError(
                f"{ungraded:.0%} of a batch's answers could not be graded (limit "
                f"{self.max_ungraded_share:.0%}): mend the reward function, or raise max_ungraded_share"
            )

    def _count_tokens(self, number: int) -> None:
        self.draws.tokens += number
        self._metrics["train"]["lens/tokens/generated"] = [float(self.draws.tokens)]
        if self.max_tokens is not None and self.draws.tokens >= self.max_tokens:
            self.control.should_training_stop = self.control.should_log = True  # after the step that is under way

    def _replace_logged_advantages(self, values: Sequence[float]) -> None:
        logged = self._logs["advantages"]
        for _ in range(min(len(values), len(logged))):
            logged.pop()
        logged.extend(values)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        for name, count in (("skipped_steps", self.skipped_steps.count), ("failed_saves", self._failed_saves)):
            self._metrics["train"][name].append(float(count))
        return norm

    def _parts(self) -> Sequence[Stateful]:
        return (self.draws, self.skipped_steps)
