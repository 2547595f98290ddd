"""Difficulty of problems: the share of a model's answers that were right, read from what an evaluation wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lens_core.config import PassRateConfig, SourceConfig
from lens_core.data.decontaminate import identity, tokens
from lens_core.data.layouts import RowError
from lens_core.data.tables import rows_of
from lens_core.errors import LensError
from lens_core.files import ROLLOUTS_FILE


def read_pass_rates(config: PassRateConfig) -> dict[bytes, float]:
    """Pass rate by `identity` of the prompt's tokens; problems are recognised by what they ask, whatever their ids.

    Raises:
        LensError: if the file cannot be read, or a row holds no rate.
    """
    path = Path(config.path) / ROLLOUTS_FILE if Path(config.path).is_dir() else Path(config.path)
    rates: dict[bytes, float] = {}
    for _, row in rows_of(SourceConfig(kind="problems", path=str(path))):
        try:
            rate = _rate(row.value)
        except RowError as error:
            raise LensError(f"{path}:{row.line}: {error}; give what `lens data pass-rates` wrote") from error
        if rate is not None:
            rates[identity(tokens(row.value["prompt"]))] = rate
    return rates


def _rate(row: Any) -> float | None:
    """`pass_rate`, or the share of right ones among the completions that could be graded; None where none could."""
    if isinstance(row, RowError):
        raise row
    if not isinstance(row, Mapping) or not isinstance(row.get("prompt"), str):
        raise RowError("the row has no 'prompt'")
    if "pass_rate" in row:
        rate = row["pass_rate"]
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
            raise RowError(f"pass_rate is {rate!r}, not a share from 0 to 1")
        return float(rate)
    completions = row.get("completions")
    if not isinstance(completions, list):
        raise RowError("the row has neither 'pass_rate' nor 'completions'")
    outcomes = [completion["outcome"] for completion in completions]
    graded = len(outcomes) - outcomes.count("ungraded")
    return outcomes.count("correct") / graded if graded else None
