"""The CLI as a person uses it: a process of its own, a home of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from lens_core.tracking import EXPERIMENT

Lens = Callable[..., "subprocess.CompletedProcess[str]"]
REDUCED = (
    "train.steps=2",
    "train.warmup_steps=0",
    "train.prompts_per_step=4",
    "train.group_size=8",
    "data.train.per_level=20",
    "data.test.per_level=4",
    "evaluation.n=4",
    "evaluation.ks=[1, 4]",
)
"""The demo at a size for tests: the same steps, fewer of everything."""


def command(*arguments: str, overrides: tuple[str, ...] = ()) -> list[str]:
    options = [part for override in overrides for part in ("--set", override)]
    return [str(Path(sys.executable).with_name("lens")), *arguments, *options]


def tracked(home: Path) -> list[Run]:
    """The runs in the store of a home folder."""
    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")
    return list(client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id]))
