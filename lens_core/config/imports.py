"""Functions that a configuration names by their import path: code, which runs with the rights of whoever runs it.

Reading a configuration imports none of them. Whoever runs one allows it: on the command line, or once for a package.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from lens_core.config.run import RunConfig
from lens_core.errors import LensError
from lens_core.lookup import is_path
from lens_core.verify.plugin import find_verifier

TRUSTED = "LENS_ALLOW_IMPORT"
"""Variable that lists packages whose functions any configuration may name, with commas between them."""
_NAMES_A_FUNCTION = ("objective", "verifier")


def import_paths(config: RunConfig) -> dict[str, str]:
    """Import path -> the first key that names it, a sweep's choices among them."""
    return {path: key for key, path in reversed(list(_named(config.model_dump(mode="json"))))}


def refuse_imports(config: RunConfig, name: str, overrides: Sequence[str] = ()) -> None:
    """Refuse import paths that nobody has allowed. None is imported.

    Args:
        name: of the configuration, as an error says it.
        overrides: what was said on the command line, which its own author trusts.

    Raises:
        LensError: naming the first of them, and what allows it.
    """
    said = {text for override in overrides for text in _texts(yaml.safe_load(override.partition("=")[2]))}
    for path, key in import_paths(config).items():
        if path not in said and not _is_trusted(path):
            raise LensError(
                f"{name} names code to run: {key} is {path}. A recipe with import paths can do whatever you can: look "
                f"at it, then add --allow-import, or its package to {TRUSTED}"
            )


def check_imports(config: RunConfig) -> None:
    """Import the functions that `config` names, and try its objectives, before any work.

    Raises:
        LensError: naming the key, with what is wrong with the function.
    """
    for name, method in config.methods.items():
        try:
            method.check()
        except ValueError as error:
            raise LensError(f"methods.{name}: {error}") from error
    try:
        find_verifier(config.evaluation.verifier)  # that of the training is the same
    except ValueError as error:
        raise LensError(f"evaluation.verifier: {error}") from error


def _named(tree: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(key path, import path) of all in a configuration."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            path = f"{key}.{name}" if key else str(name)
            if path.rpartition(".")[2] in _NAMES_A_FUNCTION:
                yield from ((path, text) for text in _texts(value) if is_path(text))
            else:
                yield from _named(value, path)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _is_trusted(path: str) -> bool:
    module = path.partition(":")[0]
    packages = [each.strip() for each in os.environ.get(TRUSTED, "").split(",") if each.strip()]
    return any(f"{module}.".startswith(f"{package}.") for package in packages)
