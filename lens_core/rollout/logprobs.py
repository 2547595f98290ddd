"""The log-probabilities that sampling has already computed, caught on their way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class SamplingLogprobs:
    """Log-probability of each sampled token under the distribution it was drawn from.

    A decoding step is fed the token that the step before it sampled, so each forward pass scores one token late: only
    one row of logits is kept at a time, never [B, T, V].
    """

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature
        self._pending: Tensor | None = None  # [B, V], scaled logits of the token that comes next
        self._normaliser: Tensor | None = None  # [B], their logsumexp
        self._columns: list[Tensor] = []  # each [B]

    def observe(self, input_ids: Tensor | None, logits: Tensor) -> None:
        """Take in one forward pass of decoding: the ids it was fed [B, *], None of a prompt without, and its logits
        [B, *, V].
        """
        if self._pending is not None:
            assert input_ids is not None
            self._columns.append(self._score(input_ids[:, -1]))
        self._pending = logits[:, -1].float() / self.temperature
        self._normaliser = self._pending.logsumexp(dim=-1)

    def rows(self, completions: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log-probabilities of `completions` (token ids, cut after EOS), row by row, each as long as its completion."""
        longest = max((len(ids) for ids in completions), default=0)
        if longest > len(self._columns):  # the last token sampled was never fed back
            assert self._pending is not None
            assert longest == len(self._columns) + 1
            last = [ids[-1] if len(ids) == longest else 0 for ids in completions]
            self._columns.append(self._score(torch.tensor(last, device=self._pending.device)))
        table = torch.stack(self._columns, dim=1).tolist() if self._columns else [[] for _ in completions]
        return [row[: len(ids)] for row, ids in zip(table, completions, strict=True)]

    def _score(self, token_B: Tensor) -> Tensor:
        assert self._pending is not None
        assert self._normaliser is not None
        return self._pending.gather(1, token_B.unsqueeze(1)).squeeze(1) - self._normaliser


@contextmanager
def sampling_logprobs(model: nn.Module, temperature: float) -> Iterator[SamplingLogprobs]:
    """Record what `model` samples inside the block (one `generate` call, transformers).

    Filters (top-p, top-k, min-p) are not seen: the log-probabilities are those of the whole softmax at `temperature`,
    the distribution that the policy gradient differentiates.
    """
    recorder = SamplingLogprobs(temperature)

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        # A prompt that begins with learned vectors has no ids: they are needed from the first sampled token on.
        recorder.observe(kwargs.get("input_ids", args[0] if args else None), output.logits)

    handle = model.register_forward_hook(hook, with_kwargs=True)
    try:
        yield recorder
    finally:
        handle.remove()
