"""Completions of LensTrainer: from an engine, from our own decoding, or from TRL, with what they were drawn with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from lens_core import baselines
from lens_core.config import EconomyConfig
from lens_core.rollout.decode import OnEnd, Sampled, sample
from lens_core.rollout.engine import require_room
from lens_core.rollout.exact import causal_lm, inexact_decoding
from lens_core.rollout.logprobs import sampling_logprobs
from lens_core.rollout.streams import row_uniforms
from lens_core.training.engine_rollouts import EngineMixin, next_seed


class DrawingMixin(EngineMixin):
    """Draws LensTrainer's completions, and keeps the log-probabilities that they were drawn with."""

    economy: EconomyConfig
    estimator: baselines.Estimator
    _drawn: Sampled | None
    _inputs: list[dict[str, Any]]
    _lengths: list[int]
    _generated_tokens: int
    _policy_config: Any

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], images: Any, multimodal_fields: Any, *args: Any, **kwargs: Any
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        completion_ids, logprobs = self._drawn_for(prompt_ids, images, multimodal_fields, *args, **kwargs)
        self._lengths = list(map(len, completion_ids))
        self._generated_tokens += sum(self._lengths)
        return completion_ids, logprobs

    def _drawn_for(
        self, prompt_ids: list[list[int]], images: Any, multimodal_fields: Any, *args: Any, **kwargs: Any
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        """Completions from the engine, from our own decoding, or from super, with what they were drawn with."""
        self._drawn = None
        if self.max_completion_length is not None:
            require_room(self._policy_config, max(map(len, prompt_ids), default=0), self.max_completion_length)
        if self.engine is not None:
            drawn = self._drawn_by_engine(prompt_ids)
            return drawn.token_ids, drawn.logprobs
        self.draws.batches += 1
        call = partial(super()._generate_single_turn, prompt_ids, images, multimodal_fields, *args, **kwargs)
        if self.use_vllm and self.vllm_mode == "server":
            self._seed_vllm_server()
        if self.use_vllm or self.use_transformers_continuous_batching:
            return call()
        decoder = causal_lm(self.accelerator.unwrap_model(self.model))
        if self.economy.lean_decoding and not multimodal_fields and self._can_decode(decoder):
            with self._lean_generate(decoder):
                completion_ids, _ = call()
            assert self._drawn is not None
            return completion_ids, self._drawn.logprobs
        with sampling_logprobs(decoder, self.temperature) as recorder:
            completion_ids, _ = call()
        return completion_ids, recorder.rows(completion_ids)

    def _seed_vllm_server(self) -> None:
        """TRL passes no seed on: a server draws a whole group for a request, and takes a seed with it."""
        if "seed" not in (self.args.generation_kwargs or {}):
            self.vllm_generation.generation_kwargs["seed"] = next_seed()

    def _samples_the_whole_softmax(self) -> bool:
        args = self.args
        filters = (args.top_p, args.top_k in (0, None), args.min_p, args.repetition_penalty)
        return filters == (1.0, True, None, 1.0)

    def _can_decode(self, decoder: PreTrainedModel) -> bool:
        special = self.args.generation_kwargs or self.args.cache_implementation or self.max_completion_length is None
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled  # these need `generate` to keep ranks in step
        return self._samples_the_whole_softmax() and inexact_decoding(decoder) is None and not (special or sharded)

    @contextmanager
    def _lean_generate(self, decoder: PreTrainedModel) -> Iterator[None]:
        """Inside the block, `generate` of the policy is our own decoding; what super does around it stays."""

        def generate(input_ids: Tensor, attention_mask: Tensor, **_: Any) -> Tensor:
            self._drawn = sample(
                decoder,
                input_ids,
                attention_mask,
                self.temperature,
                self.max_completion_length,
                self.eos_token_ids,
                baselines.needs_entropies(self.estimator),
                self._grade_early(),
                self._row_uniforms(len(input_ids)),
            )
            drawn = [torch.tensor(ids, device=input_ids.device) for ids in self._drawn.token_ids]
            padding = self._tokenizer.pad_token_id
            return torch.cat([input_ids, pad_sequence(drawn, batch_first=True, padding_value=padding)], dim=1)

        policy = self.accelerator.unwrap_model(self.model)
        policy.generate = generate
        try:
            yield
        finally:
            del policy.generate  # the class's own is back

    def _row_uniforms(self, rows: int) -> Tensor | None:
        if not self.row_seeded:
            return None
        return row_uniforms(self._draw_seed(), self._first_row(rows), rows, self.max_completion_length)

    def _grade_early(self) -> OnEnd | None:
        """Hands answers that have ended to reward functions that have `prefetch`."""
        functions = [function.prefetch for function in self.reward_funcs if hasattr(function, "prefetch")]
        if not (self.economy.overlap_grading and functions and self._inputs):
            return None

        def on_end(row: int, token_ids: list[int]) -> None:
            completion = self.processing_class.decode(token_ids, skip_special_tokens=True)
            for prefetch in functions:
                prefetch(completion, **{key: value for key, value in self._inputs[row].items() if key != "prompt"})

        return on_end
