"""Generation: prompts in; completions, their token ids and the sampling log-probabilities out."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from lens_core.config import PromptConfig
from lens_core.errors import LensError, first_line
from lens_core.rollout.chat import require_system_role, require_working_template, templated
from lens_core.rollout.decode import Sampled, sample
from lens_core.rollout.exact import inexact_decoding
from lens_core.rollout.fingerprint import NO_POLICY
from lens_core.rollout.logprobs import sampling_logprobs
from lens_core.rollout.shipped import resolved
from lens_core.rollout.streams import row_uniforms, stream_seed

if TYPE_CHECKING:
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


AUTO = PromptConfig()
"""Chat where the tokenizer has a chat template, else the bare question."""


class SamplingConfig(BaseModel):
    """How completions are drawn. No top-p, top-k or min-p: they bias confidence and importance ratios."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
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


def load_policy(
    folder: str | Path, dtype: torch.dtype | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal language model and its tokenizer from a local folder, or by name: a shipped one, or from a hub.

    Weights are read as safetensors and no code from the folder is run.

    Args:
        dtype: of the weights in memory; None: as they are stored.

    Raises:
        LensError: if it holds no such model, does not fit into memory, or needs a package that is not there.
    """
    from transformers import AutoModelForCausalLM

    folder = resolved(folder)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False, dtype="auto" if dtype is None else dtype
        )
    except Exception as error:  # of Transformers, safetensors and torch, about files that do not fit together
        raise _refusal(folder, NO_POLICY, error) from error
    tokenizer = load_tokenizer(folder)
    _require_embeddings(model, tokenizer, folder)
    return model, tokenizer


def _require_embeddings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    rows, last = model.get_input_embeddings().weight.shape[0], max(tokenizer.get_vocab().values(), default=0)
    if last >= rows:
        raise LensError(
            f"{folder}: its tokenizer has token ids up to {last}, its model embeddings for {rows} tokens: they do not "
            "belong together; give the tokenizer that the model was trained with"
        )


def _refusal(folder: str | Path, complaint: str, error: Exception) -> LensError:
    """What is said of an error while something is loaded: `complaint`, if it is about the files."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return LensError(
            f"{folder} does not fit into memory: take a smaller model or a larger machine, or end what else runs here"
        )
    if isinstance(error, ImportError):
        return LensError(f"{folder} needs a package that cannot be imported: {first_line(error)}")
    return LensError(f"{folder} {complaint}: {first_line(error)}")


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, from a local folder, or by name: a shipped one's, or from a hub.

    Raises:
        LensError: as `load_policy`.
    """
    from transformers import AutoTokenizer

    folder = resolved(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, padding_side="left")
    except Exception as error:  # of Transformers and tokenizers, whose own are no subclasses of anything
        raise _refusal(folder, "holds no tokenizer in Hugging Face format", error) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def format_prompt(
    question: str, tokenizer: PreTrainedTokenizerBase, form: PromptConfig = AUTO
) -> str | list[dict[str, str]]:
    """What a policy is asked: chat messages, or one text.

    Raises:
        LensError: if the chat form is asked for, and the tokenizer has no chat template, one that fails, or one without
            the system role that is asked for.
    """
    if form.form == "chat" and tokenizer.chat_template is None:
        raise LensError("prompt.form is 'chat', and the policy's tokenizer has no chat template: set it to 'plain'")
    if form.form == "plain" or tokenizer.chat_template is None:
        return "\n\n".join(part for part in (form.system, question, form.instruction) if part) + "\n"
    require_working_template(tokenizer)
    instruction = _BOX_IT if form.instruction is None else form.instruction
    asked = [{"role": "user", "content": f"{question}\n\n{instruction}" if instruction else question}]
    if form.system is None:
        return asked
    require_system_role(tokenizer, form.system)
    return [{"role": "system", "content": form.system}, *asked]


_BOX_IT = "Please reason step by step, and put your final answer within \\boxed{}."


_NO_FILTERS: Final = {
    "top_p": 1.0,
    "top_k": 0,
    "min_p": None,
    "top_h": None,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "repetition_penalty": 1.0,
}
"""Of `generate`: answers come from the whole softmax."""


class Sampler(Protocol):
    """Where a training's completions come from."""

    def sample_ids(
        self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig, seed: int, first_row: int = 0
    ) -> Sampled:
        """One completion of each prompt (token ids), in their order.

        Args:
            first_row: place of the first prompt in a batch that is cut up. What is drawn depends on the seed and a
                prompt's place, not on the cuts.
        """

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Sample from these weights from now on: the whole `state_dict` of the same model."""


class Engine(Sampler, Protocol):
    """A policy that answers. Implemented by TransformersEngine here, and by VllmEngine."""

    tokenizer: PreTrainedTokenizerBase
    ends: Collection[int]
    """Token ids that end a completion."""

    def require_room(self, longest_prompt: int, max_new_tokens: int) -> None:
        """Refuse what the policy has no positions for, in tokens.

        Raises:
            LensError: with the remedy.
        """

    def close(self) -> None:
        """Give back memory and processes."""


class TransformersEngine:
    """Sampling with `transformers`, on a GPU where there is one."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model.to(best_device()).eval()
        self.tokenizer = tokenizer
        self.ends: Collection[int] = end_tokens(model.generation_config, tokenizer)

    def sample_ids(
        self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig, seed: int, first_row: int = 0
    ) -> Sampled:
        """See Engine; a model that our own decoding does not know draws other answers where a batch is cut up. The
        global random state is left as it was.
        """
        padded: Any = self.tokenizer.pad({"input_ids": list(prompts)}, padding_side="left", return_tensors="pt")
        padded = padded.to(self.model.device)
        if inexact_decoding(self.model) is not None:
            with torch.random.fork_rng(devices=_cuda_devices()):
                torch.manual_seed(stream_seed(seed, first_row))
                return self._generate(padded, sampling)
        return sample(
            self.model,
            padded["input_ids"],
            padded["attention_mask"],
            sampling.temperature,
            sampling.max_new_tokens,
            self.ends,
            uniform_BT=row_uniforms(seed, first_row, len(prompts), sampling.max_new_tokens),
        )

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        self.model.load_state_dict(weights)

    def require_room(self, longest_prompt: int, max_new_tokens: int) -> None:
        """See Engine."""
        require_room(self.model.config, longest_prompt, max_new_tokens)

    def close(self) -> None:
        """Nothing to give back: the model belongs to the caller."""

    @torch.no_grad()
    def _generate(self, padded: Any, sampling: SamplingConfig) -> Sampled:
        """For models that our own decoding does not know, transformers' own."""
        with sampling_logprobs(self.model, sampling.temperature) as recorder:
            output_BT: Any = self.model.generate(
                **padded,
                do_sample=True,
                temperature=sampling.temperature,
                **_NO_FILTERS,  # some models' own generation_config.json sets them
                max_new_tokens=sampling.max_new_tokens,
                eos_token_id=sorted(self.ends),
                pad_token_id=self.tokenizer.pad_token_id,
            )
        completions = [_cut(ids, self.ends) for ids in output_BT[:, padded["input_ids"].shape[1] :].tolist()]
        return Sampled(completions, recorder.rows(completions), [[] for _ in completions])


