"""What can be set in a configuration: a row for each key, read off the JSON schema of its sections."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, get_type_hints

import yaml
from pydantic import BaseModel, TypeAdapter

from lens_core.errors import LensError

_Schema = Mapping[str, Any]
_NAMES = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text", "null": "null"}
_LIMITS = {
    "minimum": ">= {}",
    "exclusiveMinimum": "> {}",
    "maximum": "<= {}",
    "exclusiveMaximum": "< {}",
    "minItems": "length >= {}",
    "maxItems": "length <= {}",
    "minProperties": "length >= {}",
    "minLength": "length >= {}",
    "maxLength": "length <= {}",
    "pattern": "matches {}",
}


@dataclass(frozen=True)
class Setting:
    """One key of a configuration."""

    path: str
    """`train.steps`; `methods.NAME.objective` of an entry of a mapping, `data.train[].kind` of an element of a list."""
    type: str
    """In words: `whole number or null`, `one of grpo, bnpo`, `section`."""
    default: str
    """As YAML writes it; `required` where there is none."""
    range: str
    """Allowed values, beyond the type; empty: all of it."""
    meaning: str


def settings_of(model: type[BaseModel]) -> list[Setting]:
    """Every key of a configuration, each section followed by its own keys."""
    schema = model.model_json_schema()
    return list(_rows(schema, schema.get("$defs", {}), ""))


def objective_settings() -> list[Setting]:
    """What stands beside `objective` in a method: the parameters of every objective of ours."""
    from lens_core.baselines import ESTIMATORS, lens, parameters_of
    from lens_core.objective import LensConfig

    found = []
    for name, estimator in ESTIMATORS.items():
        said = _attribute_docstrings(LensConfig) if estimator is lens else {}
        kinds = get_type_hints(LensConfig if estimator is lens else estimator)
        summary = inspect.cleandoc(estimator.__doc__ or "").partition("\n\n")[0]
        for parameter, default in parameters_of(estimator).items():
            kind = _type(TypeAdapter(kinds[parameter]).json_schema())
            meaning = f"Of `{name}`. {_in_one_line(said.get(parameter, summary))}"
            found.append(Setting(f"methods.NAME.{parameter}", kind, _in_yaml(default), "", meaning))
    return found


def _attribute_docstrings(cls: type) -> dict[str, str]:
    """Field -> the text below it, which pydantic reads of its own models only."""
    (definition,) = ast.parse(inspect.cleandoc(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id: below.value.value
        for field, below in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }


def explain(settings: Sequence[Setting], path: str) -> list[Setting]:
    """The setting at `path`, and all below it where it is a section; `methods.lens.train`, `data.train.kind` will do.

    Raises:
        LensError: if there is no such setting, with the nearest ones.
    """
    wanted = _keys(path)
    found = [each for each in settings if _lies_at(_keys(each.path), wanted)]
    if not found:
        raise LensError(f"there is no setting {path!r}; {_nearest(path, [each.path for each in settings])}")
    return found


def _keys(path: str) -> list[str]:
    """The keys of a path, without places in lists."""
    return [key.removesuffix("[]") for key in path.split(".") if not key.isdigit()]


def _lies_at(keys: Sequence[str], wanted: Sequence[str]) -> bool:
    pairs = zip(keys, wanted, strict=False)
    return len(keys) >= len(wanted) and all(key in (want, "NAME") for key, want in pairs)


def _nearest(path: str, paths: Sequence[str]) -> str:
    same = [each for each in paths if _keys(each)[-1] == _keys(path)[-1]]
    near = dict.fromkeys([*get_close_matches(path, same, 4, 0.0), *get_close_matches(path, paths, 3, 0.6)])
    return f"the nearest are {', '.join(near)}" if near else "`lens recipe explain` lists them all"


def _rows(section: _Schema, definitions: Mapping[str, _Schema], prefix: str) -> Iterator[Setting]:
    for name, schema in section["properties"].items():
        path = f"{prefix}{name}"
        default = "required" if name in section.get("required", ()) else _in_yaml(schema["default"])
        inner = [(f"{path}{place}", reference) for place, reference in _sections(schema)]
        if inner and default.startswith("{"):
            default = "{}"  # its keys say theirs
        yield Setting(path, _type(schema), default, ", ".join(_limits(schema)), _in_one_line(schema["description"]))
        for place, reference in inner:
            yield from _rows(definitions[reference], definitions, f"{place}.")


def _alternatives(schema: _Schema) -> Sequence[_Schema]:
    return schema.get("anyOf", (schema,))


def _sections(schema: _Schema) -> Iterator[tuple[str, str]]:
    """(where in the value, name of the definition) of each section that a value holds."""
    for each in _alternatives(schema):
        if "$ref" in each:
            yield "", each["$ref"].rpartition("/")[2]
        elif each.get("type") == "array":
            yield from ((f"[]{place}", name) for place, name in _sections(each["items"]))
        elif isinstance(each.get("additionalProperties"), Mapping):
            yield from ((f".NAME{place}", name) for place, name in _sections(each["additionalProperties"]))


def _type(schema: _Schema) -> str:
    return " or ".join(_plain_type(each) for each in _alternatives(schema))


def _plain_type(schema: _Schema) -> str:
    if "$ref" in schema:
        return "section"
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if schema["type"] == "array":
        return f"list of {_plural(schema['items'])}"
    if schema["type"] == "object":
        values = schema.get("additionalProperties")
        keys = f" from {_type(schema['propertyNames'])}" if "propertyNames" in schema else ""
        return f"mapping{keys} to {_plural(values)}" if isinstance(values, Mapping) else "mapping"
    return _NAMES[schema["type"]]


def _plural(schema: _Schema) -> str:
    kind = _type(schema)
    return kind if kind == "text" or " of " in kind or " to " in kind else f"{kind}s"


def _limits(schema: _Schema) -> Iterator[str]:
    """Of a value, or of the elements of a list."""
    for each in _alternatives(schema):
        yield from (text.format(each[key]) for key, text in _LIMITS.items() if key in each)
        if "items" in each:
            yield from (f"each {limit}" for limit in _limits(each["items"]))


def _in_yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def _in_one_line(docstring: str) -> str:
    """In a YAML file None is `null`."""
    return re.sub(r"\bNone\b", "null", " ".join(docstring.split()))
