"""The typed configuration of a run: one frozen tree, validated once, written into every run folder.

A recipe is a whole run in one YAML file (see lens_core/recipes); single values are overridden as `key.path=value`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lens_core.errors import LensError
from lens_core.objective import LensConfig

T = TypeVar("T", bound=BaseModel)


class Section(BaseModel):
    """A frozen part of the tree; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceConfig(Section):
    """Where problems come from."""

    kind: Literal["ladder", "gsm8k", "math", "problems", "huggingface"]
    """`ladder`: generated; `gsm8k`, `math`, `problems`: a JSON Lines file; `huggingface`: a data set of its library."""
    path: str | None = None
    """File of `gsm8k`, `math` and `problems`; name on the hub or local folder of `huggingface`."""
    columns: dict[Literal["prompt", "answer", "level", "subject", "solution"], str] | None = None
    """`huggingface` only: which column holds which field, e.g. `{prompt: question, answer: answer}`."""
    split: str | None = None
    """`huggingface` only: split to read; None: `train`."""
    levels: tuple[int, ...] | None = None
    """Keep these levels only; None: all."""
    limit: int | None = Field(None, ge=1)
    """Keep a random subset of this many problems (by `seed`); None: all."""
    per_level: int | None = Field(None, ge=1)
    """`ladder` only: distinct problems of each level."""
    seed: int = Field(0, ge=0)
    """Of the ladder's problems, and of the subset that `limit` keeps."""

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
        elif self.columns is not None or self.split is not None:
            raise ValueError(f"columns and split belong to huggingface sources, not to {self.kind}")
        return self


class DataConfig(Section):
    """The problems of a run."""

    train: SourceConfig
    test: SourceConfig | None = None
    """None: `test_share` of the training source is held out."""
    test_share: float = Field(0.1, gt=0, lt=1)
    """Share held out where `test` is None."""
    seed: int = Field(0, ge=0)
    """Of the hold-out and of the order of the training problems."""
    skip_bad_rows: bool = False
    """Count bad rows and write them aside instead of stopping at the first."""


class TrainConfig(Section):
    """One training run; the same for every method that is compared."""

    steps: int = Field(ge=1)
    """Optimiser steps."""
    prompts_per_step: int = Field(ge=1)
    """Groups whose rollouts make one optimiser step."""
    group_size: int = Field(16, ge=2)
    """G: answers to each prompt."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Completions in one forward and backward pass; None: all of a step at once."""
    max_new_tokens: int = Field(ge=1)
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature; top-p, top-k and min-p stay off, since they bias confidence."""
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(0, ge=0)
    schedule: Literal["constant_with_warmup", "linear", "cosine"] = "constant_with_warmup"
    """Of the learning rate after the warm-up."""
    adam_beta2: float = Field(0.999, gt=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    clip: float = Field(0.2, gt=0, lt=1)
    """epsilon of the clipped ratio (eq. 3)."""
    beta: float = Field(0.0, ge=0)
    """Weight of the KL term; the paper has none."""
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "grpo"
    """Aggregation of the token loss; `grpo` is the paper's eq. 3: mean over tokens, then over answers."""
    bf16: bool = False
    """Train in bfloat16 (GPU)."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: slower, and much less memory on long completions."""
    max_ungraded_share: float = Field(0.1, ge=0, le=1)
    """A step with more ungraded answers than this stops the run."""
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
        if self.warmup_steps > self.steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} exceeds steps {self.steps}")
        return self


class EvaluationConfig(Section):
    """Pass@k on the test problems."""

    n: int = Field(16, ge=1)
    """Completions of each problem."""
    ks: tuple[int, ...] = (1, 2, 4, 8, 16)
    max_new_tokens: int = Field(ge=1)
    temperature: float = Field(1.0, gt=0)
    batch_size: int = Field(256, ge=1)
    """Completions that are decoded together."""
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _ks_fit_n(self) -> Self:
        if not self.ks or list(self.ks) != sorted(set(self.ks)) or self.ks[0] < 1:
            raise ValueError(f"ks {list(self.ks)} must be rising numbers >= 1, for example [1, 2, 4, 8, 16]")
        if self.ks[-1] > self.n:
            raise ValueError(f"k = {self.ks[-1]} exceeds n = {self.n}: Pass@k needs at least k completions a problem")
        return self


class RunConfig(Section):
    """A whole run: data, base policy, the methods to compare, training and evaluation."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=40)
    """Shown in MLflow, in reports and in folder names."""
    base: str = "ladder-base"
    """Model to start from: a folder or a hub name in Hugging Face format; `ladder-base` ships with the package."""
    data: DataConfig
    methods: dict[str, LensConfig] = Field(min_length=1)
    """Methods to train and compare, by the name that they have in tables."""
    train: TrainConfig
    evaluation: EvaluationConfig

    @field_validator("methods", mode="before")
    @classmethod
    def _methods_are_known(cls, methods: Any) -> Any:
        known = {field.name for field in dataclasses.fields(LensConfig)}
        for name, values in methods.items() if isinstance(methods, dict) else ():
            if name == "base" or not re.fullmatch(r"[a-z0-9_-]+", str(name)):
                raise ValueError(f"{name!r} is no method name; use a-z, 0-9, - and _, and not 'base'")
            if isinstance(values, dict) and not values.keys() <= known:
                raise ValueError(
                    f"{name} has unknown keys {sorted(values.keys() - known)}; choose from {', '.join(sorted(known))}"
                )
        return methods

    def digest(self) -> str:
        """SHA-256 of the resolved values, in hex: equal configurations have equal digests."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def recipe_names() -> list[str]:
    """Names of the recipes that the package ships."""
    folder = resources.files("lens_core.recipes")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a recipe by name, or a YAML file by path, apply `key.path=value` overrides, and validate the whole.

    Raises:
        LensError: naming the recipe, file, key or value, with what is allowed.
    """
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
    for override in overrides:
        _override(tree, override)
    return parse(RunConfig, tree, str(source))


def parse(model: type[T], value: Any, name: str) -> T:
    """Validate plain data as `model`; `name` says in the error where the data came from."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise LensError(f"{name}: {describe(error)}") from error


def describe(error: ValidationError) -> str:
    """A validation error on one line: each key with what is wrong with its value."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'configuration'}: {item['msg'].removeprefix('Value error, ')}"
        + ("" if item["type"] in ("value_error", "missing") else f" (got {item['input']!r})")
        for item in error.errors()
    )


def _override(tree: dict[str, Any], override: str) -> None:
    """Set `key.path=value` in `tree`; the value is read as YAML, so that `null` and `[1, 2]` mean what they say."""
    path, separator, value = override.partition("=")
    if not separator:
        raise LensError(f"override {override!r} must read key.path=value, for example train.steps=50")
    *parents, leaf = path.strip().split(".")
    for key in parents:
        child = tree.setdefault(key, {})
        if not isinstance(child, dict):
            raise LensError(f"override {override!r}: {key} holds a value, not further keys")
        tree = child
    try:
        tree[leaf] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise LensError(f"override {override!r}: the value is no valid YAML") from error
