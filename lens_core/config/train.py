"""One training run: how completions are drawn, what is made of them, and with how much work."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lens_core.config.sections import Section
from lens_core.config.verifier import AnswerPattern, Extraction, Verifier
from lens_core.errors import LensError
from lens_core.verify.plugin import BUILT_IN

Seed = Annotated[int, Field(ge=0, lt=2**32 - 2**16)]
"""Of a training: NumPy's generator, which Transformers seeds, takes 32 bits, and each rank adds its number."""

Temperature = Annotated[float, Field(ge=0.001, le=1000)]
"""Of sampling: below, probabilities are those of the best token alone, and logits divided by it overflow."""
MOST_STEPS, MOST_NEW_TOKENS = 10**8, 2**22
"""Far above what anybody trains and any model has positions for: what exceeds them is a slip of the pen."""
_MOST_ROLLOUTS = 2**24
"""Completions of a batch."""


ASKS_FOR_BOX = "\\boxed"
"""Of a prompt: what asks for the answer in a box."""


class PromptConfig(Section):
    """How a policy is asked a question."""

    prose = frozenset({"system", "instruction"})
    form: Literal["auto", "chat", "plain"] = "auto"
    """`chat`: through the tokenizer's chat template; `plain`: as text; `auto`: chat if there is a template."""
    system: str | None = None
    """System message; in the plain form it precedes the question. None: none."""
    instruction: str | None = None
    """Text after the question. None: a request to box the answer in the chat form, nothing in the plain form."""

    @property
    def may_ask_for_box(self) -> bool:
        """Whether the policy is asked for a box, which in form `auto` depends on its tokenizer."""
        if self.instruction is None and self.form != "plain":
            return True
        return any(ASKS_FOR_BOX in (text or "") for text in (self.system, self.instruction))


class EconomyConfig(Section):
    """Ways to the same gradient with less work; each is exact, and measured by `python -m benchmarks.step`."""

    skip_zero_advantages: bool = True
    """Skip the forward and backward pass of completions whose advantage is exactly 0."""
    merge_identical: bool = True
    """Compute identical completions of a prompt once, with the sum of their advantages."""
    length_buckets: bool = True
    """Batch completions of similar length, so that there is little padding."""
    share_prompts: bool = True
    """Compute a group's prompt once where that saves at least a tenth of the tokens."""
    reuse_sampling_logprobs: bool = True
    """Take the old policy's log-probabilities from sampling where it uses the same arithmetic as training."""
    lean_decoding: bool = True
    """Sample with `transformers` without recomputing prompts, decoding finished completions or copying the cache."""
    overlap_grading: bool = True
    """Grade completions in other processes while longer ones are still being decoded."""


class LoraConfig(Section):
    """Low-rank adapters on every linear layer instead of full fine-tuning; they are merged into the saved policy."""

    rank: int = Field(16, ge=1, le=2**16)
    """Rank of the adapters (arXiv 2106.09685)."""
    alpha: int = Field(32, ge=1, le=2**20)
    """Adapters are scaled by alpha / rank."""


class VllmConfig(Section):
    """Rollouts from vLLM. On a GPU that is TRL's integration, with its importance-sampling correction; on a CPU an
    engine in this process, whose log-probabilities serve as the old policy's."""

    mode: Literal["colocate", "server"] = "colocate"
    """`colocate`: on the training GPUs; `server`: `trl vllm-serve` elsewhere. On a CPU only `colocate` works."""
    server_url: str | None = None
    """Address of `trl vllm-serve`; `server` needs it, and `colocate` takes none."""
    memory_share: float = Field(0.3, gt=0, lt=1)
    """`colocate` on a GPU: fraction of its memory for vLLM."""

    @model_validator(mode="after")
    def _url_fits_mode(self) -> Self:
        if (self.mode == "server") != (self.server_url is not None):
            raise ValueError("server_url belongs to mode 'server', and mode 'server' needs it")
        return self


