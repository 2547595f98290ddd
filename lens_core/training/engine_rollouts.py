"""Completions from an engine of its own, beside the policy that is trained.

With `max_off_policy` above 0 the engine draws the next batches while this one is trained on. A batch is then drawn from
weights that are a few updates old; its own log-probabilities stand in the importance ratio, which corrects for that.

One process talks to the engine: it collects the prompts of all ranks and gives each its completions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor

from lens_core.files import read_json, write_json
from lens_core.rollout.decode import Sampled
from lens_core.rollout.engine import Sampler, SamplingConfig
from lens_core.training.checkpoint import CheckpointMixin

AHEAD_FILE = "ahead.json"
"""In a checkpoint: completions that were drawn ahead of it."""


@runtime_checkable
class AsyncSampler(Sampler, Protocol):
    """One that draws while its caller does something else."""

    def start(self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig, seed: int) -> Callable[[], Sampled]:
        """Begin to draw one completion of each prompt with the present weights; the result waits for them."""


@dataclass(frozen=True)
class _Ahead:
    """A batch that was started before its turn; only the main process can wait for it."""

    step: int
    """Updates that its weights had seen."""
    result: Callable[[], Sampled]


class _ReadAhead(Iterator[Any]):
    """An iterator that can be looked into."""

    def __init__(self, source: Iterator[Any]) -> None:
        self.source = source
        self._seen: deque[Any] = deque()

    def __next__(self) -> Any:
        return self._seen.popleft() if self._seen else next(self.source)

    def peek(self, count: int) -> list[Any]:
        """The next `count` items, fewer at the end."""
        self._seen.extend(islice(self.source, max(0, count - len(self._seen))))
        return list(islice(self._seen, count))


class Draws:
    """How much of a run's random streams and budget is spent.

    Attributes:
        batches: generation batches, drawn or under way.
        tokens: generated completion tokens.
        resamples: calls for further prompts (dynamic sampling).
    """

    def __init__(self) -> None:
        self.batches = self.tokens = self.resamples = 0

    def state_dict(self) -> dict[str, int]:
        return {"batches_drawn": self.batches, "tokens_generated": self.tokens, "resample_draws": self.resamples}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.batches, self.tokens = state["batches_drawn"], state["tokens_generated"]
        self.resamples = state["resample_draws"]


class EngineMixin(CheckpointMixin):
    """Rollouts from `engine` for LensTrainer, `max_off_policy` batches ahead."""

    engine: Sampler | AsyncSampler | None
    max_off_policy: int
    row_seeded: bool
    temperature: float
    max_completion_length: int
    _tokenize_prompts: Callable[[list[Any]], tuple[list[list[int]], Any, Any]]
    draws: Draws
    _metrics: dict[str, Any]
    _ahead: deque[_Ahead]
    _read_ahead: _ReadAhead | None = None
    _engine_step = -1  # of the weights that the engine has

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | int | None]:
        if not self.max_off_policy:
            return super().get_batch_samples(epoch_iterator, num_batches, device)
        if self._read_ahead is None or self._read_ahead.source is not epoch_iterator:
            self._read_ahead = _ReadAhead(epoch_iterator)  # another epoch: its first batch is not ahead of anything
        found = super().get_batch_samples(self._read_ahead, num_batches, device)
        self._start_ahead(found[0], self._read_ahead)
        return found

    def _start_ahead(self, micro_batches: list[Any], following: _ReadAhead) -> None:
        """Begin to draw this batch and the next ones, as far as they are not under way."""
        every = self._generate_every()
        if self._step % every:
            return
        left = (self.state.max_steps - self.state.global_step) * self.args.gradient_accumulation_steps
        wanted = min(self.max_off_policy * every + 1, left)
        batches = (micro_batches + following.peek(wanted - len(micro_batches)))[:wanted:every]
        for inputs in batches[len(self._ahead) :]:
            prompt_ids, *_ = self._tokenize_prompts([each["prompt"] for each in inputs])
            self._ahead.append(_Ahead(self.state.global_step, self._start(prompt_ids)))

    def _start(self, prompt_ids: list[list[int]]) -> Callable[[], Sampled]:
        """Let the engine draw for the prompts of all ranks; the main process can wait for the result."""
        self.draws.batches += 1
        if self._engine_step != self.state.global_step:
            self._send_weights()
        prompts, seed = gather_object(prompt_ids), self._draw_seed()
        sampling = SamplingConfig(temperature=self.temperature, max_new_tokens=self.max_completion_length)
        assert self.engine is not None
        if not self.accelerator.is_main_process:
            return _nothing
        if isinstance(self.engine, AsyncSampler):
            return self.engine.start(prompts, sampling, seed)
        return partial(self.engine.sample_ids, prompts, sampling, seed)

    def _drawn_by_engine(self, prompt_ids: list[list[int]]) -> Sampled:
        """The completions of this rank's prompts."""
        batch = self._ahead.popleft() if self._ahead and self.model.training else None
        if batch is None:
            batch = _Ahead(self.state.global_step, self._start(prompt_ids))
        if self.model.training:
            self._metrics["train"]["lens/off_policy_steps"].append(float(self.state.global_step - batch.step))
        of_all_ranks: list[Any] = [batch.result() if self.accelerator.is_main_process else None]
        drawn: Sampled = broadcast_object_list(of_all_ranks)[0]
        first = self._first_row(len(prompt_ids))
        mine = slice(first, first + len(prompt_ids))
        return Sampled(drawn.token_ids[mine], drawn.logprobs[mine], drawn.entropies[mine])

    def _send_weights(self) -> None:
        weights = self.accelerator.get_state_dict(self.model)  # where they are in shards, all ranks put them together
        if self.accelerator.is_main_process:
            assert self.engine is not None
            self.engine.load_weights({name: weight.detach().cpu() for name, weight in weights.items()})
        self._engine_step = self.state.global_step

    def _draw_seed(self) -> int:
        """Of the batch that is about to be drawn: the same on all ranks where completions are `row_seeded`."""
        return self.args.seed * 2**32 + self.draws.batches if self.row_seeded else next_seed()

    def _first_row(self, rows: int) -> int:
        """Place of this rank's first answer in the batch of all ranks."""
        return int(self.accelerator.process_index * rows)

    def _save_lens_state(self, checkpoint: Path) -> None:
        """What was drawn ahead is saved, too: a resumed training sees the same completions."""
        super()._save_lens_state(checkpoint)
        if self._ahead and self.accelerator.is_main_process:
            drawn = [{"step": batch.step, "drawn": asdict(batch.result())} for batch in self._ahead]
            write_json(checkpoint / AHEAD_FILE, {"batches": drawn})

    def _load_lens_state(self, checkpoint: Path) -> None:
        super()._load_lens_state(checkpoint)
        path = checkpoint / AHEAD_FILE
        if path.exists():
            batches = read_json(path)["batches"]
            self._ahead = deque(_Ahead(batch["step"], partial(Sampled, **batch["drawn"])) for batch in batches)


def _nothing() -> Sampled:
    raise AssertionError("only the main process talks to the engine")


def next_seed() -> int:
    """From the run's own random stream: another one every time, and the same ones in a resumed run."""
    return int(torch.randint(2**31, ()).item())
