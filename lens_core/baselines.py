"""PLACEHOLDER, to be replaced by the complete file that is being written."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from lens_core.objective import LensConfig, advantages

Estimator = Callable[..., Tensor]


def lens(rewards: Tensor, confidences: Tensor, entropies: Tensor | None, **p: Any) -> Tensor:
    return advantages(rewards, confidences, LensConfig(**p))


def needs_entropies(f: Any) -> bool:
    return False


def informative(r: Tensor) -> Tensor:
    g = ~r.isnan()
    return r.masked_fill(~g, -float("inf")).amax(1) > r.masked_fill(~g, float("inf")).amin(1)


def check_parameters(f: Any, p: Any) -> None:
    lens(__import__("torch").ones(1, 2), __import__("torch").ones(1, 2), None, **p)


def find_estimator(n: str) -> Estimator:
    return lens
