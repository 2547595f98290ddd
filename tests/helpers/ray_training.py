"""A small training on Ray Train, and what makes it the same training as another."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from lens_core.config import RunConfig, load_config
from lens_core.data.ladder import ladder
from lens_core.distributed.count import Workers
from lens_core.distributed.train import OnRay, train_with_ray
from lens_core.training.spec import TrainingSpec
from tests.helpers.curves import curve

PROBLEMS = ladder(8, seed=1)
TO_BE_KILLED = (
    "train.steps=60",
    "train.prompts_per_step=3",
    "train.group_size=4",
    "train.max_new_tokens=12",
    "train.warmup_steps=0",
    "train.learning_rate=1e-3",
    "methods={m: {objective: nsr}}",
)
"""A training that is long enough to be met in the middle."""


def config(*overrides: str) -> RunConfig:
    sizes = ["steps=4", "prompts_per_step=3", "group_size=4", "max_new_tokens=12", "warmup_steps=0"]
    others = ["learning_rate=1e-3", "checkpoint_every=1", *overrides]
    # Nothing of the tiny policy's is right: NSR moves the weights nevertheless.
    return load_config("demo", [*(f"train.{each}" for each in (*sizes, *others)), "methods={m: {objective: nsr}}"])


def training(settings: RunConfig, base: Path, output: Path) -> TrainingSpec:
    return TrainingSpec(PROBLEMS, base, settings.train, settings.methods["m"], output)


def on_ray(settings: RunConfig, base: Path, output: Path, workers: Workers, on_step: Any = lambda *_: None) -> Path:
    output.mkdir()
    return train_with_ray(training(settings, base, output), on_step, OnRay(workers))


def dying(settings: RunConfig, at_step: int, mark: Path) -> RunConfig:
    """The same training, of which one worker is killed in the middle of a step, once."""
    return settings.with_values(
        {"methods": {"m": {"objective": "tests.helpers.fakes:dying_objective", "at_step": at_step, "mark": str(mark)}}}
    )


def assert_same_training(output: Path, expected: Path, tolerance: float) -> None:
    assert len(curve(output)) == len(curve(expected))
    for step, other in zip(curve(output), curve(expected), strict=True):
        assert step == pytest.approx(other, abs=tolerance)
    weights, others = (load_file(folder / "model.safetensors") for folder in (output, expected))
    for name, weight in others.items():
        assert (weights[name] - weight).abs().max() <= tolerance, name
