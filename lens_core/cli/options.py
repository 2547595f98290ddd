"""Options that several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lens_core.errors import LensError

if TYPE_CHECKING:
    from lens_core.config import RunConfig

imports_allowed: ContextVar[bool] = ContextVar("imports_allowed", default=False)
"""Whether `--allow-import` was given."""

Config = Annotated[str, typer.Option("--config", "--recipe", "-c", help="Recipe name or YAML file.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Override a value, e.g. train.steps=20. Repeatable.")
]
Home = Annotated[Path, typer.Option(envvar="LENS_HOME", help="Folder of MLflow's database, artifacts and caches.")]
TrackingUri = Annotated[
    str | None,
    typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow server; default: an SQLite database in --home."),
]
TrackingServer = Annotated[
    str | None,
    typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow server, as pods reach it; default: not tracked."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")]
DataFolder = Annotated[Path, typer.Option(help="Folder made by `lens data prepare`.")]
PreparedData = Annotated[
    Path | None, typer.Option(help="Folder made by `lens data prepare`; default: made in --output.")
]

DEFAULT_HOME = Path(".lens")


def name_of(option: str) -> Callable[[str | None], str | None]:
    """For `typer.Option(callback=...)`: what a person calls something is a name, or refused before any work."""

    def check(name: str | None) -> str | None:
        from lens_core.config import checked_name

        return None if name is None else checked_name(name, option)

    return check


def settings_of(config: str, overrides: list[str] | None) -> RunConfig:
    """What `--config` and `--set` say together; functions that it names are not imported."""
    from lens_core.config import load_config

    return load_config(config, [] if overrides is None else overrides)


def runnable_settings(config: str, overrides: list[str] | None) -> RunConfig:
    """The same for a command that will run these functions: they are imported and tried before it does anything.

    Raises:
        LensError: if there are some that nobody has allowed, or that are no good.
    """
    from lens_core.config import check_imports, refuse_imports

    settings = settings_of(config, overrides)
    if not imports_allowed.get():
        refuse_imports(settings, config, [] if overrides is None else overrides)
    check_imports(settings)
    return settings


def store_of(tracking_uri: str | None, home: Path) -> str:
    """MLflow's store: the one that is named, else the one in the home folder.

    Raises:
        LensError: if the one that is named holds a password: the store is printed, logged and handed on; or if the home
            folder's name cannot stand in an address.
    """
    from lens_core.tracking import checked_uri

    if tracking_uri is None and "?" in str(home.absolute()):  # what follows would be taken for options
        raise LensError(
            f"{home.absolute()} has a question mark in its name, which no SQLite address has: choose another"
        )
    return f"sqlite:///{(home / 'mlflow.db').absolute()}" if tracking_uri is None else checked_uri(tracking_uri)


def made_of_options(**makers: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """For commands that share options: in place of its parameter NAME, a command takes those of the function NAME=.

    It is given that function with the options filled in, and calls it once it wants the value. The annotations of both
    must not be strings, for Typer reads options out of them.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        options = {name: inspect.signature(make).parameters for name, make in makers.items()}
        signature = inspect.signature(command)
        given = [options.get(each.name, {each.name: each}).values() for each in signature.parameters.values()]
        parameters = [each.replace(kind=each.KEYWORD_ONLY) for some in given for each in some]

        @wraps(command)
        def called(**values: Any) -> None:
            for name, make in makers.items():
                values[name] = partial(make, **{option: values.pop(option) for option in options[name]})
            command(**values)

        called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # Typer reads it
        called.__annotations__ = {each.name: each.annotation for each in parameters}
        return called

    return decorate
