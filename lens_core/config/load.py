"""Reads a configuration: a recipe by name or a YAML file by path, with overrides as `key.path=value`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from lens_core.config.run import About, RunConfig
from lens_core.config.sections import override_value, parse
from lens_core.config.text import read_text, read_yaml
from lens_core.errors import LensError
from lens_core.files import require_regular


def recipe_names() -> list[str]:
    """Names of the recipes that the package ships."""
    folder = resources.files("lens_core.recipes")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def recipe_abouts() -> dict[str, About]:
    """Recipe -> what it says about itself; nothing else of it is read, so that a list of them costs little."""
    folder = resources.files("lens_core.recipes")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, if PyYAML was built with libyaml
    trees = {name: yaml.load((folder / f"{name}.yaml").read_text(encoding="utf-8"), loader) for name in recipe_names()}
    return {name: parse(About, tree["about"], name) for name, tree in trees.items()}


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a recipe by name, or a YAML file by path, apply `key.path=value` overrides, and validate the whole.

    `extends: NAME` in a file takes what it does not say from another recipe or file; `methods` and a data source that
    says its kind are replaced as a whole.

    Raises:
        LensError: naming the recipe, file, key or value, with what is allowed.
    """
    tree = _read_tree(source, ())
    for override in overrides:
        override_value(tree, override)
    return parse(RunConfig, tree, str(source))


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
