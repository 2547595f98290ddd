"""Every setting has a reference: rows read off small sections by hand, then the real ones and the page."""

import re
import runpy
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from lens_core.baselines import ESTIMATORS, parameters_of
from lens_core.config import DISTRIBUTIONS, RunConfig, Section
from lens_core.config.reference import Setting, explain, objective_settings, settings_of
from lens_core.errors import LensError
from lens_core.kube.settings import ClusterConfig


class Inner(Section):
    rate: float = Field(0.5, gt=0, le=1)
    """Learning
    rate; None is no value."""
    names: tuple[Annotated[str, Field(min_length=2)], ...] = ()
    """Names."""


class Outer(Section):
    steps: int = Field(ge=1)
    """Steps."""
    form: Literal["a", "b"] | None = None
    """Form."""
    by_key: dict[Literal["x", "y"], str] = Field({})
    """By key."""
    flag: bool = True
    """Flag."""
    one: Inner = Inner()
    """One."""
    maybe: Inner | None = None
    """Maybe."""
    many: tuple[Inner, ...] = Field((), max_length=3)
    """Many."""
    named: dict[str, Inner] = Field({})
    """Named."""


def test_settings_are_read_off_a_configuration() -> None:
    rate = ("number", "0.5", "> 0, <= 1", "Learning rate; null is no value.")
    names = ("list of text", "[]", "each length >= 2", "Names.")
    expected = [
        Setting("steps", "whole number", "required", ">= 1", "Steps."),
        Setting("form", "one of a, b or null", "null", "", "Form."),
        Setting("by_key", "mapping from one of x, y to text", "{}", "", "By key."),
        Setting("flag", "true or false", "true", "", "Flag."),
        Setting("one", "section", "{}", "", "One."),
        Setting("one.rate", *rate),
        Setting("one.names", *names),
        Setting("maybe", "section or null", "null", "", "Maybe."),
        Setting("maybe.rate", *rate),
        Setting("maybe.names", *names),
        Setting("many", "list of sections", "[]", "length <= 3", "Many."),
        Setting("many[].rate", *rate),
        Setting("many[].names", *names),
        Setting("named", "mapping to sections", "{}", "", "Named."),
        Setting("named.NAME.rate", *rate),
        Setting("named.NAME.names", *names),
    ]
    assert settings_of(Outer) == expected


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("steps", ["steps"]),
        ("one", ["one", "one.rate", "one.names"]),
        ("many.rate", ["many[].rate"]),
        ("many.0.rate", ["many[].rate"]),
        ("many[].rate", ["many[].rate"]),
        ("named.mine.rate", ["named.NAME.rate"]),
        ("named.mine", ["named.NAME.rate", "named.NAME.names"]),
    ],
)
def test_setting_or_section_is_found_by_its_path(path: str, found: list[str]) -> None:
    assert [each.path for each in explain(settings_of(Outer), path)] == found


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("step", r"there is no setting 'step'; the nearest are steps$"),
        ("two.names", r"the nearest are one.names, "),
        ("zzz", r"there is no setting 'zzz'; `lens recipe explain` lists them all$"),
    ],
)
def test_unknown_setting_is_named_with_the_nearest_ones(path: str, message: str) -> None:
    with pytest.raises(LensError, match=message):
        explain(settings_of(Outer), path)


@pytest.mark.parametrize("model", [RunConfig, ClusterConfig])
def test_every_setting_says_what_it_means(model: type[BaseModel]) -> None:
    schema: dict[str, Any] = model.model_json_schema()
    sections = {model.__name__: schema, **schema["$defs"]}
    assert [name for name, section in sections.items() if not section.get("description")] == []
    fields = {f"{name}.{key}": of for name, section in sections.items() for key, of in section["properties"].items()}
    assert [name for name, field in fields.items() if not field.get("description")] == []
    assert len(fields) > 30


@pytest.mark.parametrize("model", [RunConfig, ClusterConfig])
def test_default_of_a_section_is_that_of_its_keys(model: type[BaseModel]) -> None:
    """A section that is `{}` by default is described by the rows below it."""
    schema = model.model_json_schema()
    checked = 0
    for section in (schema, *schema["$defs"].values()):
        for field in section["properties"].values():
            if "$ref" in field and "default" in field:
                keys = schema["$defs"][field["$ref"].rpartition("/")[2]]["properties"]
                assert field["default"] == {name: of["default"] for name, of in keys.items()}
                checked += 1
    assert checked > 0


def test_parameters_of_every_objective_are_settings() -> None:
    found = {(each.path, each.meaning.split()[1].strip("`.")) for each in objective_settings()}
    assert found == {(f"methods.NAME.{key}", name) for name, of in ESTIMATORS.items() for key in parameters_of(of)}
    settings = explain(objective_settings(), "methods.mine.margin")
    assert [(each.type, each.default) for each in settings] == [("number", "2.0")]
    assert settings[0].meaning.startswith("Of `lens`. m in D = m max_j c_j, > 1")
    assert {each.default for each in explain(objective_settings(), "methods.mine.eps")} == {"0.0001", "1.0e-06"}


def test_page_is_what_the_configuration_says() -> None:
    page = runpy.run_path("scripts/write-reference")["page"]()
    assert Path("docs/reference.md").read_text(encoding="utf-8") == page, "make reference"


def test_names_that_a_meaning_lists_are_all_there_are() -> None:
    said = {each.path: each.meaning for each in settings_of(RunConfig)}
    assert set(ESTIMATORS) == set(re.findall(r"`([a-z_]+)`[, ]", said["methods.NAME.objective"]))
    listed = said["sweep.space"].partition("Distributions: ")[2].rstrip(".").split(", ")
    assert listed == list(DISTRIBUTIONS)
