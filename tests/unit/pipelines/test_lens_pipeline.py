"""The compiled pipelines' edges; that they compile says nothing about what flows where."""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lens_core.config import RunConfig, load_config, parse
from lens_core.errors import LensError
from lens_core.kfp.launch import _cause, compile_pipelines, run_local
from lens_core.kube.settings import ClusterConfig
from lens_pipelines.catalogue import NAMES, arguments, build_pipeline, run_name
from lens_pipelines.launch import ANY_CLUSTER, Launch
from lens_pipelines.site import Site
from tests.unit.pipelines.conftest import Compiled


def producer(task: dict[str, Any], artifact: str) -> str:
    source = task["inputs"]["artifacts"][artifact]
    return str(source.get("taskOutputArtifact", source).get("producerTask", source.get("componentInputArtifact")))


def test_steps_are_joined_by_their_artifacts(compiled: dict[str, Compiled]) -> None:
    tasks = compiled["lens"].tasks
    assert producer(tasks["evaluate"], "data") == "prepare-data"
    assert producer(tasks["evaluate"], "policy") == "base-policy"
    assert producer(tasks["evaluate-2"], "policy") == "train"
    assert "prepare-data" in producer(tasks["train"], "data")
    assert "base-policy" in producer(tasks["train"], "base")
    assert producer(tasks["compare"], "base_evaluation") == "evaluate"
    for step in ("compare", "register"):
        assert producer(tasks[step], "evaluations") == "for-loop-1"
        assert producer(tasks[step], "policies") == "for-loop-1"
    assert "compare" in tasks["register"]["dependentTasks"]


def test_sweep_trains_its_best_with_each_seed(compiled: dict[str, Compiled]) -> None:
    spec, tasks = compiled["sweep"].spec, compiled["sweep"].tasks
    repetition = spec["root"]["dag"]["tasks"]["over-seeds"]
    handed_on = repetition["inputs"]["parameters"]["config"]["taskOutputParameter"]
    assert handed_on == {"outputParameterKey": "Output", "producerTask": "sweep"}
    assert producer(repetition, "base") == "base-policy"
    (loop,) = [task for name, task in dag(spec, "over-seeds").items() if name.startswith("for-loop")]
    assert loop["parameterIterator"]["items"]["inputParameter"] == "pipelinechannel--methods"
    for step in ("train", "evaluate-2"):
        config = tasks[step]["inputs"]["parameters"]["config"]["componentInputParameter"]
        assert config == "pipelinechannel--config"
    assert producer(tasks["evaluate-2"], "policy") == "train"
    assert producer(tasks["compare"], "evaluations").startswith("for-loop")


def dag(spec: dict[str, Any], component: str) -> dict[str, Any]:
    """Tasks of a nested pipeline."""
    return dict(spec["components"][f"comp-{component}"]["dag"]["tasks"])


def test_defaults_of_compiled_pipelines_are_the_configurations(tmp_path: Path) -> None:
    paths = compile_pipelines(Launch(load_config("demo"), tracking_uri="http://mlflow:5000"), tmp_path / "new")
    assert [path.name for path in paths] == ["lens-pipeline.yaml", "sweep-pipeline.yaml", "evaluate-pipeline.yaml"]
    lens, sweep, evaluate = (Compiled(path).spec["root"]["inputDefinitions"]["parameters"] for path in paths)
    assert lens["methods"]["defaultValue"] == ["grpo", "lens"]
    assert lens["tracking_uri"]["defaultValue"] == "http://mlflow:5000"
    assert lens["run"]["defaultValue"].startswith("demo-")
    assert lens["registered_model"]["defaultValue"] == "lens-demo"
    assert (lens["gpus"]["defaultValue"], lens["node_selector"]["defaultValue"]) == ("0", {})
    assert evaluate["label"]["defaultValue"] == "ladder-base"
    assert "defaultValue" not in sweep["methods"]  # the demo has nothing to sweep


