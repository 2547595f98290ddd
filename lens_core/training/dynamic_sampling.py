"""Dynamic sampling: groups without differing rewards make room for other prompts (DAPO, arXiv 2503.14476, sec. 3.2), or
only those in which all are right (NGRPO, arXiv 2509.18851).

Dimensions: P prompts (groups), G answers in a group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, count, islice
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor

from lens_core import baselines
from lens_core.rollout.streams import stream_seed
from lens_core.training.economy import Batch, concatenated, loss_mask, take_groups
from lens_core.training.engine_rollouts import Draws
from lens_core.training.trl_trainer import GRPOTrainer


class DynamicSamplingMixin(GRPOTrainer):
    """Full batches of informative groups for LensTrainer."""

    resample_rounds: int
    resample_groups: str
    success_threshold: float
    draws: Draws
    _rollout: Callable[[list[dict[str, Any]]], tuple[Batch, Tensor | None]]
    _first_row: Callable[[int], int]
    _further: Iterator[dict[str, Any]] | None = None

    def _dynamic_sampling(self, inputs: list[dict[str, Any]]) -> Batch:
        """A batch of groups that are kept, from as many prompts as it takes."""
        wanted = len(inputs) // self.num_generations
        kept: list[Batch] = []
        spare: list[Batch] = []
        for round_ in range(self.resample_rounds + 1):
            batch, reward_PG = self._rollout(inputs if round_ == 0 else self._further_prompts(wanted))
            assert reward_PG is not None
            first = self._first_row(wanted)
            good_P = self._kept(reward_PG)[first : first + wanted]
            kept.append(take_groups(batch, good_P, self.num_generations))
            spare.append(take_groups(batch, ~good_P, self.num_generations))
            have = sum(len(part["advantages"]) for part in kept) // self.num_generations
            fewest = self.accelerator.gather(torch.tensor([have], device=self.accelerator.device)).min()
            if fewest >= wanted:
                break
        self._metrics["train"]["lens/resample_rounds"].append(float(round_))
        full = concatenated(kept + spare, self._tokenizer.pad_token_id, wanted * self.num_generations)
        full["num_items_in_batch"] = self.accelerator.gather(loss_mask(full).sum()).sum()
        return full

    def _kept(self, reward_PG: Tensor) -> Tensor:
        if self.resample_groups == "equal":
            return baselines.informative(reward_PG)
        return baselines.not_all_right(reward_PG, self.success_threshold)

    def _further_prompts(self, number: int) -> list[dict[str, Any]]:
        """`number` prompts of the training data, each repeated for its group; other ones on every call and rank.

        They come from passes of their own through the data, each prompt once a pass, as DAPO's authors take the next of
        their data loader. Each pass is shuffled where the data can be, and `args.shuffle_dataset` is not off.
        """
        of_all_ranks = number * self.accelerator.num_processes
        if self._further is None:
            self._further = self._passes(self.draws.resamples * of_all_ranks)
        self.draws.resamples += 1
        first = self._first_row(number)
        chosen = list(islice(self._further, of_all_ranks))[first : first + number]
        return [prompt for prompt in chosen for _ in range(self.num_generations)]

    def _passes(self, start: int) -> Iterator[dict[str, Any]]:
        """The training data again and again, from its `start`-th prompt on."""
        data: Any = self.train_dataset
        if not isinstance(data, Dataset):  # a stream has its own order, and no length
            return islice(chain.from_iterable(iter(data) for _ in count()), start, None)
        rows = chain.from_iterable(self._order(pass_, len(data)) for pass_ in count())
        return (data[row] for row in islice(rows, start, None))

    def _order(self, pass_: int, prompts: int) -> list[int]:
        if self.args.shuffle_dataset is False:
            return list(range(prompts))
        generator = torch.Generator().manual_seed(stream_seed(self.args.seed, pass_))
        return torch.randperm(prompts, generator=generator).tolist()
