"""What configurations are made of: frozen sections, read from plain data, with overrides as `key.path=value`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lens_core.errors import LensError

T = TypeVar("T", bound=BaseModel)


class Section(BaseModel):
    """A frozen part of the tree; unknown keys are errors, and the schema describes a field by the text below it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


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


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def differing(one: BaseModel, other: BaseModel, free: Collection[str] = ()) -> dict[str, tuple[Any, Any]]:
    """Key path -> the values of both, where two configurations of one kind differ; None where one has no such key.

    Args:
        free: key paths that may differ, each with all that lies below it.
    """
    a, b = (flattened(each.model_dump(mode="json")) for each in (one, other))
    paths = [path for path in {**a, **b} if not any(f"{path}.".startswith(f"{each}.") for each in free)]
    return {path: (a.get(path), b.get(path)) for path in paths if a.get(path) != b.get(path)}
