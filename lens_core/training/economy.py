"""Identical gradients, less work: what of a batch has to go through the policy, and in which pieces.

    thin            answers whose advantage is 0 are left out; identical answers of a prompt become one that is weighted
    length_buckets  answers of like length go through together, so that little of what is computed is padding
    shared_prompts  a prompt goes through once, and its answers attend to the keys and values that it left

Each is exact (the same gradient up to rounding) and can be switched off in `EconomyConfig`.

Dimensions: B rows (answers), P distinct prompts, T completion tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

Batch = dict[str, Any]
"""What TRL's `_generate_and_score_completions` returns: tensors [B, ...] and scalars."""

_PASS_OVERHEAD_TOKENS_CPU = 256
"""What one more forward pass costs, in tokens: a small model on a CPU spends that long on its Python."""
_LAYER_OVERHEAD_PARAMETER_TOKENS = 3e11
"""On an accelerator: in the time that it takes to launch a layer's kernels, so many parameters x tokens are computed.
An H200 launches the 24 layers of a 0.5 B model in 35 ms, in which it would compute about 14,000 tokens."""
_SHARING_PAYS_FROM = 0.1
"""Share of the tokens that shared prompts must save to be worth a second pass."""
_MEAN_OVER_ROWS = ("grpo", "sapo", "dr_grpo", "luspo")
_MEAN_OVER_TOKENS = ("bnpo",)
_ROW_NAMES_THAT_MAY_DIFFER = ("advantages", "sampling_per_token_logps")
"""Two rows that differ in nothing else have the same gradient per unit of advantage."""


def thin(batch: Batch, skip_zeros: bool, merge: bool) -> Batch | None:
    """The rows that carry gradient; None where there are none. Their loss has to be scaled by `loss_factor`.

    The clipped loss is linear in an advantage as long as its sign stays, so that identical answers may be replaced by
    one with the sum of their advantages.
    """
    thinned = batch
    if skip_zeros:
        advantage = batch["advantages"]
        kept = (advantage.view(len(advantage), -1) != 0).any(dim=1).nonzero().squeeze(1)
        if len(kept) == 0:
            return None
        thinned = take_rows(batch, kept)
    if merge:
        first, merged = _merge_identical(thinned)
        thinned = {**take_rows(thinned, first), "advantages": merged}
    return thinned


def loss_factor(thinned: Batch, batch: Batch, loss_type: str) -> float:
    """What the loss of the thinned batch has to be multiplied with: every denominator counts what was sampled.

    Args:
        loss_type: TRL's name; it says what the loss is divided by.
    """
    if loss_type in _MEAN_OVER_ROWS:
        return len(thinned["advantages"]) / len(batch["advantages"])
    if loss_type in _MEAN_OVER_TOKENS:
        return float(loss_mask(thinned).sum() / loss_mask(batch).sum().clamp(min=1))
    return 1.0  # "dapo" and its kin divide by num_items_in_batch, which travels with the batch


def filled_up(batch: Batch, rows: int) -> Batch:
    """`batch` with its first row repeated, without gradient, until it has `rows` rows."""
    missing = rows - len(batch["advantages"])
    device = batch["advantages"].device
    order = torch.cat(
        [torch.arange(rows - missing, device=device), torch.zeros(missing, dtype=torch.long, device=device)]
    )
    filled = take_rows(batch, order)
    filled["advantages"][rows - missing :] = 0
    return filled


def take_rows(batch: Batch, rows: Tensor) -> Batch:
    """The same batch with `rows` only; what has no row dimension stays."""
    size = len(batch["advantages"])
    return {
        name: value[rows] if isinstance(value, Tensor) and value.dim() and len(value) == size else value
        for name, value in batch.items()
    }


def _merge_identical(batch: Batch) -> tuple[Tensor, Tensor]:
    """`(rows, advantages)`: the first row of each kind, and the summed advantages of its kind."""
    advantage = batch["advantages"]
    names = sorted(
        name
        for name, value in batch.items()
        if isinstance(value, Tensor) and value.dim() and name not in _ROW_NAMES_THAT_MAY_DIFFER
    )
    tables = [batch[name].cpu().numpy() for name in names] + [advantage.sign().cpu().numpy()]
    kinds: dict[tuple[bytes, ...], int] = {}
    kind_B = [
        kinds.setdefault(tuple(table[row].tobytes() for table in tables), len(kinds)) for row in range(len(advantage))
    ]
    kind = torch.tensor(kind_B, device=advantage.device)
    merged = advantage.new_zeros(len(kinds), *advantage.shape[1:]).index_add_(0, kind, advantage)
    first = torch.tensor([kind_B.index(index) for index in range(len(kinds))], device=advantage.device)
    return first, merged


def loss_mask(batch: Batch) -> Tensor:
    """[B, T], 1 where a token counts in the loss."""
    mask: Tensor = batch["completion_mask"]
    return mask * batch["tool_mask"] if "tool_mask" in batch else mask


