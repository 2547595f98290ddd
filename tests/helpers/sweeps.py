"""A small sweep of a tiny policy."""

from pathlib import Path

from lens_core.config import RunConfig, load_config

SPACE = "{train.learning_rate: {choice: [1.0e-3, 1.0e-4]}, methods.m.positive_weight: {choice: [0.0, 0.5]}}"


def design(base: Path, *overrides: str, space: str = SPACE) -> RunConfig:
    train = ["steps=4", "prompts_per_step=2", "group_size=4", "max_new_tokens=8", "warmup_steps=0", "max_tokens=null"]
    others = [
        f"base={base}",
        "data.train.per_level=4",
        "data.test.per_level=2",
        "data.validation=4",
        "evaluation.n=2",
        "evaluation.ks=[1,2]",
        "evaluation.max_new_tokens=8",
        "methods={m: {objective: nsr}}",
        "sweep.method=m",
        f"sweep.space={space}",
        "sweep.search=grid",
        "sweep.scheduler=none",
        "sweep.validate_every=2",
        *overrides,
    ]
    return load_config("ladder-sweep", [*(f"train.{each}" for each in train), *others])
