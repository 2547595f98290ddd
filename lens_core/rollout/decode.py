"""Sampling without waste: the draws of `generate`, for fewer forward passes' worth of work.

    each distinct prompt is read once            not once for each answer of its group
    answers that have ended leave the batch      instead of being fed padding until the longest one ends
    the key-value cache grows in place           instead of being copied for every token
    weights are packed once for oneDNN           on a CPU, instead of for every token

Without numbers of its own for each row, noise is drawn for the whole batch, ended answers included, exactly as
`torch.multinomial` draws it inside `generate`: the same seed gives the same completions, up to rounding in the logits.
With `row_uniforms`, a row's completion depends on its seed and place alone, however a batch is cut up.

Dimensions: B rows (answers), P distinct prompts, R rows still in the batch, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from lens_core.progress import token_drawn

OnEnd = Callable[[int, list[int]], None]
"""Called with an answer's row and token ids as soon as it ends, while others are still being decoded."""

_COMPACT_BELOW = 0.8
"""Ended rows leave once the rest is less than this share of the batch: each time costs a copy of the cache."""


_PACKED_FROM_ELEMENTS = 2**18
"""Smaller weights fit a cache as they are."""
_PACKED_FOR_ROWS = 16
"""A hint for the layout: what is left of a batch for most of a generation."""


@dataclass(frozen=True)
class Sampled:
    """What was drawn for each of B rows."""

    token_ids: list[list[int]]
    """Up to and including the end-of-sequence token, where one was drawn."""
    logprobs: list[list[float]]
    """log-probability of each token under the distribution that it was drawn from."""
    entropies: list[list[float]]
    """Entropy of that distribution, in nats; empty lists unless asked for."""


@torch.no_grad()
def sample(
    model: PreTrainedModel,
    prompt_BT: Tensor,
    mask_BT: Tensor,
    temperature: float,
    max_new_tokens: int,
    end_tokens: Collection[int],
    want_entropies: bool = False,
    on_end: OnEnd | None = None,
    uniform_BT: Tensor | None = None,
) -> Sampled:
    """Draw one completion for each row from the softmax at `temperature`, no filters.

    Args:
        prompt_BT: token ids, left-padded.
        mask_BT: 1 where a prompt token counts.
        end_tokens: ids that end a completion.
        uniform_BT: in (0, 1], what each token is drawn with (`row_uniforms`); None: random numbers come from torch's
            global generator of the model's device, as in `generate`.
    """
    tape = _Tape(len(prompt_BT), max_new_tokens, prompt_BT.device, want_entropies, uniform_BT)
    with _packed_linears(model):
        _sample(model, prompt_BT, mask_BT, temperature, max_new_tokens, end_tokens, tape, on_end)
    return tape.sampled()


def _sample(
    model: PreTrainedModel,
    prompt_BT: Tensor,
    mask_BT: Tensor,
    temperature: float,
    max_new_tokens: int,
    end_tokens: Collection[int],
    tape: _Tape,
    on_end: OnEnd | None,
) -> None:
    device, rows = prompt_BT.device, len(prompt_BT)
    ends = torch.tensor(sorted(end_tokens), device=device)
    logits, cache, mask = _prefill(model, prompt_BT, mask_BT)
    position = mask.sum(dim=1, keepdim=True)
    row_R = torch.arange(rows, device=device)
    open_R = torch.ones(rows, dtype=torch.bool, device=device)
    for step in range(max_new_tokens):
        token_R = tape.draw(logits, temperature, step, row_R, open_R)
        token_drawn(step + 1, max_new_tokens)
        ended = open_R & torch.isin(token_R, ends)
        open_R = open_R & ~ended
        if on_end is not None:
            for row in row_R[ended].tolist():
                on_end(row, tape.token_ids(row))
        left = int(open_R.sum())
        if left == 0 or step + 1 == max_new_tokens:
            break
        if left < _COMPACT_BELOW * len(open_R):
            keep = open_R.nonzero().squeeze(1)
            cache.batch_select_indices(keep)
            row_R, open_R, token_R, mask, position = (x[keep] for x in (row_R, open_R, token_R, mask, position))
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        output = model(
            input_ids=token_R.unsqueeze(1),
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        )
        logits, position = output.logits[:, -1], position + 1
    if on_end is not None:
        for row in row_R[open_R].tolist():
            on_end(row, tape.token_ids(row))


