"""What configurations are made of: frozen sections, read from plain data, with overrides as `key.path=value`."""

from __future__ import annotations

from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lens_core.errors import LensError

T = TypeVar("T", bound=BaseModel)


class Section(BaseModel):
    """A frozen part of the tree; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def parse(model: type[T], value: Any, name: str) -> T:
    """Validate plain data as `model`; `name` says in the error where the data came from."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise LensError(f"{name}: {describe(error)}") from error


def describe(error: ValidationError) -> str:
    """A validation error on one line: each key with what is wrong with its value."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'configuration'}: {item['msg'].removeprefix('Value error, ')}"
        + ("" if item["type"] in ("value_error", "missing") else f" (got {item['input']!r})")
        for item in error.errors()
    )


def override_value(tree: dict[str, Any], override: str) -> None:
    """Set `key.path=value` in `tree`; the value is read as YAML, so that `null` and `[1, 2]` mean what they say."""
    path, separator, value = override.partition("=")
    if not separator:
        raise LensError(f"override {override!r} must read key.path=value, for example train.steps=50")
    try:
        set_value(tree, path.strip(), yaml.safe_load(value))
    except yaml.YAMLError as error:
        raise LensError(f"override {override!r}: the value is no valid YAML") from error


def set_value(tree: dict[str, Any], path: str, value: Any) -> None:
    *parents, leaf = path.split(".")
    for key in parents:
        child = tree.setdefault(key, {})
        if not isinstance(child, dict):
            raise LensError(f"{path}: {key} holds a value, not further keys")
        tree = child
    tree[leaf] = value
