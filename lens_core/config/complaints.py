"""What is wrong with a configuration, in words and by the keys that a person has written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from lens_core.credentials import names_secret
from lens_core.lookup import did_you_mean

_MOST_SHOWN = 200
"""Characters of a value in an error."""
_WORDS = {
    "missing": "is missing",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be greater than or equal to {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be less than or equal to {le}",
    "too_short": "must have at least {min_length} of them",
    "too_long": "must have at most {max_length} of them",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "has more than {max_length:,} characters, the limit",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "literal_error": "must be {expected}",
    "finite_number": "must be a finite number",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    "int_parsing_size": "is too large a number",
    **dict.fromkeys(("string_type", "string_unicode"), "must be a valid string"),
    **dict.fromkeys(("tuple_type", "list_type"), "must be a list"),
    **dict.fromkeys(("dict_type", "model_type", "mapping_type"), "must be a mapping of keys to values"),
}
"""Kind of error -> what is said of it, with what pydantic knows of the limit; others are said as pydantic says them."""
_SAYS_ALL = ("value_error", "missing", "extra_forbidden", "too_short", "too_long", "string_too_long")
"""Kinds of which the value that was given adds nothing."""


def describe(error: ValidationError, model: type[BaseModel] | None = None, tree: Any = None) -> str:
    """A validation error on one line: each key with what is wrong with its value.

    Args:
        model: what was validated, for the nearest keys; None: none are suggested.
        tree: the plain data, for keys as they were written; None: places in lists are always named.
    """
    said = []
    for item in error.errors():
        keys = _written(item["loc"], tree)
        place = ".".join(keys) or "configuration"
        said.append(f"{place}: {_problem(item, keys, model)}")
    return "; ".join(said)


def keys_of(error: ValidationError, tree: Any) -> list[str]:
    """Key paths of what is wrong, as they were written."""
    return [".".join(_written(item["loc"], tree)) for item in error.errors()]


def _written(loc: Sequence[int | str], tree: Any) -> list[str]:
    """Without the place in a list that is only there because a single value counts as a list of one."""
    keys: list[str] = []
    for key in loc:
        if isinstance(key, int) and tree is not None and not isinstance(tree, list | tuple):
            continue
        keys.append(str(key))
        if isinstance(tree, Mapping):
            tree = tree.get(key)
        elif isinstance(tree, list | tuple) and isinstance(key, int) and key < len(tree):
            tree = tree[key]
    return keys


def _problem(item: Any, keys: Sequence[str], model: type[BaseModel] | None) -> str:
    kind, limits = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return "there is no such key" + ("" if model is None else _nearest(keys, model))
    said = _WORDS[kind].format(**limits) if kind in _WORDS else item["msg"].removeprefix("Value error, ")
    return said if kind in _SAYS_ALL else said + _got(keys, item["input"])


def _nearest(keys: Sequence[str], model: type[BaseModel]) -> str:
    """The key that was perhaps meant: one of this name elsewhere, or a sibling of nearly this name."""
    paths = list(_key_paths(model))
    parents, leaf = list(keys[:-1]), keys[-1]
    plain = [key for key in parents if not key.isdigit()]
    siblings = [path.rpartition(".")[2] for path in paths if path.split(".")[:-1] == plain]
    elsewhere = [path for path in paths if path.rpartition(".")[2] == leaf]
    if elsewhere:
        return f"; did you mean {' or '.join(elsewhere[:2])}?"
    return did_you_mean(leaf, siblings, "".join(f"{key}." for key in parents))


def _key_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in _sections(field.annotation):
            yield from _key_paths(inner, f"{prefix}{name}.")


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections that a field may hold, by itself or in a list; those behind names of the user's are left out."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif getattr(annotation, "__origin__", None) is not dict:
        for each in get_args(annotation):
            yield from _sections(each)


def _got(keys: Sequence[str], value: Any) -> str:
    """The value that was refused, unless it may be a secret, or would fill the line."""
    if isinstance(value, Mapping) or any(names_secret(key) for key in keys):
        return ""
    shown = repr(value)
    return f" (got {shown if len(shown) <= _MOST_SHOWN else shown[:_MOST_SHOWN] + '...'})"
