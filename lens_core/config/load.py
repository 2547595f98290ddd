"""Reads a configuration: a recipe by name or a YAML file by path, with overrides as `key.path=value`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from lens_core.config.run import SHIPPED_BASE, About, RunConfig
from lens_core.config.sections import override_value, parse
from lens_core.config.text import read_text, read_yaml
from lens_core.errors import LensError
from lens_core.files import require_regular
from lens_core.lookup import did_you_mean


def recipe_names() -> list[str]:
    """Names of the recipes that the package ships."""
    folder = resources.files("lens_core.recipes")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


@dataclass(frozen=True)
class RecipeRow:
    """A shipped recipe, for a list."""

    model: str
    """`base`."""
    data: str
    """Kinds of the training sources."""
    about: About


def recipe_rows() -> dict[str, RecipeRow]:
    """Recipe -> what a list says of it; nothing is validated but that, so that a list of them costs little."""
    return {name: _row(name) for name in recipe_names()}


def _row(name: str) -> RecipeRow:
    tree = _read_tree(name, ())
    train = tree["data"]["train"]
    kinds = dict.fromkeys(source["kind"] for source in (train if isinstance(train, list) else [train]))
    return RecipeRow(str(tree.get("base", SHIPPED_BASE)), ", ".join(kinds), parse(About, tree["about"], name))


def load_config(source: str | Path, overrides: Sequence[str] = (), is_named: bool = True) -> RunConfig:
    """Read a recipe by name, or a YAML file by path, apply `key.path=value` overrides, and validate the whole.

    `extends: NAME` in a file takes what it does not say from another recipe or file; `methods` and a data source that
    says its kind are replaced as a whole.

    Args:
        is_named: by the user, who will know `source` in an error.

    Raises:
        LensError: naming the recipe, file, key or value, with what is allowed.
    """
    tree = _read_tree(source, ())
    for override in overrides:
        override_value(tree, override)
    return parse(RunConfig, tree, str(source) if is_named else "", overrides)


def _read_tree(source: str | Path, children: tuple[str, ...]) -> dict[str, Any]:
    """What `source` says, and what it extends.

    Args:
        children: the files that extend it, the first of them first.
    """
    if str(source) in recipe_names():
        text, place = (resources.files("lens_core.recipes") / f"{source}.yaml").read_text(encoding="utf-8"), str(source)
    else:
        text, place = _read_file(Path(source)), os.path.realpath(source)
    if place in children:
        raise LensError(f"{source} extends itself, by {' and '.join([*children[1:], place])}: take out one `extends`")
    tree = read_yaml(text, str(source))
    if not isinstance(tree, dict):
        raise LensError(f"{source} must hold a mapping of configuration keys")
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    if not isinstance(parent, str):
        raise LensError(f"{source}: extends is a {type(parent).__name__}; give the name of one recipe or file")
    return _merged(_read_tree(parent, (*children, place)), tree)


def _read_file(path: Path) -> str:
    require_regular(path)
    try:
        path.stat()
    except OSError as error:
        raise LensError(
            f"{path} is neither a recipe ({', '.join(recipe_names())}) nor a readable file ({error.strerror})"
            f"{did_you_mean(str(path), recipe_names())}"
        ) from error
    return read_text(path)


def _merged(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """`parent` with what `child` says instead; sections are merged key by key, methods and sources of data are not."""
    merged = dict(parent)
    for key, value in child.items():
        both = isinstance(value, dict) and isinstance(parent.get(key), dict)
        both = both and key != "methods" and "kind" not in value  # a source says its kind, and is whole
        merged[key] = _merged(parent[key], value) if both else value
    return merged