def _prefill(model: PreTrainedModel, prompt_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, DynamicCache, Tensor]:
    """`(logits_BV, cache, mask_BT)` of the next token: each distinct prompt is read once, then repeated."""
    both = torch.cat([prompt_BT, mask_BT], dim=1)
    distinct, prompt_B = torch.unique(both, dim=0, return_inverse=True)
    prompt_PT, mask_PT = distinct.chunk(2, dim=1)
    cache = DynamicCache(config=model.config)
    cache.layers = [_RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    last_only = {"logits_to_keep": 1} if model._supports_logits_to_keep() else {}
    output = model(
        input_ids=prompt_PT,
        attention_mask=mask_PT,
        position_ids=(mask_PT.cumsum(dim=1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        **last_only,
    )
    cache.batch_select_indices(prompt_B)
    return output.logits[prompt_B, -1], cache, mask_BT


@contextmanager
def _packed_linears(model: PreTrainedModel) -> Iterator[None]:
    """Inside the block, the model's float32 linear layers on a CPU use weights in oneDNN's own layout.

    A decoding step multiplies a few rows with every weight, and would otherwise lay each weight out afresh.
    """
    packed = []
    if torch.backends.mkldnn.enabled and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        packed = [
            module
            for module in model.modules()
            if type(module) is nn.Linear
            and (module.weight.device.type, module.weight.dtype) == ("cpu", torch.float32)
            and module.weight.numel() >= _PACKED_FROM_ELEMENTS
        ]
    try:
        for module in packed:
            weight = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), _PACKED_FOR_ROWS)
            module.forward = partial(_packed_linear, weight=weight, bias=module.bias)  # type: ignore[method-assign]
        yield
    finally:
        for module in packed:
            module.__dict__.pop("forward", None)  # the class's own is back


def _packed_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return result


class _Tape:
    """Tokens, log-probabilities and entropies as they are drawn, in tensors of the device."""

    def __init__(
        self, rows: int, steps: int, device: torch.device, want_entropies: bool, uniform_BT: Tensor | None
    ) -> None:
        self._tokens = torch.zeros(steps, rows, dtype=torch.long, device=device)
        self._logprobs = torch.zeros(steps, rows, device=device)
        self._entropies = torch.zeros(steps, rows, device=device) if want_entropies else None
        self._length = torch.zeros(rows, dtype=torch.long, device=device)
        self._uniform_BT = None if uniform_BT is None else uniform_BT.to(device)

    def draw(self, logits_RV: Tensor, temperature: float, step: int, row_R: Tensor, open_R: Tensor) -> Tensor:
        """The next token of each row in the batch; written down for the open ones."""
        logprob_RV = (logits_RV.float() / temperature).log_softmax(dim=-1)
        probability_RV = logprob_RV.exp()
        if self._uniform_BT is None:
            # What torch.multinomial(probability, 1) does, with noise for all rows so that those which have ended still
            # take their share of the random stream.
            noise = torch.empty(self._length.shape[0], logits_RV.shape[1], device=logits_RV.device).exponential_()
            token_R = (probability_RV / noise[row_R]).argmax(dim=-1)
        else:
            token_R = _inverse_cdf(probability_RV, self._uniform_BT[row_R, step])
        row = row_R[open_R]
        self._tokens[step, row] = token_R[open_R]
        self._logprobs[step, row] = logprob_RV.gather(1, token_R.unsqueeze(1)).squeeze(1)[open_R]
        if self._entropies is not None:
            # 0 log 0 is 0: a masked logit of -inf adds nothing.
            entropy_R = -(probability_RV * logprob_RV.clamp(min=torch.finfo(torch.float32).min)).sum(dim=-1)
            self._entropies[step, row] = entropy_R[open_R]
        self._length[row] += 1
        return token_R

    def token_ids(self, row: int) -> list[int]:
        return self._tokens[: int(self._length[row]), row].tolist()

    def sampled(self) -> Sampled:
        lengths = self._length.tolist()

        def rows(table: Tensor | None) -> list[Any]:
            if table is None:
                return [[] for _ in lengths]
            return [row[:length] for row, length in zip(table.T.tolist(), lengths, strict=True)]

        return Sampled(rows(self._tokens), rows(self._logprobs), rows(self._entropies))


def _inverse_cdf(probability_RV: Tensor, uniform_R: Tensor) -> Tensor:
    """The first token at which the distribution function reaches `uniform_R`, in (0, 1]: never one of probability 0."""
    reached_RV = probability_RV.cumsum(dim=-1)
    return torch.searchsorted(reached_RV, (uniform_R * reached_RV[:, -1]).unsqueeze(1)).squeeze(1)


class _RoomyLayer(DynamicLayer):
    """A key-value cache layer with room to grow, so that a new token is written and not concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: Any
        self.values: Any
        self._room: tuple[Tensor, Tensor] | None = None  # each [B, heads, capacity, head size]

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        length = self.get_seq_length()
        end = length + key_states.shape[-2]
        if self._room is None or end > self._room[0].shape[-2]:
            self._room = (self._grown(self.keys, key_states, 2 * end), self._grown(self.values, value_states, 2 * end))
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, length:end] = states
        self.keys, self.values = (room[:, :, :end] for room in self._room)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        self._room = None

    @staticmethod
    def _grown(old: Tensor, states: Tensor, capacity: int) -> Tensor:
        batch, heads, _, size = states.shape
        room = states.new_empty(batch, heads, capacity, size)
        if old.numel():
            room[:, :, : old.shape[-2]] = old
        return room
