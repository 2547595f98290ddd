"""Every number of a configuration is finite and bounded, whichever it is."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import BaseModel

from lens_core.config import RunConfig, load_config, parse
from lens_core.errors import LensError
from lens_core.kube.settings import ClusterConfig

CLUSTER = {"image": "lens:1", "workers": {"replicas": 1}}
RUN = load_config("ladder-sweep").model_dump(mode="json")
SECTIONS = {
    "train.rollouts": {"workers": 1},
    "train.vllm": {},
    "train.lora": {},
    "base_shape": dict.fromkeys(("parameters", "layers", "hidden_size", "kv_heads", "head_size"), 1),
    "study": {"seeds": [0, 1]},
    "data.pass_rate": {"path": "x"},
}
"""Sections that the configuration above has not."""


def numbers(model: type[BaseModel]) -> Iterator[tuple[str, bool]]:
    """(key path, whether it is a list) of each number in a tree of sections; of those in lists of sections, none."""
    schema = model.model_json_schema()
    yield from _numbers(schema, schema["$defs"], "")


def _numbers(section: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, bool]]:
    for name, field in section["properties"].items():
        for each in field.get("anyOf", (field,)):
            if "$ref" in each:
                yield from _numbers(definitions[each["$ref"].rpartition("/")[2]], definitions, f"{prefix}{name}.")
            elif each.get("type") in ("integer", "number"):
                yield f"{prefix}{name}", False
            elif each.get("type") == "array" and each["items"].get("type") in ("integer", "number"):
                yield f"{prefix}{name}", True


def refusal(model: type[BaseModel], tree: Mapping[str, Any], path: str, value: Any) -> str:
    """What is said of `value` at `path`."""
    tree = {**tree}
    *parents, leaf = path.split(".")
    place: dict[str, Any] = tree
    for depth, key in enumerate(parents):
        held = place.get(key) or SECTIONS.get(".".join(parents[: depth + 1]), {})
        place[key] = {**held}
        place = place[key]
    place[leaf] = value
    with pytest.raises(LensError) as refused:
        parse(model, tree, "here")
    return str(refused.value)


FOUND = [
    (model, tree, *each) for model, tree in ((RunConfig, RUN), (ClusterConfig, CLUSTER)) for each in numbers(model)
]


@pytest.mark.parametrize(("model", "tree", "path", "is_list"), FOUND, ids=[each[2] for each in FOUND])
def test_every_number_is_finite_and_bounded(
    model: type[BaseModel], tree: dict[str, Any], path: str, is_list: bool
) -> None:
    for value in (math.inf, -math.inf, math.nan, 10**22, "inf", "1e999", True, -1e300):
        said = refusal(model, tree, path, [value] if is_list else value)
        assert path.rpartition(".")[2] in said
        assert len(said) < 1000
        assert "\n" not in said


def test_the_instances_are_found() -> None:
    paths = {path for _, _, path, _ in FOUND}
    assert {"train.steps", "train.learning_rate", "train.beta", "evaluation.n", "evaluation.ks", "study.seeds"} <= paths
    assert {"train.lora.rank", "sweep.gpus_per_trial", "data.test.seed", "head.gpus", "workers.replicas"} <= paths
    assert len(paths) > 75


@pytest.mark.parametrize(
    "override",
    [
        "methods.lens.alpha=.inf",
        "methods.lens.alpha=true",
        "methods.lens.margin=.nan",
        "methods={a: {objective: nsr, success_threshold: .inf}}",
        "methods={a: {objective: nsr, positive_weight: true}}",
        "methods={a: {train: {learning_rate: .inf}}}",
        "methods={a: {train: {steps: true}}}",
        "sweep={space: {train.learning_rate: {uniform: [0, .inf]}}}",
        "sweep={space: {train.learning_rate: {loguniform: [0.1, yes]}}}",
        "data.train={kind: ladder, per_level: 10000000000000000000000}",
        "data.train={kind: ladder, per_level: 1, seed: true}",
        "data.train={kind: ladder, per_level: 1, levels: [true]}",
        "train={prompts_per_step: 1000000, group_size: 60000}",
    ],
)
def test_numbers_elsewhere_are_finite_and_bounded_too(override: str) -> None:
    values = ["data.validation=5", override]
    with pytest.raises(LensError) as refused:
        load_config("demo", values)
    assert "\n" not in str(refused.value)


def test_what_is_shown_of_a_refused_value_is_short_and_no_secret() -> None:
    with pytest.raises(LensError, match=r"train\.steps: .*\(got 'x{150,}\.\.\.\)$"):
        load_config("demo", [f"train.steps={'x' * 10_000}"])
    secret = {"image": "lens:1", "secrets": {"A_TOKEN": {"name": "s", "key": "k", "value": "hunter2"}}}
    with pytest.raises(LensError, match=r"secrets\.A_TOKEN\.value: there is no such key") as refused:
        parse(ClusterConfig, secret, "here")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "override",
    [
        "base=https://me:PW@hub/model",
        "data.train={kind: gsm8k, path: 'https://me:PW@host/a.jsonl'}",
        "train.vllm={mode: server, server_url: 'http://me:PW@host:8000'}",
        "data.pass_rate={path: 'https://PW@host/a'}",
    ],
)
def test_addresses_in_a_configuration_hold_no_credentials(override: str) -> None:
    with pytest.raises(LensError, match="holds a credential") as refused:
        load_config("demo", [override])
    assert "PW" not in str(refused.value)


def test_a_prompt_may_speak_of_anything() -> None:
    text = "Say password=x, or http://me:you@host."
    assert load_config("demo", [f"train.prompt.instruction={text!r}"]).train.prompt.instruction == text
