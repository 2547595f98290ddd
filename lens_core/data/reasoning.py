"""Problems of reasoning-gym: procedural task families, made from a seed, that bring verifiers of their own.

Package: https://pypi.org/project/reasoning-gym. An entry's metadata is what its family's `score_answer` asks for, and
stays with the problem.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lens_core.config import SourceConfig
from lens_core.data.problem import Problem
from lens_core.errors import LensError, first_line
from lens_core.verify.entry import judge_entry

SEEDS_APART = 2**20
"""The package makes problem i from the sum of seed and i: neighbouring seeds would share all but one."""
Stages = Mapping[str, Sequence[float]]
"""Parameter -> its rising values in a family's curriculum, where these are numbers."""
_NONSENSE = "xyzzy"
_ANY = "(any that the task's rules accept)"
"""The gold answer of families that know none, and judge by their rules alone."""


def reasoning_problems(source: SourceConfig) -> Iterator[Problem]:
    """`source.size` problems of the families in `source.tasks` in turns; their difficulty is their level.

    Raises:
        LensError: if the package is not installed, or a family or a parameter of it is not known.
    """
    assert source.tasks is not None
    assert source.size is not None
    families = [_family(name, parameters, source) for name, parameters in source.tasks.items()]
    for index in range(source.size):
        name, dataset, stages = families[index % len(families)]
        found = dataset[index // len(families)]
        try:
            entry = json.dumps({"task": name, "answer": found["answer"], "metadata": found["metadata"]})
        except TypeError as error:
            raise LensError(f"reasoning-gym's task {name!r} cannot be written ({error}): leave it out") from error
        _require_rules(name, found["answer"], entry)
        yield Problem(
            id=f"{name}-{index // len(families)}",
            prompt=found["question"],
            answer=(found["answer"] or "").strip() or _ANY,
            level=_level(stages, found["metadata"]),
            subject=name,
            source=source.name or source.kind,
            entry=entry,
        )


def _require_rules(name: str, answer: str | None, entry: str) -> None:
    """A policy would find what a family takes for right by mistake."""
    if answer is not None and judge_entry(answer, entry)[0] != "correct":
        raise LensError(f"reasoning-gym's task {name!r} refuses its own answer once that is written: leave it out")
    if judge_entry(_NONSENSE, entry)[0] == "correct":
        raise LensError(f"reasoning-gym's task {name!r} takes any answer for right: leave it out")


def _family(name: str, parameters: Mapping[str, Any], source: SourceConfig) -> tuple[str, Any, Stages]:
    try:
        from reasoning_gym.factory import DATASETS, create_curriculum, create_dataset, has_curriculum
    except ImportError as error:
        raise LensError(f"reasoning-gym cannot be imported ({first_line(error)}): make reasoning-gym") from error
    if name not in DATASETS:
        raise LensError(f"reasoning-gym has no task {name!r}; choose from {', '.join(sorted(DATASETS))}")
    try:
        dataset = create_dataset(name, **{"size": source.size, "seed": source.seed * SEEDS_APART, **parameters})
    except (AssertionError, TypeError, ValueError) as error:
        raise LensError(f"reasoning-gym's task {name!r} refuses {dict(parameters)}: {first_line(error)}") from error
    attributes = create_curriculum(name).attributes if has_curriculum(name) else {}
    stages = {
        key: each.levels for key, each in attributes.items() if all(isinstance(low, int | float) for low in each.levels)
    }
    return name, dataset, stages


def _level(stages: Stages, metadata: Mapping[str, Any]) -> int | None:
    """The highest stage of the family's own curriculum that one of its parameters has come to, from 1."""
    values = {key: _number(key, metadata) for key in stages}
    reached = [sum(low <= value for low in stages[key]) for key, value in values.items() if value is not None]
    return max(1, *reached) if reached else None


def _number(key: str, metadata: Mapping[str, Any]) -> float | None:
    """The entry's own value, or the upper end of the range that it was drawn from."""
    value = metadata.get(key, metadata.get("difficulty", {}).get(key))
    if isinstance(value, list | tuple) and value:
        value = value[-1]
    return value if isinstance(value, int | float) else None
