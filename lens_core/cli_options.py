"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[str, typer.Option("--config", "--recipe", "-c", help="Recipe name or YAML file.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Override a value, e.g. train.steps=20. Repeatable.")
]
Home = Annotated[Path, typer.Option(envvar="LENS_HOME", help="Folder of MLflow's database, artifacts and caches.")]
TrackingUri = Annotated[
    str | None,
    typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow server; default: an SQLite database in --home."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")]
DataFolder = Annotated[Path, typer.Option(help="Folder made by `lens data prepare`.")]

DEFAULT_HOME = Path(".lens")


def store_at(home: Path) -> str:
    """MLflow's store in the home folder."""
    return f"sqlite:///{(home / 'mlflow.db').absolute()}"
