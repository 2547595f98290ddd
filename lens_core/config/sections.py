"""What configurations are made of: frozen sections, read from plain data, with overrides as `key.path=value`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from lens_core.config.complaints import describe, keys_of
from lens_core.config.text import read_yaml
from lens_core.credentials import masked
from lens_core.errors import LensError

T = TypeVar("T", bound=BaseModel)


class Section(BaseModel):
    """A frozen part of the tree; unknown keys are errors, and the schema describes a field by the text below it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
    prose: ClassVar[frozenset[str]] = frozenset()
    """Fields that a policy reads, which may speak of anything."""

    @field_validator("*", mode="before")
    @classmethod
    def _takes_what_is_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """Python counts True as 1, and an address may hold a password, which every copy of the configuration would."""
        kind = cls.model_fields[str(info.field_name)].annotation
        elements = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(each, bool) for each in elements) and _names(kind, int, float) and not _names(kind, bool):
            raise ValueError(f"{value} is no number")
        if isinstance(value, Mapping):  # a section sees to its own
            elements = () if _is_section(kind) else tuple(value.values())
        is_prose = info.field_name in cls.prose
        if any(isinstance(each, str) and _holds_credential(each, is_prose) for each in elements):
            raise ValueError("it holds a credential, which every copy would show: leave it out; pods have Secrets")
        return value


def parse(model: type[T], value: Any, name: str, overrides: Collection[str] = ()) -> T:
    """Validate plain data as `model`.

    Args:
        name: where the data came from, as an error says it; empty: from nowhere that a person named.
        overrides: `key.path=value`, which are in the data: errors of theirs are not said to come from `name`.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        said = describe(error, model, value)
        by_hand = [key_of(override) for override in overrides]
        places = keys_of(error, value)
        if not name or all(any(_is_about(place, key) for key in by_hand) for place in places):
            raise LensError(said) from error
        raise LensError(f"{name}: {said}") from error


def _is_about(place: str, key: str) -> bool:
    """Whether one of two key paths lies in the other."""
    return f"{place}.".startswith(f"{key}.") or f"{key}.".startswith(f"{place}." if place else "")


def _holds_credential(value: str, is_prose: bool) -> bool:
    """Of several words, only addresses are looked at."""
    words = value.split()
    if is_prose and len(words) > 1:
        return False
    return any(masked(word) != word for word in words if len(words) == 1 or "://" in word)


def _is_section(annotation: Any) -> bool:
    """Whether a type is a section, or may be one."""
    kinds = (annotation, *get_args(annotation))
    return any(isinstance(each, type) and issubclass(each, BaseModel) for each in kinds)


def _names(annotation: Any, *kinds: type) -> bool:
    """Whether a type is, or is made of, one of `kinds`."""
    return annotation in kinds or any(_names(each, *kinds) for each in get_args(annotation))


def json_parameter(value: BaseModel) -> str:
    """`value` as JSON that KFP and Argo leave as it is: what looks like a placeholder of theirs is escaped.

    In JSON two opening brackets stand side by side in strings only, where they can be written otherwise.
    """
    return value.model_dump_json().replace("{{", "\\u007b\\u007b")


def key_of(override: str) -> str:
    """`train.steps` of `train.steps=20`."""
    return override.partition("=")[0].strip()


def override_value(tree: dict[str, Any], override: str) -> None:
    """Set `key.path=value` in `tree`; the value is read as YAML, so that `null` and `[1, 2]` mean what they say."""
    _, separator, value = override.partition("=")
    if not separator:
        raise LensError(f"override {override!r} must read key.path=value, for example train.steps=50")
    path = key_of(override)
    set_value(tree, path, read_yaml(value, f"override {path}: the value"))


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