class RolloutConfig(Section):
    """Rollouts by Ray actors beside the trainers, each with a whole copy of the policy (docs/ray.md)."""

    workers: int = Field(ge=1, le=2**16)
    """Number of Ray actors; each draws an equal part of a batch."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """What samples the completions."""
    cpus_each: int = Field(1, ge=1, le=2**12)
    """Ray CPUs for each actor."""
    gpus_each: float | None = Field(None, ge=0, le=2**10)
    """Ray GPUs for each actor; None: one if the cluster has GPUs, else none."""
    max_off_policy: int = Field(0, ge=0, le=2**10)
    """Number of batches that may be drawn ahead of the one being trained on, from weights that many batches old; the
    importance ratio corrects for it. 0: training and sampling take turns."""


class TrainConfig(Section):
    """One training run; the same for every method that is compared, but for what a method's `train` overrides."""

    steps: int = Field(ge=1, le=MOST_STEPS)
    """Number of optimiser steps."""
    max_tokens: int | None = Field(None, ge=1, le=10**15)
    """Budget of generated completion tokens; a training ends with the step that reaches it, if that comes before
    `steps`: an equal budget for methods that generate more or longer completions. None: no limit."""
    prompts_per_step: int = Field(ge=1, le=2**20)
    """Number of prompts (groups) in one optimiser step, over all ranks."""
    updates_per_batch: int = Field(1, ge=1, le=2**10)
    """Optimiser steps on one batch of rollouts; above 1, the later ones are off policy and the ratio is clipped."""
    group_size: int = Field(16, ge=2, le=2**16)
    """G, the number of completions of each prompt."""
    micro_batch_size: int | None = Field(None, ge=1, le=_MOST_ROLLOUTS)
    """Completions in one forward and backward pass of a rank; must divide `prompts_per_step` x `group_size`. None: all
    of a step at once."""
    max_new_tokens: int = Field(ge=1, le=MOST_NEW_TOKENS)
    """Longest completion, in tokens; longer ones are cut off."""
    prompt: PromptConfig = PromptConfig()
    """How the policy is asked a question."""
    temperature: Temperature = 1.0
    """Sampling temperature; top-p, top-k and min-p stay off, since they bias confidence."""
    vllm: VllmConfig | None = None
    """Sample with vLLM; None: the policy samples by itself, with transformers. Excludes `rollouts`."""
    rollouts: RolloutConfig | None = None
    """Sample with Ray actors; None: each trainer samples its own. Excludes `vllm` and `lora`."""
    resample_rounds: int = Field(0, ge=0, le=2**10)
    """DAPO's dynamic sampling (arXiv 2503.14476, sec. 3.2): most rounds of further prompts that replace groups whose
    rewards do not differ. 0: off, as LENS needs it."""
    resample_groups: Literal["equal", "all_right"] = "equal"
    """Which groups further prompts replace: those whose rewards are equal (DAPO), or those in which all completions are
    right, and no others (NGRPO, arXiv 2509.18851)."""
    mask_truncated: bool = False
    """Completions that `max_new_tokens` cut off get no gradient; their rewards still count in their group, as in TRL
    and in DAPO's overlong filtering (arXiv 2503.14476, sec. 3.4)."""
    truncated_leave_group: bool = False
    """With `mask_truncated`: they leave their group's statistics too, as completions that could not be graded."""
    learning_rate: float = Field(gt=0, le=10)
    """Peak learning rate of AdamW."""
    warmup_steps: int = Field(0, ge=0, le=MOST_STEPS)
    """Steps of linear warm-up; at most `steps`."""
    schedule: Literal["constant_with_warmup", "linear", "cosine"] = "constant_with_warmup"
    """Schedule of the learning rate after the warm-up."""
    adam_beta2: float = Field(0.999, gt=0, lt=1)
    """AdamW's decay of the squared gradients' mean; lower it for runs of fewer than about 1 / (1 - beta2) steps."""
    weight_decay: float = Field(0.0, ge=0, le=100)
    """AdamW's weight decay."""
    max_grad_norm: float = Field(1.0, gt=0, le=1e12)
    """Gradients are scaled down to this norm if they exceed it."""
    clip: float = Field(0.2, gt=0, lt=1)
    """epsilon of the clipped importance ratio (eq. 3, arXiv 2510.08696)."""
    clip_high: float | None = Field(None, gt=0, le=1e6)
    """epsilon of the ratio's upper bound (DAPO, arXiv 2503.14476; NGRPO, arXiv 2509.18851); None: the same as
    `clip`."""
    beta: float = Field(0.0, ge=0, le=1e6)
    """Weight of the KL term; the LENS paper has none."""
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "grpo"
    """Aggregation of the token loss, by TRL's names; `grpo` is eq. 3 of arXiv 2510.08696: mean over tokens, then over
    completions."""
    lora: LoraConfig | None = None
    """Train low-rank adapters; None: full fine-tuning."""
    fsdp: bool = False
    """Shard weights, gradients and optimiser state over the processes of `--workers` (FSDP2) instead of copying them to
    each; needs GPUs, and excludes `lora`."""
    bf16: bool = False
    """Compute in bfloat16 (GPU); weights and optimiser stay in float32, except the frozen weights under LoRA."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: slower, with much less memory on long completions."""
    verifier: Verifier = BUILT_IN
    """What grades the completions: `math`, an entry point of the group `lens_grpo.verifiers`, or
    `package.module:function` (docs/verifier.md); must equal `evaluation.verifier`."""
    answer_pattern: AnswerPattern | None = None
    """How the built-in verifier finds the final answer: a regular expression whose first group is the answer, where it
    last matches; None: what `extraction` says. Must equal `evaluation.answer_pattern`."""
    extraction: Extraction = "strict"
    """Where the built-in verifier looks for the final answer if there is no `answer_pattern`. `strict`: a box, an
    `<answer>` tag or a `####` line; `lenient`: also phrases (`the answer is`), and the last formula or number
    (docs/verifier.md)."""
    economy: EconomyConfig = EconomyConfig()
    """Ways to the same gradient with less work."""
    max_ungraded_share: float = Field(0.1, ge=0, le=1)
    """Stop the run if a larger fraction of a batch's completions could not be graded."""
    max_skipped_steps: int = Field(5, ge=1, le=MOST_STEPS)
    """Stop the run after this many steps in a row without a finite loss and gradient; fewer are skipped and counted."""
    checkpoint_every: int | None = Field(None, ge=1, le=MOST_STEPS)
    """Steps between checkpoints, which `--resume` continues from; a multiple of `log_every`. None: no checkpoints."""
    max_failures: int = Field(3, ge=0, le=2**16)
    """With `--workers`: how many times a training whose worker died restarts from its last checkpoint."""
    keep_checkpoints: int = Field(2, ge=1, le=MOST_STEPS)
    """Number of checkpoints to keep; older ones are deleted."""
    log_every: int = Field(1, ge=1, le=MOST_STEPS)
    """Steps between two lines of metrics."""
    seed: Seed = 0
    """Random seed of sampling and of the order of prompts."""

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        rollouts = self.prompts_per_step * self.group_size
        if self.micro_batch_size is not None and rollouts % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size {self.micro_batch_size} must divide the {rollouts} completions of a step "
                f"(prompts_per_step x group_size)"
            )
        if rollouts * self.updates_per_batch > _MOST_ROLLOUTS:
            raise ValueError(
                f"a batch of {rollouts * self.updates_per_batch:,} completions (prompts_per_step x group_size x "
                f"updates_per_batch) is too large: at most {_MOST_ROLLOUTS:,}"
            )
        if self.rollouts is not None:
            for name in ("vllm", "lora"):
                if getattr(self, name) is not None:
                    raise ValueError(f"rollouts and {name} exclude each other; leave one of them out")
            if self.rollouts.max_off_policy and self.resample_rounds:
                raise ValueError("rollouts.max_off_policy must be 0 with resample_rounds, which waits for every batch")
        if self.truncated_leave_group and not self.mask_truncated:
            raise ValueError("truncated_leave_group needs mask_truncated: only masked completions leave their group")
        if self.fsdp and self.lora is not None:
            raise ValueError("fsdp and lora exclude each other: adapters are small enough for every process")
        if self.warmup_steps > self.steps:
            raise ValueError(
                f"warmup_steps {self.warmup_steps} exceeds steps {self.steps}: lower train.warmup_steps too, for "
                f"example to {self.steps // 10}"
            )
        if self.checkpoint_every is not None and self.checkpoint_every % self.log_every:
            raise ValueError(
                f"checkpoint_every {self.checkpoint_every} must be a multiple of log_every {self.log_every}, "
                "or a resumed run would log other averages"
            )
        return self

    def micro_batch_of(self, ranks: int) -> int:
        """Completions in one forward and backward pass, where so many processes share a step.

        Raises:
            LensError: if they cannot share its completions evenly.
        """
        rollouts = self.prompts_per_step * self.group_size
        micro_batch = rollouts // ranks if self.micro_batch_size is None else self.micro_batch_size
        if micro_batch == 0 or rollouts % (ranks * micro_batch):
            cut = (
                "" if self.micro_batch_size is None else f" in micro-batches of {micro_batch} (train.micro_batch_size)"
            )
            raise LensError(
                f"{rollouts} completions a step (prompts_per_step x group_size) do not divide over {ranks} "
                f"processes{cut}: change train.prompts_per_step or the number of processes (--workers)"
            )
        return micro_batch

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
