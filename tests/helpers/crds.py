"""Kubernetes' structural schemas, read strictly: a field that the API server would drop is an error here."""

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

METADATA = {"name", "namespace", "labels", "annotations", "ownerReferences"}
"""A CRD says nothing of its objects' own metadata."""


def errors(manifest: dict[str, Any], folder: Path) -> list[str]:
    """What the CRD of `manifest`'s kind in `folder` has against it, each with its place."""
    validator = _validator(folder, f"{manifest['kind'].lower()}s", manifest["apiVersion"].partition("/")[2])
    found = [f"{each.json_path}: {each.message}" for each in validator.iter_errors(manifest)]
    return found + [f"$.metadata: unknown {key}" for key in manifest["metadata"].keys() - METADATA]


@cache
def _validator(folder: Path, plural: str, version: str) -> jsonschema.Draft202012Validator:
    # The C loader reads the megabyte of a CRD in one second instead of ten.
    with (folder / f"ray.io_{plural}.yaml").open(encoding="utf-8") as file:
        crd = yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    schema = next(each for each in crd["spec"]["versions"] if each["name"] == version)["schema"]["openAPIV3Schema"]
    return jsonschema.Draft202012Validator(_strict(schema))


def _strict(schema: Any) -> Any:
    """A structural schema as JSON Schema: nothing unknown, and no keyword that would be silently passed over."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: value for key, value in schema.items() if key not in ("description", "properties")}
    strict = {key: _strict(value) for key, value in strict.items()}
    if "properties" in schema:
        strict["properties"] = {name: _strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            strict.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        strict["type"] = ["integer", "string"]
    if schema.get("nullable"):
        strict["type"] = [schema["type"], "null"]
    return strict
