"""What may be changed by hand where a configuration is one JSON text: on Kubeflow's page of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lens_core.config.run import RunConfig
from lens_core.config.sections import override_value, parse

_OF_TRAIN = ("steps", "learning_rate", "seed")


def values_by_hand(config: RunConfig) -> list[str]:
    """What people change most often, as overrides that change nothing: `train.steps=80`, `methods.lens.alpha=0.25`.

    Of each method all numbers and words that its objective takes, defaults included.
    """
    values = {f"train.{name}": getattr(config.train, name) for name in _OF_TRAIN}
    for name, method in config.methods.items():
        values |= {f"methods.{name}.{key}": value for key, value in method.resolved.items()}
    return [f"{path}={json.dumps(value)}" for path, value in values.items() if isinstance(value, str | int | float)]


def changed_by(config: RunConfig, overrides: Sequence[str]) -> list[str]:
    """Those of `overrides` that are not among the values by hand, as they were."""
    as_they_were = values_by_hand(config)
    return [each for each in overrides if each not in as_they_were]


def overridden(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """`config` with `key.path=value` overrides, whole and valid.

    Raises:
        LensError: naming the key or value, with what is allowed.
    """
    tree = config.model_dump(mode="json")
    sources = tree["data"]["train"]
    if len(sources) == 1:  # as recipes write it, so that `data.train.per_level` means what it means there
        (tree["data"]["train"],) = sources
    for override in overrides:
        override_value(tree, override)
    return parse(RunConfig, tree, "", overrides)
