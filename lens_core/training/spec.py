"""What a training is made of, as a value: the same for this process, for Ray's workers and for a trial of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lens_core.config import Method, TrainConfig
from lens_core.data.problem import Problem

OnStep = Callable[[int, dict[str, float]], None]
"""Called with the step and its metrics each time metrics are logged."""


@dataclass(frozen=True)
class TrainingSpec:
    """One training, from files to files."""

    problems: Sequence[Problem]
    base: Path
    """The policy to start from, in Hugging Face format."""
    config: TrainConfig
    """As the method changes it."""
    method: Method
    output: Path
    """Gets the policy, its tokenizer, checkpoints and metrics."""
    resume_from: Path | None = None
    """A checkpoint of the same training to continue from, step for step as if never interrupted."""
    run_state: Mapping[str, str] = field(default_factory=dict)
    """Strings that every checkpoint carries along."""