def sample_rollouts(
    engine: Engine,
    questions: Sequence[str],
    n: int,
    sampling: SamplingConfig,
    seed: int,
    form: PromptConfig = AUTO,
    first: int = 0,
) -> Iterator[list[list[Rollout]]]:
    """Yield `n` rollouts of each question, batch by batch; the same seed draws the same completions, whatever
    `sampling.batch_size` is.

    Args:
        first: leave out the questions before this one. The others get the completions that they would have got, and
            batches begin where they would have begun: rounding depends on what is decoded together.
    """
    prompts = [encode_prompt(question, engine.tokenizer, form) for question in questions]
    engine.require_room(max(map(len, prompts), default=0), sampling.max_new_tokens)
    step = max(1, sampling.batch_size // n)
    start = first
    while start < len(prompts):
        end = (start // step + 1) * step
        repeated = [prompt for prompt in prompts[start:end] for _ in range(n)]
        drawn = engine.sample_ids(repeated, sampling, seed, start * n)
        texts = engine.tokenizer.batch_decode(drawn.token_ids, skip_special_tokens=True)
        rollouts = [
            Rollout(text, tuple(ids), tuple(logprobs), truncated=ids[-1] not in engine.ends)
            for text, ids, logprobs in zip(texts, drawn.token_ids, drawn.logprobs, strict=True)
        ]
        yield [rollouts[place : place + n] for place in range(0, len(rollouts), n)]
        start = end


def encode_prompt(question: str, tokenizer: PreTrainedTokenizerBase, form: PromptConfig = AUTO) -> list[int]:
    """Token ids of what a policy is asked."""
    prompt = format_prompt(question, tokenizer, form)
    if isinstance(prompt, str):
        return list(tokenizer.encode(prompt))
    # As `apply_chat_template` does: the template writes the special tokens itself.
    return list(tokenizer.encode(templated(tokenizer, prompt), add_special_tokens=False))


def end_tokens(generation_config: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Token ids that end a completion, in an evaluation as in TRL's training: the model's own, which may be several,
    and the tokenizer's.
    """
    own = None if generation_config is None else generation_config.eos_token_id
    several = own if isinstance(own, list) else [own]
    return {token for token in (*several, tokenizer.eos_token_id) if token is not None}


def require_room(config: PretrainedConfig, longest_prompt: int, max_new_tokens: int) -> None:
    """Refuse a prompt and its completion that are longer than the positions of a model.

    Raises:
        LensError: with the remedy.
    """
    text = config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    rope = getattr(text, "rope_parameters", None) or {}
    if positions is None or rope.get("rope_type") in _BEYOND_THEIR_POSITIONS:
        return
    if longest_prompt + max_new_tokens > positions:
        raise LensError(
            f"a prompt of {longest_prompt} tokens and {max_new_tokens} new ones exceed the policy's {positions} "
            "positions: lower max_new_tokens, or leave out long prompts (data.max_prompt_tokens)"
        )


_BEYOND_THEIR_POSITIONS = ("dynamic", "linear", "yarn")
"""Scaled positions, whose configuration may name the length before it was scaled."""


def best_device() -> str:
    """`cuda`, `mps` or `cpu`: the fastest that this machine has."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def machine() -> str:
    """What this process computes on, in words: `Linux x86_64 with 2 CPUs, no GPU`."""
    names = [torch.cuda.get_device_name(index) for index in _cuda_devices()]
    gpus = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
    return f"{platform.system()} {platform.machine()} with {os.cpu_count()} CPUs, {gpus if gpus else 'no GPU'}"


def _cuda_devices() -> list[int]:
    return list(range(torch.cuda.device_count()))


def _cut(ids: list[int], ends: Collection[int]) -> list[int]:
    """`ids` up to and including the first end-of-sequence token."""
    end = next((index for index, token in enumerate(ids) if token in ends), len(ids) - 1)
    return ids[: end + 1]
