"""Generation: prompts in; completions, their token ids and the sampling log-probabilities out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from lens_core.errors import LensError, first_line
from lens_core.rollout.logprobs import sampling_logprobs

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class SamplingConfig(BaseModel):
    """How completions are drawn. No top-p, top-k or min-p: they bias confidence and importance ratios."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(1.0, gt=0)
    max_new_tokens: int = Field(64, ge=1)
    batch_size: int = Field(256, ge=1)
    """Completions that are decoded together."""


@dataclass(frozen=True)
class Rollout:
    """One sampled completion."""

    text: str
    """Decoded, special tokens left out."""
    token_ids: tuple[int, ...]
    """The completion's tokens, the end-of-sequence token included where it was reached."""
    token_logprobs: tuple[float, ...]
    """log-probability of each token under the distribution it was drawn from."""
    truncated: bool
    """True where `max_new_tokens` cut it off."""


def load_policy(folder: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal language model and its tokenizer from a local folder, or from a hub by name.

    Weights are read as safetensors and no code from the folder is run.

    Raises:
        LensError: if it holds no such model.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, padding_side="left")
    except (OSError, ValueError, KeyError) as error:
        raise LensError(
            f"{folder} holds no causal language model in Hugging Face format "
            f"(config.json, model.safetensors, tokenizer files): {first_line(error)}"
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def format_prompt(question: str, tokenizer: PreTrainedTokenizerBase) -> str | list[dict[str, str]]:
    """What a policy is asked: a chat message where the tokenizer has a chat template, else the bare question."""
    if tokenizer.chat_template is None:
        return question + "\n"
    instruction = "Please reason step by step, and put your final answer within \\boxed{}."
    return [{"role": "user", "content": f"{question}\n\n{instruction}"}]


class TransformersEngine:
    """Sampling with `transformers`, on a GPU where there is one."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        self.tokenizer = tokenizer

    def sample(self, questions: Sequence[str], n: int, config: SamplingConfig, seed: int) -> Iterator[list[Rollout]]:
        """Yield `n` rollouts of each question, question by question; the same seed draws the same completions.

        The global random state is left as it was.
        """
        prompts = [self._encode(question) for question in questions]
        step = max(1, config.batch_size // n)
        for start in range(0, len(prompts), step):
            with torch.random.fork_rng():
                torch.manual_seed(seed * 1_000_003 + start)
                yield from self._sample_batch(prompts[start : start + step], n, config)

    def _encode(self, question: str) -> list[int]:
        prompt = format_prompt(question, self.tokenizer)
        if isinstance(prompt, str):
            return list(self.tokenizer.encode(prompt))
        return list(
            self.tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
        )

    @torch.no_grad()
    def _sample_batch(self, prompts: list[list[int]], n: int, config: SamplingConfig) -> Iterator[list[Rollout]]:
        repeated = [ids for ids in prompts for _ in range(n)]
        padded: Any = self.tokenizer.pad({"input_ids": repeated}, padding_side="left", return_tensors="pt")
        with sampling_logprobs(self.model, config.temperature) as recorder:
            output_BT: Any = self.model.generate(
                **padded.to(self.model.device),
                do_sample=True,
                temperature=config.temperature,
                top_p=1.0,
                top_k=0,
                repetition_penalty=1.0,  # some models' own generation_config.json sets it, and filters
                max_new_tokens=config.max_new_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        ends = self._end_tokens()
        completions = [_cut(ids, ends) for ids in output_BT[:, padded["input_ids"].shape[1] :].tolist()]
        texts = self.tokenizer.batch_decode(completions, skip_special_tokens=True)
        rollouts = [
            Rollout(text, tuple(ids), tuple(logprobs), truncated=ids[-1] not in ends)
            for text, ids, logprobs in zip(texts, completions, recorder.rows(completions), strict=True)
        ]
        for start in range(0, len(rollouts), n):
            yield rollouts[start : start + n]

    def _end_tokens(self) -> set[int]:
        configured = self.model.generation_config.eos_token_id
        if configured is None:
            configured = self.tokenizer.eos_token_id
        return set(configured) if isinstance(configured, list) else {configured}


def _cut(ids: list[int], ends: set[int]) -> list[int]:
    """`ids` up to and including the first end-of-sequence token."""
    end = next((index for index, token in enumerate(ids) if token in ends), len(ids) - 1)
    return ids[: end + 1]