def test_sweeps_trainings_are_called_after_the_seeds() -> None:
    values = arguments(Launch(load_config("ladder-sweep"), "sweep"))
    assert values["seeds"] == [0, 1, 2]
    assert values["methods"] == ["lens-s0", "lens-s1", "lens-s2"]
    with_study = load_config("ladder-sweep", ["study={seeds: [7, 8], reference: lens}"])
    assert arguments(Launch(with_study, "sweep"))["methods"] == ["lens-s7", "lens-s8"]
    with pytest.raises(LensError, match="demo has no `sweep` section"):
        arguments(Launch(load_config("demo"), "sweep"))


def test_nothing_is_registered_without_mlflow() -> None:
    assert arguments(Launch(load_config("demo")))["registered_model"] == ""


def test_unknown_pipeline_is_named_with_those_that_there_are() -> None:
    for call in (
        lambda: arguments(Launch(load_config("demo"), "lense")),
        lambda: build_pipeline("lense", Site()),
    ):
        with pytest.raises(LensError, match="no pipeline 'lense': choose from lens, sweep, evaluate"):
            call()


@pytest.mark.parametrize("name", ["lens", "sweep", "evaluate", "lens-rayjobs", "sweep-rayjobs"])
def test_every_step_takes_the_configuration_that_the_first_one_settles(
    name: str, compiled: dict[str, Compiled]
) -> None:
    """Followed through loops and nested pipelines to where a value comes from."""
    spec = compiled[name].spec
    for source in ("config", "run", "overrides", "tracking_uri"):
        first = compiled[name].tasks["configure"]["inputs"]["parameters"][source]
        assert first == {"componentInputParameter": source}
    looked_at = 0
    for path, task in steps(spec, spec["root"]["dag"], ()):
        inputs = task["inputs"].get("parameters", {})
        if task["componentRef"]["name"] == "comp-configure":
            continue
        for parameter in {"config", "run"} & inputs.keys():
            producer = origin(inputs[parameter], path)
            assert producer in ("configure", "sweep", "sweep-as-rayjob"), (task["taskInfo"], parameter)
            looked_at += 1
    assert looked_at >= 6


def steps(spec: dict[str, Any], dag: dict[str, Any], path: tuple[dict[str, Any], ...]) -> Iterator[Any]:
    """Each step with the tasks that it is nested in, outermost first."""
    for task in dag["tasks"].values():
        component = spec["components"][task["componentRef"]["name"]]
        if "dag" in component:
            yield from steps(spec, component["dag"], (*path, task))
        else:
            yield path, task


def origin(source: dict[str, Any], path: tuple[dict[str, Any], ...]) -> str:
    """The task whose output a parameter is."""
    if "taskOutputParameter" in source:
        return str(source["taskOutputParameter"]["producerTask"])
    outer = path[-1]["inputs"]["parameters"][source["componentInputParameter"]]
    return origin(outer, path[:-1])


def test_run_can_be_read_and_changed_where_it_was_started() -> None:
    overrides = arguments(Launch(load_config("demo", ["train.learning_rate=2.0e-5"])))["overrides"]
    assert "train.learning_rate=2e-05" in overrides
    assert "methods.lens.alpha=0.25" in overrides


def test_image_carries_the_package_and_nothing_is_installed_at_run_time() -> None:
    for name in NAMES:
        pipeline = build_pipeline(name, Site(ANY_CLUSTER))
        for executor in dict(pipeline.pipeline_spec.deployment_spec["executors"]).values():
            assert executor["container"]["image"] == "lens-grpo:0.1.0"
            assert "pip install" not in str(executor["container"]["command"])


def test_report_is_an_html_output_of_the_pipeline(compiled: dict[str, Compiled]) -> None:
    outputs = compiled["lens"].spec["root"]["outputDefinitions"]["artifacts"]
    assert outputs["report"]["artifactType"]["schemaTitle"] == "system.HTML"


