"""Options that several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
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
ConfigOrOwn = Annotated[
    str | None,
    typer.Option(
        "--config", "--recipe", "-c", help="Recipe name or YAML file; default: the one saved in the policy's folder."
    ),
]
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


def settings_of(config: str | None, overrides: list[str] | None, own: Own | None = None) -> RunConfig:
    """What `--config` and `--set` say together; functions that it names are not imported.

    Args:
        config: None: the user gave none, and what they brought decides.
        own: what they brought; None: nothing.

    Raises:
        LensError: naming the key or value that is refused; if something was brought that no configuration belongs to.
    """
    from lens_core.config import load_config, overridden

    said = [] if overrides is None else overrides
    if config is not None:
        return load_config(config, said)
    own = Own() if own is None else own
    saved = own.saved()
    if saved is not None:
        return overridden(saved, said)
    brought = own.brought(said)
    if brought is not None:
        raise LensError(
            f"{brought} needs a configuration that fits it: add --recipe with a name from `lens recipe list` or a "
            "YAML file (docs/own.md)"
        )
    return load_config(own.default, said, is_named=False)


_OWN_KEYS = ("base", "data", "data.train", "data.train.path", "data.max_prompt_tokens")
"""Overrides by which somebody brings a model or data of their own."""


@dataclass(frozen=True)
class Own:
    """What of their own somebody brought to a command: a shipped recipe's values are not meant for it."""

    given: str | None = None
    """As an error names it: `--data problems`; None: nothing."""
    policies: tuple[str | Path, ...] = ()
    """Folders that may hold the configuration of a training; the first that does counts."""
    default: str = "demo"
    """The recipe where nothing was brought."""

    def saved(self) -> RunConfig | None:
        """The configuration that belongs to the policy."""
        from lens_core.config import SHIPPED_BASE, load_config
        from lens_core.stages.folder import saved_config

        for policy in self.policies:
            if str(policy) == SHIPPED_BASE and not Path(policy).exists():
                return load_config("demo")  # the recipe that it was made for
            found = saved_config(Path(policy))
            if found is not None:
                return found
        return None

    def brought(self, overrides: Sequence[str]) -> str | None:
        """What there is, options before overrides."""
        from lens_core.config import key_of

        keys = map(key_of, overrides)
        return self.given or next((f"-s {key}=..." for key in keys if key in _OWN_KEYS), None)


def runnable_settings(config: str | None, overrides: list[str] | None, own: Own | None = None) -> RunConfig:
    """The same for a command that will run these functions: they are imported and tried before it does anything.

    Raises:
        LensError: if there are some that nobody has allowed, or that are no good.
    """
    from lens_core.config import check_imports, refuse_imports

    settings = settings_of(config, overrides, own)
    if not imports_allowed.get():
        refuse_imports(settings, settings.name if config is None else config, [] if overrides is None else overrides)
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
