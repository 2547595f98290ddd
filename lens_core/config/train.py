"""One training run: how completions are drawn, what is made of them, and with how much work."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from lens_core.config.sections import Section
from lens_core.config.verifier import AnswerPattern, Verifier
from lens_core.verify.plugin import BUILT_IN


class PromptConfig(Section):
    """How a policy is asked a question."""

    form: Literal["auto", "chat", "plain"] = "auto"
    """`chat`: through the tokenizer's chat template; `plain`: as text; `auto`: chat where there is a template."""
    system: str | None = None
    """The system message; before the question in the plain form. None: none of ours."""
    instruction: str | None = None
    """What follows the question. None: the request to box the answer in the chat form, nothing in the plain one."""


class EconomyConfig(Section):
    """Ways to the same gradient with less work; each is exact, and measured by `python -m benchmarks.step`."""

    skip_zero_advantages: bool = True
    """No forward or backward pass for answers whose advantage is exactly 0."""
    merge_identical: bool = True
    """Identical answers to one prompt are computed once, with the sum of their advantages."""
    length_buckets: bool = True
    """Answers of like length go through the policy together, so that little is padding."""
    share_prompts: bool = True
    """A group's prompt goes through the policy once, where that saves a tenth of the tokens or more."""
    reuse_sampling_logprobs: bool = True
    """The old policy's log-probabilities are those of sampling, where sampling and training share one arithmetic."""
    lean_decoding: bool = True
    """Sampling with `transformers` reads a prompt once, drops answers that have ended, and copies no cache."""
    overlap_grading: bool = True
    """Answers are graded in other processes while longer ones are still being decoded."""


class LoraConfig(Section):
    """Low-rank adapters on every linear layer instead of full fine-tuning; they are merged into the saved policy."""

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    """Adapters are scaled by alpha / rank."""


class VllmConfig(Section):
    """Rollouts from vLLM. On a GPU that is TRL's integration, with its importance-sampling correction; on a CPU an
    engine in this process, whose log-probabilities serve as the old policy's."""

    mode: Literal["colocate", "server"] = "colocate"
    """`colocate`: on the training GPUs; `server`: `trl vllm-serve` elsewhere. A CPU has the first only."""
    server_url: str | None = None
    """`server` only: address of `trl vllm-serve`."""
    memory_share: float = Field(0.3, gt=0, lt=1)
    """`colocate` on a GPU: share of its memory that vLLM may take."""

    @model_validator(mode="after")
    def _url_fits_mode(self) -> Self:
        if (self.mode == "server") != (self.server_url is not None):
            raise ValueError("server_url belongs to mode 'server', and mode 'server' needs it")
        return self


class RolloutConfig(Section):
    """Rollouts by Ray actors beside the trainers, each with a whole copy of the policy (docs/ray.md)."""

    workers: int = Field(ge=1)
    """Actors; a batch is cut up among them."""
    engine: Literal["transformers", "vllm"] = "transformers"
    cpus_each: int = Field(1, ge=1)
    gpus_each: float | None = Field(None, ge=0)
    """None: one where the cluster has GPUs."""
    max_off_policy: int = Field(0, ge=0)
    """So many batches may be drawn while earlier ones are trained on, from weights that are as many batches old; the
    importance ratio corrects for it. 0: trainers and rollouts take turns."""