def test_run_name_follows_values_and_pipeline() -> None:
    demo = load_config("demo")
    assert run_name(demo) == run_name(demo)
    assert run_name(demo) != run_name(load_config("demo", ["train.seed=1"]))
    assert run_name(demo, "evaluate").startswith("demo-evaluate-")


def test_cause_of_a_failed_step_is_its_own_error_line(tmp_path: Path) -> None:
    log = tmp_path / "pipeline.log"
    log.write_text("    ValueError: first\n    lens_core.errors.LensError: the cause\nRuntimeError: later\n")
    assert _cause(log) == "the cause"
    log.write_text("    ValueError: only\n")
    assert _cause(log) == "ValueError: only"


def test_cause_is_found_in_a_log_of_empty_lines(tmp_path: Path) -> None:
    """In time that grows with the log, and not with its square: a step prints what a policy wrote."""
    log = tmp_path / "pipeline.log"
    log.write_text("\n" * 200_000 + "ValueError: only\n")
    before = time.process_time()
    assert _cause(log) == "ValueError: only"
    assert time.process_time() - before < 5


def test_missing_kfp_is_one_line_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kfp", None)
    with pytest.raises(LensError, match=r"KFP is not installed: pip install 'lens-grpo\[kfp\]'"):
        compile_pipelines(Launch(load_config("demo")), tmp_path)
    with pytest.raises(LensError, match="KFP is not installed"):
        run_local(Launch(load_config("demo")), tmp_path, lambda _: None)


def test_launch_says_what_becomes_of_the_best_policy() -> None:
    launch = Launch(load_config("demo"), tracking_uri="http://mlflow:5000")
    assert {"registered_model": "lens-demo", "upload_weights": True}.items() <= arguments(launch).items()
    assert arguments(replace(launch, registers=False))["registered_model"] == ""
    assert not arguments(replace(launch, upload_weights=False))["upload_weights"]


@pytest.mark.parametrize("name", NAMES)
def test_launch_gives_a_pipeline_just_the_parameters_that_it_has(name: str, compiled: dict[str, Compiled]) -> None:
    taken = compiled[name].spec["root"]["inputDefinitions"]["parameters"]
    assert arguments(Launch(load_config("ladder-sweep"), name)).keys() == taken.keys()


_LOOK_LIKE_PLACEHOLDERS = (
    "{{$.inputs.parameters['run']}}",
    "{{workflow.name}} {{{x}}} {{",
    "{{channel:task=;name=run;type=String;}}",
    "\\{{$}} \\\\{{$.json_escape[1]}}",
)


def test_what_looks_like_a_placeholder_stays_what_it_is(tmp_path: Path) -> None:
    texts = {"train.prompt.instruction": " ".join(_LOOK_LIKE_PLACEHOLDERS), "train.prompt.system": "a {{b}}"}
    config = load_config("demo").with_values(texts)
    launch = Launch(config)
    given = arguments(launch)["config"]
    assert "{{" not in given
    assert RunConfig.model_validate_json(given) == config
    for path in compile_pipelines(launch, tmp_path):
        written = path.read_text()
        assert not any(text in written for text in _LOOK_LIKE_PLACEHOLDERS)


def test_settings_of_a_cluster_hold_no_placeholders() -> None:
    for settings in ({"env": {"A": "{{$.inputs.parameters['run']}}"}}, {"head": {"node_selector": {"a": "{{x}}"}}}):
        with pytest.raises(LensError, match="is a placeholder of KFP's and of Argo's"):
            parse(ClusterConfig, {"image": "lens:1", **settings}, "here")


def test_compiled_pipelines_hold_no_credentials() -> None:
    with pytest.raises(LensError, match="the tracking URI holds a name or password") as refused:
        Launch(load_config("demo"), tracking_uri="http://me:hunter2@mlflow:5000")
    assert "hunter2" not in str(refused.value)
    with pytest.raises(LensError, match="characters that no address has"):
        Launch(load_config("demo"), tracking_uri="http://mlflow/{{$.inputs.parameters['run']}}")
