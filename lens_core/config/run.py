"""The whole configuration of a run: one frozen tree, validated once, written into every run folder.

A recipe is a whole run in one YAML file (see lens_core/recipes); single values are overridden as `key.path=value`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from lens_core.config.complaints import describe
from lens_core.config.data import DataConfig
from lens_core.config.evaluation import EvaluationConfig
from lens_core.config.experiments import StudyConfig, SweepConfig
from lens_core.config.method import Method
from lens_core.config.sections import Section, parse, set_value
from lens_core.config.train import TrainConfig
from lens_core.errors import LensError
from lens_core.lookup import did_you_mean

SHIPPED_BASE = "ladder-base"
"""Name of the base policy that the package ships."""


class ModelShape(Section):
    """The size of a base policy, for estimates before anything is downloaded."""

    parameters: int = Field(ge=1, le=10**15)
    """Number of weights, embeddings included."""
    layers: int = Field(ge=1, le=2**16)
    """Number of transformer layers (`num_hidden_layers`)."""
    hidden_size: int = Field(ge=1, le=2**24)
    """Width of the residual stream (`hidden_size`)."""
    kv_heads: int = Field(ge=1, le=2**16)
    """Number of key-value heads (`num_key_value_heads`)."""
    head_size: int = Field(ge=1, le=2**16)
    """Width of an attention head (`head_dim`)."""


class About(Section):
    """What a recipe says about itself; `lens recipe list` shows it."""

    source: str
    """Paper and section that the values come from."""
    hardware: str
    """What it needs to run."""
    hours: str
    """Duration in hours, and whether that is measured or estimated."""
    reported: str
    """What the paper reports for these values."""


class RunConfig(Section):
    """A whole run: data, base policy, the methods to compare, training and evaluation."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=40)
    """Name of the run in MLflow, reports and folder names."""
    about: About | None = None
    """Where the values come from and what they need."""
    base: str = SHIPPED_BASE
    """Model to start from, in Hugging Face format: a folder or a name on the hub; `ladder-base` ships with the
    package."""
    base_shape: ModelShape | None = None
    """Size of `base`, for the memory estimate of `lens train --dry-run` when the model is not on this machine."""
    data: DataConfig
    """The problems to train and evaluate on."""
    methods: dict[str, Method] = Field(min_length=1)
    """Methods to train and compare, by their name in tables: a-z, 0-9, - and _, but not `base`."""
    train: TrainConfig
    """How each method is trained."""
    evaluation: EvaluationConfig
    """How the trained policies are evaluated."""
    study: StudyConfig | None = None
    """What `lens study` runs; None: nothing."""
    sweep: SweepConfig | None = None
    """What `lens sweep` searches; None: nothing. Needs `data.validation`."""

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
                raise ValueError(f"methods.{name}.train: {describe(error, TrainConfig)}") from error
        return self

    @model_validator(mode="after")
    def _one_verifier(self) -> Self:
        trains = map(self.train_for, self.methods)
        for train, name in product(trains, ("verifier", "answer_pattern")):
            trained, measured = getattr(train, name), getattr(self.evaluation, name)
            if trained != measured:
                raise ValueError(
                    f"train.{name} {trained!r} and evaluation.{name} {measured!r} must be the same: "
                    "Pass@k measures what the training rewarded"
                )
        return self

    @model_validator(mode="after")
    def _lenient_training_says_how_it_is_measured(self) -> Self:
        lenient = any(self.train_for(method).extraction == "lenient" for method in self.methods)
        if lenient and self.evaluation.extraction is None and self.evaluation.prompt.may_ask_for_box:
            raise ValueError(
                "train.extraction is lenient, and the evaluation would be strict wherever the prompt asks for a box: "
                "set evaluation.extraction to lenient, or to strict if that is meant"
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

    def required_method(self, name: str) -> Method:
        """The method called `name`, which becomes part of paths.

        Raises:
            LensError: if there is none.
        """
        if name not in self.methods:
            near = did_you_mean(name, self.methods)
            raise LensError(f"the configuration has no method {name!r}; it has {', '.join(self.methods)}{near}")
        return self.methods[name]

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
