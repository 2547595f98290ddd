"""Dynamic sampling's bookkeeping: taking groups out of generation batches, and making one batch of several.

A batch is what TRL's `_generate_and_score_completions` returns: tensors [B, ...] and scalars, B = P * G rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from lens_core.training.economy import Batch, take_rows

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
