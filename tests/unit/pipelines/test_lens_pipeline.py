"""The compiled pipeline's edges; that it compiles says nothing about what flows where."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lens_core.config import load_config
from lens_core.errors import LensError
from pipelines.launch import _cause, compile_pipeline, run_name, submit


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = compile_pipeline(load_config("demo"), tmp_path_factory.mktemp("ir") / "pipeline.yaml", "http://mlflow:5000")
    return dict(next(yaml.safe_load_all(path.read_text())))


def producer(task: dict[str, Any], artifact: str) -> str:
    source = task["inputs"]["artifacts"][artifact]
    return str(source.get("taskOutputArtifact", source).get("producerTask", source.get("componentInputArtifact")))


def test_steps_are_joined_by_their_artifacts(spec: dict[str, Any]) -> None:
    tasks = spec["root"]["dag"]["tasks"]
    assert producer(tasks["evaluate"], "data") == "prepare-data"
    assert producer(tasks["evaluate"], "policy") == "base-policy"
    branch = spec["components"]["comp-for-loop-1"]["dag"]["tasks"]
    assert producer(branch["evaluate-2"], "policy") == "train"
    assert "prepare-data" in producer(branch["train"], "data")
    assert "base-policy" in producer(branch["train"], "base")
    compare = tasks["compare"]
    assert producer(compare, "base_evaluation") == "evaluate"
    assert producer(compare, "evaluations") == "for-loop-1"
    assert producer(compare, "policies") == "for-loop-1"


def test_methods_are_a_parameter_with_the_recipe_as_default(spec: dict[str, Any]) -> None:
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert parameters["methods"]["defaultValue"] == ["grpo", "lens"]
    assert parameters["tracking_uri"]["defaultValue"] == "http://mlflow:5000"
    assert parameters["run"]["defaultValue"].startswith("demo-")


def test_image_carries_the_package_and_nothing_is_installed_at_run_time(spec: dict[str, Any]) -> None:
    for executor in spec["deploymentSpec"]["executors"].values():
        assert executor["container"]["image"].startswith("lens-grpo-python:")
        assert "pip install" not in str(executor["container"]["command"])


def test_report_is_an_html_output_of_the_pipeline(spec: dict[str, Any]) -> None:
    outputs = spec["root"]["outputDefinitions"]["artifacts"]
    assert outputs["report"]["artifactType"]["schemaTitle"] == "system.HTML"


def test_run_name_follows_the_values() -> None:
    assert run_name(load_config("demo")) == run_name(load_config("demo"))
    assert run_name(load_config("demo")) != run_name(load_config("demo", ["train.seed=1"]))


def test_endpoint_that_does_not_answer_is_named() -> None:
    with pytest.raises(LensError, match=r"the KFP endpoint http://127\.0\.0\.1:9 does not answer"):
        submit(load_config("demo"), "http://127.0.0.1:9/", "", token=None)


def test_cause_of_a_failed_step_is_its_own_error_line(tmp_path: Path) -> None:
    log = tmp_path / "pipeline.log"
    log.write_text("    ValueError: first\n    lens_core.errors.LensError: the cause\nRuntimeError: later\n")
    assert _cause(log) == "the cause"
    log.write_text("    ValueError: only\n")
    assert _cause(log) == "ValueError: only"
