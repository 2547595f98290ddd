"""Names of the files that stages write, and whose a folder is."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lens_core.config import CHANGEABLE, Method, RunConfig, Section, TrainConfig, differing, parse
from lens_core.errors import LensError
from lens_core.files import read_json, write_json

BASE = "base"
"""Label of the base policy in tables."""
TRAINING_FILE, REPORT_FILE, MARKDOWN_FILE = "training.json", "report.html", "report.md"
CHECKPOINTS_FILE = "checkpoints.jsonl"
"""In a training's folder: what its checkpoints reached on held-out problems."""
COMPARISON_FILE, PAIRED_FILE, RUN_FILE, DESIGN_FILE = "comparison.json", "paired.json", "run.json", "design.json"
_CHANGEABLE = ("about", "base_shape", *(f"train.{name}" for name in CHANGEABLE))
_SHOWN = 4
"""Differences that an error names."""


class TrainingDesign(Section):
    """All that a training's curve depends on, as `run.json` keeps it: a checkpoint belongs to one and no other."""

    base: str
    method: Method
    train: TrainConfig
    data_sha256: str
    """Of the training problems."""

    def may_change(self) -> tuple[str, ...]:
        """Key paths that a resumed training may have other values of."""
        lengths = ("train.steps", "train.max_tokens") if self.train.schedule == "constant_with_warmup" else ()
        return (*(f"train.{name}" for name in CHANGEABLE), *lengths)


def read_training(folder: Path) -> dict[str, Any]:
    """The `training.json` of a finished training.

    Raises:
        LensError: if it is missing or damaged.
    """
    return read_json(folder / TRAINING_FILE, "method", "seconds")


def saved_config(policy: Path) -> RunConfig | None:
    """The configuration that a policy was trained with, as `lens train` left it in the folder; None of any other.

    Raises:
        LensError: if it is damaged.
    """
    path = policy / RUN_FILE
    held = read_json(path) if path.exists() else {}
    return parse(RunConfig, held["config"], str(path)) if "config" in held else None


def claim(config: RunConfig, output: Path, may_change: Collection[str] = ()) -> None:
    """Write down which configuration `output`, a folder that is there, belongs to.

    Args:
        may_change: key paths that may have had other values before, beside those that change no result.

    Raises:
        LensError: if it belongs to another one, naming the values that differ.
    """
    path = output / DESIGN_FILE
    if path.exists():
        held = parse(RunConfig, read_json(path).get("config"), str(path))
        refuse_other_values(output, held, config, (*_CHANGEABLE, *may_change))
    write_json(path, {"config": config.model_dump(mode="json")})


def refuse_other_values(output: Path, held: BaseModel, wanted: BaseModel, may_change: Collection[str]) -> None:
    """Refuse to go on in `output` with other values than it was begun with.

    Raises:
        LensError: naming each value, as it was and as it is.
    """
    found = differing(held, wanted, may_change)
    if not found:
        return
    shown = [f"{path} {was}, now {now}" for path, (was, now) in list(found.items())[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise LensError(
        f"{output} was begun with {'; '.join(shown)}{more}: go on with the values of before, or choose another folder"
    )
