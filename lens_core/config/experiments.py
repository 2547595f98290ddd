"""Many trainings at once: a study over methods and seeds, a sweep over values."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from lens_core.config.sections import Section
from lens_core.config.train import MOST_STEPS, Seed

_LISTS = ("choice", "grid_search")


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


DISTRIBUTIONS = (*_LISTS, "uniform", "quniform", "loguniform", "randint", "lograndint")
"""Names of Ray Tune's distributions that a sweep knows."""


class StudyConfig(Section):
    """An experiment: every method with every seed, on the same base, data and budget (`lens study`)."""

    seeds: tuple[Seed, ...] = Field(min_length=2)
    """`train.seed` of each training; methods are compared in pairs of the same seed."""
    reference: str = "grpo"
    """The method that the others are compared with; one of `methods`."""
    cpus_per_training: int = Field(1, ge=1, le=2**12)
    """Ray CPUs for each training; as many trainings run at once as fit the cluster."""
    gpus_per_training: float = Field(0, ge=0, le=2**10)
    """Ray GPUs for each training; a fraction shares a GPU."""


class SweepConfig(Section):
    """A search for the values of a configuration with the best Pass@k on `data.validation` problems (`lens sweep`)."""

    method: str = "lens"
    """The method to train; one of `methods`."""
    space: dict[str, dict[str, Any]] = Field(min_length=1)
    """Key path -> a distribution of Ray Tune with its arguments, for example `methods.lens.alpha: {loguniform: [0.01,
    10]}`. Distributions: choice, grid_search, uniform, quniform, loguniform, randint, lograndint."""
    search: Literal["random", "grid", "optuna"] = "optuna"
    """How values are chosen: `grid` tries all combinations of `choice` and `grid_search` values, `optuna` models the
    results so far (TPE)."""
    scheduler: Literal["none", "asha", "median", "pbt"] = "asha"
    """What stops trials early: `asha` successive halving (arXiv 1810.05934), `median` the median of the others, `none`
    nothing. Or `pbt`, population-based training (arXiv 1711.09846): at every validation the worst quarter continues
    from checkpoints of the best, with other values."""
    trials: int = Field(16, ge=1, le=10**6)
    """Number of trials; ignored by `grid`, which has one per combination."""
    concurrent: int | None = Field(None, ge=1, le=10**6)
    """Number of trials that run at once; None: as many as there are CPUs for."""
    validate_every: int = Field(10, ge=1, le=MOST_STEPS)
    """Optimiser steps between two measurements of a trial; it may be stopped at each."""
    k: int = Field(1, ge=1, le=2**17)
    """The target is Pass@k, from `evaluation.n` completions of each validation problem; at most `evaluation.n`."""
    cpus_per_trial: int = Field(1, ge=1, le=2**12)
    """Ray CPUs for each trial."""
    gpus_per_trial: float = Field(0, ge=0, le=2**10)
    """Ray GPUs for each trial; a fraction shares a GPU."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Random seed of the search; the trainings all use `train.seed`."""

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
            if name not in _LISTS and not all(_is_finite(value) for value in values):
                raise ValueError(f"{path}: {name} takes finite numbers, not {values}")
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
