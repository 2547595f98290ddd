"""The policy's forward pass with less work than TRL's, and the same gradient.

Dimensions: B rows (completions), T completion tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.functional import pad

from lens_core.config import EconomyConfig
from lens_core.rollout.decode import Sampled
from lens_core.rollout.exact import causal_lm
from lens_core.training.economy import (
    Batch,
    SharedPrompts,
    filled_up,
    length_buckets,
    loss_factor,
    pass_overhead_tokens,
    shareable,
    sharing_pays,
    take_rows,
    thin,
    trimmed,
)
from lens_core.training.trl_trainer import GRPOTrainer


class ForwardMixin(GRPOTrainer):
    """Leaves out of LensTrainer's loss what carries no gradient, and out of its passes padding and repeated prompts."""

    economy: EconomyConfig
    _drawn: Sampled | None

    def _compute_loss(self, model: Any, inputs: Batch) -> Tensor:
        linear = not (self.beta or self._entropy_bonus_enabled or self.off_policy_mask_threshold)
        if not (self.model.training and linear and self._rows_are_independent(inputs)):
            return super()._compute_loss(model, inputs)
        thinned = thin(inputs, self.economy.skip_zero_advantages, self.economy.merge_identical)
        if not self._has_whole_policy:
            thinned = self._as_many_rows_as_other_ranks(inputs, thinned)
        if thinned is None:
            return self._no_loss(model, inputs)
        return super()._compute_loss(model, thinned) * loss_factor(thinned, inputs, self.loss_type)

    @property
    def _has_whole_policy(self) -> bool:
        """Whether this process shares the policy with no other and no wrapper, and may call any part of it at will.

        FSDP2 and ZeRO-3 cut a policy up on one device too.
        """
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        return self.accelerator.num_processes == 1 and not sharded

    def _no_loss(self, model: Any, batch: Batch) -> Tensor:
        """A zero that can be differentiated, where no rank has a row with gradient.

        The last micro-batch of a step goes through the wrapped policy all the same: only there do DDP and FSDP reduce
        what they held back of the micro-batches before.
        """
        if self._has_whole_policy or not self.accelerator.sync_gradients:
            return _zero(self.model)
        length = int(batch["prompt_mask"][0].sum())
        ids, mask = batch["prompt_ids"][:1, -length:], batch["prompt_mask"][:1, -length:]
        zero: Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits.sum() * 0.0
        return zero

    def _as_many_rows_as_other_ranks(self, batch: Batch, thinned: Batch | None) -> Batch | None:
        """Collective operations inside of super's loss need equal shapes: short ranks repeat a row without gradient."""
        rows = 0 if thinned is None else len(thinned["advantages"])
        most = int(self.accelerator.gather(torch.tensor([rows], device=self.accelerator.device)).max())
        if most == 0:
            return None
        if thinned is None:
            thinned = take_rows(batch, torch.tensor([0], device=batch["advantages"].device))  # its advantage is 0
        return filled_up(thinned, most)

    def _rows_are_independent(self, inputs: Mapping[str, Any]) -> bool:
        """Whether the loss is a sum over rows: no mixture-of-experts balance, no quantile over the batch, no images."""
        images = any(name.startswith(("pixel_", "image_", "num_images", "mm_", "token_type")) for name in inputs)
        return not (self.aux_loss_enabled or self.top_entropy_quantile < 1.0 or images)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **multimodal: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        score = super()._get_per_token_logps_and_entropies
        if compute_aux_loss or any(value is not None for value in multimodal.values()):
            return score(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, compute_aux_loss,
                **multimodal,
            )  # fmt: skip
        reusable = self._sampling_logprobs_for(model, logits_to_keep) if not compute_entropy else None
        if reusable is not None:
            return reusable, None, None
        return self._score_in_buckets(
            score, model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy
        )

    def _sampling_logprobs_for(self, model: Any, width: int) -> Tensor | None:
        """What sampling computed, where TRL is about to ask the same policy for the same numbers again."""
        asked = self.economy.reuse_sampling_logprobs and not torch.is_grad_enabled() and model is self.model
        exact = not (self.args.bf16 or self.args.fp16 or self.beta)  # beta: a reference may hide in the same model
        if self._drawn is None or not (asked and exact):
            return None
        return padded(self._drawn.logprobs, (len(self._drawn.logprobs), width), self.accelerator.device)

    def _score_in_buckets(
        self,
        score: Callable[..., tuple[Tensor, Tensor | None, Tensor | None]],
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        width: int,
        batch_size: int | None,
        compute_entropy: bool,
    ) -> tuple[Tensor, Tensor | None, None]:
        """Super's scoring of [B, prompt + completion] tokens, bucket by bucket, put together as if it were one pass."""
        prompt_BT, prompt_mask_BT = trimmed(input_ids[:, :-width], attention_mask[:, :-width])
        completion_BT, mask_BT = input_ids[:, -width:], attention_mask[:, -width:]
        lengths = mask_BT.sum(dim=1).clamp(min=1).tolist()
        # More passes on one rank than on another would leave both waiting; shards are gone after one pass.
        alone = self._has_whole_policy
        cut = self.economy.length_buckets and alone
        buckets = length_buckets(lengths, self._pass_overhead) if cut else [list(range(len(lengths)))]
        whole = batch_size is None or batch_size >= len(lengths)
        shared = self._shared_prompts(model, prompt_BT, prompt_mask_BT, lengths) if alone and whole else None
        pieces = []
        for bucket in buckets:
            rows, longest = torch.tensor(bucket, device=input_ids.device), max(lengths[row] for row in bucket)
            if shared is None:
                start_BT, start_mask_BT = trimmed(prompt_BT[rows], prompt_mask_BT[rows])
            else:  # the prompt's last token predicts the completion's first
                start_BT, start_mask_BT = prompt_BT[rows, -1:], prompt_mask_BT[rows, -1:]
            logprobs, entropies, _ = score(
                model if shared is None else shared.followed_by(model, rows),
                torch.cat([start_BT, completion_BT[rows, :longest]], dim=1),
                torch.cat([start_mask_BT, mask_BT[rows, :longest]], dim=1),
                longest,
                batch_size,
                compute_entropy,
            )
            pieces.append([pad(table, (0, width - longest)) for table in (logprobs, entropies) if table is not None])
        order = torch.tensor([row for bucket in buckets for row in bucket], device=input_ids.device).argsort()
        tables = [torch.cat(table)[order] for table in zip(*pieces, strict=True)]
        return tables[0], tables[1] if compute_entropy else None, None

    @cached_property
    def _pass_overhead(self) -> float:
        """In tokens. It counts every parameter, which is too much work for each micro-batch."""
        policy = causal_lm(self.accelerator.unwrap_model(self.model))
        return pass_overhead_tokens(policy, self.accelerator.device.type)

    def _shared_prompts(
        self, model: Any, prompt_BT: Tensor, mask_BT: Tensor, lengths: Sequence[int]
    ) -> SharedPrompts | None:
        """The prompts of a batch, computed once each, where that is possible and pays."""
        decoder = causal_lm(self.accelerator.unwrap_model(model))
        # Checkpointed layers run twice and would fill the cache twice.
        possible = self.economy.share_prompts and not self.args.gradient_checkpointing and shareable(decoder)
        if not possible:
            return None
        # On a CPU the second pass is worth its overhead wherever it saves a tenth.
        overhead = 0.0 if prompt_BT.device.type == "cpu" else self._pass_overhead
        if not sharing_pays(prompt_BT, mask_BT, lengths, overhead):
            return None
        with self.accelerator.autocast():
            return SharedPrompts(decoder.base_model, prompt_BT[:, :-1], mask_BT[:, :-1])


def keep_float32(accelerator: Accelerator) -> None:
    """Let a policy that FSDP2 shards in half precision give log-probabilities, and take gradients, in float32.

    Accelerate would have it round both: at a log-probability of -5 bfloat16 is off by 0.02, and the importance ratio by
    two per cent.
    """
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is not None and plugin.fsdp_version == 2 and plugin.mixed_precision_policy is not None:
        exact = replace(plugin.mixed_precision_policy, reduce_dtype=torch.float32, output_dtype=None)
        plugin.mixed_precision_policy = exact


def padded(rows: Sequence[Sequence[float]], shape: tuple[int, int], device: torch.device) -> Tensor:
    """Rows of unequal length as one table, 0 where a row has ended."""
    table = torch.zeros(shape, device=device)
    for index, row in enumerate(rows):
        table[index, : len(row)] = torch.tensor(row, device=device)
    return table


def _zero(model: torch.nn.Module) -> Tensor:
    """Of the parameters as they are; of a sharded policy, each process's own."""
    parameters = [p.to_local() if isinstance(p, DTensor) else p for p in model.parameters() if p.requires_grad]
    return sum((p.sum() * 0.0 for p in parameters), torch.zeros(()))