class TrainConfig(Section):
    """One training run; the same for every method that is compared, but for what a method's `train` overrides."""

    steps: int = Field(ge=1)
    """Optimiser steps."""
    max_tokens: int | None = Field(None, ge=1)
    """A training ends with the step in which so many completion tokens have been generated, if that comes before
    `steps`: an equal budget for methods that generate more or longer answers. None: no limit."""
    prompts_per_step: int = Field(ge=1)
    """Groups whose rollouts make one optimiser step, over all ranks."""
    updates_per_batch: int = Field(1, ge=1)
    """Optimiser steps on one batch of rollouts; above 1, the later ones are off policy and the ratio is clipped."""
    group_size: int = Field(16, ge=2)
    """G: answers to each prompt."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Completions in one forward and backward pass of a rank; None: all of a step at once."""
    max_new_tokens: int = Field(ge=1)
    prompt: PromptConfig = PromptConfig()
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature; top-p, top-k and min-p stay off, since they bias confidence."""
    vllm: VllmConfig | None = None
    """None: the policy generates its rollouts itself, with transformers."""
    rollouts: RolloutConfig | None = None
    """None: each trainer generates its own."""
    resample_rounds: int = Field(0, ge=0)
    """DAPO's dynamic sampling: further rounds of prompts to replace groups whose rewards do not differ; 0: off."""
    mask_truncated: bool = False
    """Answers that `max_new_tokens` cut off leave their group and get no gradient (DAPO's overlong filtering)."""
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(0, ge=0)
    schedule: Literal["constant_with_warmup", "linear", "cosine"] = "constant_with_warmup"
    """Of the learning rate after the warm-up."""
    adam_beta2: float = Field(0.999, gt=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    clip: float = Field(0.2, gt=0, lt=1)
    """epsilon of the clipped ratio (eq. 3)."""
    clip_high: float | None = Field(None, gt=0)
    """epsilon of the upper bound (DAPO, NGRPO); None: the same as `clip`."""
    beta: float = Field(0.0, ge=0)
    """Weight of the KL term; the paper has none."""
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "grpo"
    """Aggregation of the token loss; `grpo` is the paper's eq. 3: mean over tokens, then over answers."""
    lora: LoraConfig | None = None
    """None: full fine-tuning."""
    fsdp: bool = False
    """Weights, gradients and optimiser state are cut up among the processes of `--workers` (FSDP2) instead of copied to
    each; needs GPUs."""
    bf16: bool = False
    """Compute in bfloat16 (GPU); weights and optimiser stay in float32, but for the frozen ones under LoRA."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: slower, and much less memory on long completions."""
    verifier: Verifier = BUILT_IN
    """What grades the answers; the same as `evaluation.verifier`."""
    answer_pattern: AnswerPattern | None = None
    """How the built-in verifier finds the final answer; None: the last box, `answer is`, `####` (docs/verifier.md). The
    same as `evaluation.answer_pattern`."""
    economy: EconomyConfig = EconomyConfig()
    """Ways to the same gradient with less work."""
    max_ungraded_share: float = Field(0.1, ge=0, le=1)
    """A step with more ungraded answers than this stops the run."""
    max_skipped_steps: int = Field(5, ge=1)
    """So many steps in a row without a finite loss and gradient stop the run; fewer are skipped and counted."""
    checkpoint_every: int | None = Field(None, ge=1)
    """Steps between checkpoints that `--resume` continues from; None: none, for short runs."""
    max_failures: int = Field(3, ge=0)
    """With `--workers`: so many times a training whose worker died goes on from its last checkpoint."""
    keep_checkpoints: int = Field(2, ge=1)
    """Older ones are deleted."""
    log_every: int = Field(1, ge=1)
    """Steps between two lines of metrics."""
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        rollouts = self.prompts_per_step * self.group_size
        if self.micro_batch_size is not None and rollouts % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size {self.micro_batch_size} must divide the {rollouts} completions of a step "
                f"(prompts_per_step x group_size)"
            )
        if self.rollouts is not None:
            for name in ("vllm", "lora"):
                if getattr(self, name) is not None:
                    raise ValueError(f"rollouts and {name} exclude each other; leave one of them out")
            if self.rollouts.max_off_policy and self.resample_rounds:
                raise ValueError("rollouts.max_off_policy must be 0 with resample_rounds, which waits for every batch")
        if self.fsdp and self.lora is not None:
            raise ValueError("fsdp and lora exclude each other: adapters are small enough for every process")
        if self.warmup_steps > self.steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} exceeds steps {self.steps}")
        if self.checkpoint_every is not None and self.checkpoint_every % self.log_every:
            raise ValueError(
                f"checkpoint_every {self.checkpoint_every} must be a multiple of log_every {self.log_every}, "
                "or a resumed run would log other averages"
            )
        return self

    def goes_beyond(self, earlier: TrainConfig) -> bool:
        """Whether a training that has ended as `earlier` says would go on as this says."""
        if self.max_tokens is not None and earlier.max_tokens is not None and self.max_tokens > earlier.max_tokens:
            return True
        return self.steps > earlier.steps or (self.max_tokens is None and earlier.max_tokens is not None)


CHANGEABLE = (
    "checkpoint_every",
    "keep_checkpoints",
    "max_failures",
    "max_ungraded_share",
    "max_skipped_steps",
    "gradient_checkpointing",
    "vllm.memory_share",
    "vllm.server_url",
    "rollouts.workers",
    "rollouts.cpus_each",
    "rollouts.gpus_each",
)
"""Values that decide where and how safely a training runs, and not what it learns: they may change on `--resume`."""