def pass_overhead_tokens(model: PreTrainedModel, device_type: str) -> float:
    """What one more pass through `model` costs beside its tokens, in tokens."""
    if device_type == "cpu":
        return _PASS_OVERHEAD_TOKENS_CPU
    return _LAYER_OVERHEAD_PARAMETER_TOKENS * model.config.get_text_config().num_hidden_layers / model.num_parameters()


def length_buckets(lengths: Sequence[int], overhead_tokens: float) -> list[list[int]]:
    """Rows by length, in the buckets that cost least: padded tokens, and the overhead of a pass for each bucket.

    Args:
        lengths: tokens of each row.
        overhead_tokens: what one more pass costs.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    cuts = [i for i in range(len(order)) if i == 0 or lengths[order[i]] != lengths[order[i - 1]]] + [len(order)]
    cost, start = [0.0] * len(cuts), [0] * len(cuts)
    for end in range(1, len(cuts)):
        cost[end], start[end] = min(
            (cost[i] + (cuts[end] - cuts[i]) * lengths[order[cuts[i]]] + overhead_tokens, i) for i in range(end)
        )
    buckets, end = [], len(cuts) - 1
    while end > 0:
        buckets.append(order[cuts[start[end]] : cuts[end]])
        end = start[end]
    return buckets


def trimmed(prompt_BT: Tensor, prompt_mask_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Left-padded prompts without the columns that are padding in every row."""
    width = max(1, int(prompt_mask_BT.sum(dim=1).max()))
    return prompt_BT[:, -width:], prompt_mask_BT[:, -width:]


class SharedPrompts:
    """Distinct prompts, gone through the backbone once with gradient, for all answers that follow them."""

    def __init__(self, backbone: PreTrainedModel, prompt_BT: Tensor, mask_BT: Tensor) -> None:
        both = torch.cat([prompt_BT, mask_BT], dim=1)
        distinct, self._prompt_B = torch.unique(both, dim=0, return_inverse=True)
        prompt_PT, mask_PT = distinct.chunk(2, dim=1)
        self._mask_BT = mask_BT
        self._cache = DynamicCache()
        backbone(input_ids=prompt_PT, attention_mask=mask_PT, past_key_values=self._cache, use_cache=True)

    def followed_by(self, model: Callable[..., Any], rows: Tensor) -> Callable[..., Any]:
        """`model` as it sees tokens after the prompts of `rows`: the same call, with the tokens that follow."""
        cache, prompts = DynamicCache(), self._prompt_B[rows]
        for index, layer in enumerate(self._cache.layers):
            cache.update(layer.keys[prompts], layer.values[prompts], index)

        def call(attention_mask: Tensor, **inputs: Any) -> Any:
            mask = torch.cat([self._mask_BT[rows], attention_mask], dim=1)
            return model(attention_mask=mask, past_key_values=cache, **inputs)

        return call


def shareable(model: PreTrainedModel) -> bool:
    """Whether prompts of `model`, of a kind that is proven, can be shared: it attends to all of them."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


def sharing_pays(prompt_BT: Tensor, mask_BT: Tensor, lengths: Sequence[int], overhead_tokens: float = 0) -> bool:
    """Whether sharing saves a worthwhile part of the tokens of prompts and completions (of `lengths`).

    Args:
        overhead_tokens: what the pass through the prompts costs beside its tokens.
    """
    distinct = len(torch.unique(torch.cat([prompt_BT, mask_BT], dim=1), dim=0))
    saved = (len(prompt_BT) - distinct) * (prompt_BT.shape[1] - 1)
    return saved > max(overhead_tokens, _SHARING_PAYS_FROM * (prompt_BT.numel() + sum(lengths)))


_PADDED_ON_THE_LEFT = ("prompt_ids", "prompt_mask")
_HOLDS_TOKENS = ("prompt_ids", "completion_ids")


def take_groups(batch: Batch, chosen_P: Tensor, group_size: int) -> Batch:
    """The rows of the groups where `chosen_P` is True."""
    return take_rows(batch, chosen_P.repeat_interleave(group_size).nonzero().squeeze(1))


def concatenated(batches: Sequence[Batch], pad_token_id: int, rows: int) -> Batch:
    """The first `rows` rows of `batches` as one batch, padded to common widths; scalars are the first batch's."""
    whole = dict(batches[0])
    for name, value in batches[0].items():
        if not (isinstance(value, Tensor) and value.dim()):
            continue
        tables = [batch[name] for batch in batches]
        if value.dim() == 2:
            width = max(table.shape[1] for table in tables)
            filler = pad_token_id if name in _HOLDS_TOKENS else 0
            left = name in _PADDED_ON_THE_LEFT
            tables = [
                pad(table, (missing, 0) if left else (0, missing), value=filler)
                for table in tables
                for missing in [width - table.shape[1]]
            ]
        whole[name] = torch.cat(tables)[:rows]
    return whole
