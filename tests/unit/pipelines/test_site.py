"""What steps get on a cluster, as far as the IR says it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from kubernetes.utils.quantity import parse_quantity

from lens_core.errors import LensError
from lens_core.kube.settings import ClusterConfig, load_cluster
from lens_pipelines.catalogue import build_pipeline
from lens_pipelines.site import Needs, Site, with_needs
from tests.helpers.argo import Attempt, next_attempt
from tests.helpers.manifests import ROOT
from tests.unit.pipelines.conftest import Compiled

IRS = ("lens", "sweep", "evaluate", "lens-rayjobs")
LIGHT = {"configure", "prepare-data", "compare", "register"}
"""Steps that load no model."""
TRAINING = {"train", "train-as-rayjob", "sweep", "sweep-as-rayjob"}


@pytest.mark.parametrize("name", IRS)
def test_data_is_cached_and_training_is_not(name: str, compiled: dict[str, Compiled]) -> None:
    for step, task in compiled[name].tasks.items():
        is_cached = task["cachingOptions"].get("enableCache", False)
        assert is_cached == (step not in ("train", "train-as-rayjob", "sweep", "register")), step


@pytest.mark.parametrize("name", IRS)
@pytest.mark.parametrize("minutes", [1, 11, 61, 26 * 60, 14 * 24 * 60])
def test_step_that_fails_after_minutes_is_tried_twice_again_and_never_killed(
    name: str, minutes: int, compiled: dict[str, Compiled]
) -> None:
    month_s = 30 * 24 * 3600.0
    for task in compiled[name].tasks.values():
        policy = task["retryPolicy"]
        second = next_attempt(policy, 0, minutes * 60.0)
        assert second is not None
        third = next_attempt(policy, 1, second.starts_s + minutes * 60.0)
        assert third is not None
        assert second.starts_s == minutes * 60 + 30
        assert third.starts_s == 2 * minutes * 60 + 30 + 60
        for attempt in (second, third):  # room for a training that takes a month
            assert attempt.ends_by_s is None or attempt.ends_by_s - attempt.starts_s > month_s
        assert next_attempt(policy, 2, third.starts_s + 1) is None


def test_argo_ends_a_retried_pod_once_the_first_ones_time_is_up() -> None:
    """What `backoff_max_duration=600s`, meant as the longest wait, did."""
    policy = {"maxRetryCount": 2, "backoffDuration": "30s", "backoffFactor": 2.0, "backoffMaxDuration": "600s"}
    assert next_attempt(policy, 0, 60) == Attempt(90, 600)  # killed at minute 10
    assert next_attempt(policy, 0, 660) is None
    assert next_attempt(policy | {"backoffMaxDuration": "3600s"}, 0, 660, "Error") is None
    assert next_attempt({k: v for k, v in policy.items() if k != "backoffMaxDuration"}, 0, 1) is None


@pytest.mark.parametrize("name", IRS)
def test_compiled_retries_cannot_say_that_a_deleted_pod_is_replaced(name: str, compiled: dict[str, Compiled]) -> None:
    """Once KFP can, docs/cluster.md need no longer say that a drained node ends a run."""
    said = {key for task in compiled[name].tasks.values() for key in task["retryPolicy"]}
    assert said == {"maxRetryCount", "backoffDuration", "backoffFactor", "backoffMaxDuration"}


@pytest.mark.parametrize("name", IRS)
def test_steps_that_sample_or_train_take_their_needs_from_parameters(name: str, compiled: dict[str, Compiled]) -> None:
    of = compiled[name]
    for step, task in of.tasks.items():
        resources = of.container(step)["resources"]
        if step in LIGHT:
            wanted = {"resourceCpuRequest": "1", "resourceMemoryRequest": "4Gi", "resourceMemoryLimit": "8Gi"}
            assert wanted.items() <= resources.items()
            assert "accelerator" not in resources
            continue
        prefix = "" if step in TRAINING else "evaluation_"
        needs = {each: f"{prefix}{each}" for each in ("cpus", "memory", "gpus", "node_selector", "tolerations")}
        needs["gpu_type"] = "gpu_type"
        handed = {each: f"{{{{$.inputs.parameters['pipelinechannel--{needs[each]}']}}}}" for each in needs}
        assert resources["resourceCpuLimit"] == resources["resourceCpuRequest"] == handed["cpus"]
        assert resources["resourceMemoryLimit"] == resources["resourceMemoryRequest"] == handed["memory"]
        placed = of.platform[f"exec-{step}"]
        selector = placed["nodeSelector"]["nodeSelectorJson"]["componentInputParameter"]
        assert selector.removeprefix("pipelinechannel--") == needs["node_selector"]
        toleration = placed["tolerations"][0]["tolerationJson"]["componentInputParameter"]
        assert toleration.removeprefix("pipelinechannel--") == needs["tolerations"]
        amounts = ["cpus", "memory"]
        if step == "base-policy":  # loads a model, and computes nothing
            assert "accelerator" not in resources
        else:
            assert resources["accelerator"] == {"resourceCount": handed["gpus"], "resourceType": handed["gpu_type"]}
            amounts += ["gpus", "gpu_type"]
        # KFP's server looks for them among the inputs of the step.
        assert {f"pipelinechannel--{needs[each]}" for each in amounts} <= set(task["inputs"]["parameters"])


def gib(amount: str) -> float:
    return float(parse_quantity(amount)) / 2**30


@pytest.mark.parametrize(
    ("settings", "cpus", "memory_gib", "gpus"),
    [
        ({}, 2, 8, 0),
        ({"head": {"cpus": "8", "memory": "40Gi", "gpus": 1}}, 8, 40, 1),
        # 104 CPUs and 960 GiB for 8 GPUs.
        ({"workers": {"replicas": 8, "gpus": 8, "cpus": "104", "memory": "960Gi"}}, 13, 120, 1),
        ({"workers": {"gpus": 8, "cpus": "100", "memory": "1T"}}, 12.5, 1e12 / 8 / 2**30, 1),
        ({"workers": {"gpus": 8}, "evaluation": {"gpus": 2, "cpus": "24", "memory": "200Gi"}}, 24, 200, 2),
    ],
)
def test_evaluation_asks_for_what_it_is(settings: dict[str, Any], cpus: float, memory_gib: float, gpus: int) -> None:
    """One GPU holds a policy of 3 B; whole nodes of eight are for trainings."""
    needs = Needs.of(ClusterConfig.model_validate({"image": "lens:1", **settings})).of_evaluations
    assert parse_quantity(needs.cpus) == pytest.approx(cpus)
    assert gib(needs.memory) == pytest.approx(memory_gib, rel=1e-4)
    assert needs.gpus == str(gpus)


def test_base_policy_of_8b_fits_where_an_evaluation_of_it_does() -> None:
    """8.03e9 parameters are 16 GB in bfloat16, and 32 GB in float32, as they are loaded on a CPU at worst."""
    for overlay in ("gpu", "production"):
        needs = Needs.of(load_cluster(ROOT / f"k8s/overlays/{overlay}/cluster.yaml")).of_evaluations
        assert gib(needs.memory) * 2**30 > 4 * 8.03e9


@pytest.mark.parametrize("name", IRS)
def test_whatever_takes_a_gpu_or_a_models_memory_goes_through_the_queue(
    name: str, compiled: dict[str, Compiled]
) -> None:
    of = compiled[name]
    for step in of.tasks:
        labels = of.platform[f"exec-{step}"].get("podMetadata", {}).get("labels", {})
        waits = step not in LIGHT and not step.endswith("-as-rayjob")  # a step that only waits; its RayJob queues
        assert labels == ({"kueue.x-k8s.io/queue-name": "gpus"} if waits else {}), step


@pytest.mark.parametrize("name", ["lens", "sweep", "lens-rayjobs", "sweep-rayjobs"])
def test_loop_has_a_limit(name: str, compiled: dict[str, Compiled]) -> None:
    components = compiled[name].spec["components"]
    dags = [compiled[name].spec["root"]["dag"], *(each["dag"] for each in components.values() if "dag" in each)]
    loops = [task for dag in dags for task in dag["tasks"].values() if "parameterIterator" in task]
    assert [loop["iteratorPolicy"]["parallelismLimit"] for loop in loops] == [3]


@pytest.mark.parametrize("name", IRS)
def test_whatever_a_loop_hands_to_its_steps_is_handed_to_the_loop(name: str, compiled: dict[str, Compiled]) -> None:
    """KFP 2.17 compiles resources from parameters without that, and the step would find nothing."""
    of, looked_at = compiled[name], 0
    for component in [of.spec["root"], *of.spec["components"].values()]:
        given = set(component.get("inputDefinitions", {}).get("parameters", {}))
        for task in component.get("dag", {}).get("tasks", {}).values():
            platform = of.platform.get(task["componentRef"]["name"].replace("comp-", "exec-"), {})
            taken = re.findall(r'"componentInputParameter": "([^"]+)"', json.dumps([task, platform]))
            assert set(taken) <= given
            looked_at += len(taken)
    assert looked_at > 10


@pytest.mark.parametrize("name", IRS)
def test_no_two_steps_share_an_executor(name: str, compiled: dict[str, Compiled]) -> None:
    """KFP 2.17 makes one of equal ones in nested pipelines, and drops what the other asked of Kubernetes."""
    components = compiled[name].spec["components"]
    dags = [compiled[name].spec["root"]["dag"], *(each["dag"] for each in components.values() if "dag" in each)]
    used = [task["componentRef"]["name"] for each in dags for task in each["tasks"].values()]
    assert len(used) == len(set(used)) == len(components)


@pytest.mark.parametrize("name", IRS)
def test_secrets_go_by_reference_and_pods_are_restricted(name: str, compiled: dict[str, Compiled]) -> None:
    of = compiled[name]
    for step in of.tasks:
        platform = of.platform[f"exec-{step}"]
        found = {
            (each["secretName"], pair["secretKey"], pair["envVar"])
            for each in platform["secretAsEnv"]
            for pair in each["keyToEnv"]
        }
        assert found == {("mlflow-client", "password", "MLFLOW_TRACKING_PASSWORD"), ("hub", "token", "HF_TOKEN")}
        assert [each["secretName"] for each in platform["imagePullSecret"]] == ["registry"]
        assert [(each["constant"], each["mountPath"]) for each in platform["pvcMount"]] == [
            ("shipped", "/shipped"),
            ("lens-data", "/data"),
        ]
        security = {"runAsUser": "1000", "runAsGroup": "1000", "runAsNonRoot": True}
        assert platform["securityContext"] == security
        assert of.container(step)["image"] == "registry.example.com/lens-grpo:0.1.0"
        assert of.container(step)["env"] == [{"name": "HF_HOME", "value": "/data/hub"}]


def test_needs_are_those_of_the_pods_that_train(cluster: ClusterConfig) -> None:
    assert vars(Needs.of(cluster)) == {
        "cpus": "12",
        "memory": "110Gi",
        "gpus": "4",  # KFP's server would read a number as nothing
        "gpu_type": "nvidia.com/gpu",
        "node_selector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "zone": "a"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "evaluation_cpus": "3000m",
        "evaluation_memory": f"{110 * 1024 // 4}Mi",
        "evaluation_gpus": "1",
        "evaluation_node_selector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "zone": "a"},
        "evaluation_tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }


@pytest.mark.parametrize(("pipeline", "step"), [("lens", "train-as-rayjob"), ("sweep", "sweep-as-rayjob")])
def test_step_that_launches_a_job_hands_its_settings_on(
    pipeline: str, step: str, compiled: dict[str, Compiled]
) -> None:
    of = compiled[f"{pipeline}-rayjobs"]
    component = of.spec["components"][f"comp-{step}"]
    to_step = {each["field"]: each.get("applyToTask", False) for each in component["taskConfigPassthroughs"]}
    assert to_step == {
        "RESOURCES": False,
        "KUBERNETES_AFFINITY": False,
        "KUBERNETES_TOLERATIONS": False,
        "KUBERNETES_NODE_SELECTOR": False,
        "ENV": True,
        "KUBERNETES_VOLUMES": True,
    }
    assert component["inputDefinitions"]["parameters"]["task_config"]["parameterType"] == "TASK_CONFIG"
    fields = {each["name"]: each["fieldPath"] for each in of.platform[f"exec-{step}"]["fieldPathAsEnv"]}
    assert fields == {"POD_NAME": "metadata.name", "POD_UID": "metadata.uid"}
    inputs = of.tasks[step]["inputs"]["parameters"]
    assert inputs["shared"]["runtimeValue"]["constant"] == "/data/pipelines"  # the volume before it is read only
    handed = ClusterConfig.model_validate_json(inputs["cluster"]["runtimeValue"]["constant"])
    assert handed.queue == "gpus"


def test_rayjobs_need_a_volume_that_can_be_written_to() -> None:
    volumes = [{"claim": "c", "path": "/c", "read_only": True}]
    for cluster in (None, SMALL, ClusterConfig.model_validate({"image": "lens:1", "volumes": volumes})):
        with pytest.raises(LensError, match="need a volume that step and job share"):
            Site(cluster, rayjobs=True)


def test_pipeline_on_this_machine_knows_nothing_of_clusters(tmp_path: Path) -> None:
    from kfp import compiler

    for name in ("lens", "sweep", "evaluate"):
        path = tmp_path / f"{name}.yaml"
        compiler.Compiler().compile(build_pipeline(name, Site()), str(path))
        of = Compiled(path)
        assert of.platform == {}
        for step, task in of.tasks.items():
            container: dict[str, Any] = of.container(step)
            assert "retryPolicy" not in task
            assert task["cachingOptions"]["enableCache"]
            assert "resources" not in container


SMALL = ClusterConfig(image="lens:1")


@pytest.mark.parametrize("name", ["lens", "sweep", "evaluate"])
def test_each_need_is_a_parameter_with_its_type_and_its_words(name: str, compiled: dict[str, Compiled]) -> None:
    found = compiled[name].spec["root"]["inputDefinitions"]["parameters"]
    for need in ("cpus", "memory", "gpus", "gpu_type", "evaluation_cpus", "evaluation_memory", "evaluation_gpus"):
        assert found[need]["parameterType"] == "STRING"
    assert (found["node_selector"]["parameterType"], found["tolerations"]["parameterType"]) == ("STRUCT", "LIST")
    assert found["memory"]["description"] == "of each of them, such as 16Gi."
    assert all("description" in found[need] for need in vars(Needs.of(SMALL)))
    assert "needs" not in found


def test_pipelines_function_is_handed_its_needs_in_one() -> None:
    def of_two(first: str, needs: Needs, last: str = "z") -> tuple[str, Needs, str]:
        return first, needs, last

    values = ("1", "2Gi", "0", "gpu", {}, [], "1", "1Gi", "0", {}, [])
    assert with_needs(of_two)("a", *values) == ("a", Needs(*values), "z")
    assert with_needs(of_two)("a", *values, "b") == ("a", Needs(*values), "b")
    with pytest.raises(TypeError, match="missing a required argument: 'evaluation_tolerations'"):
        with_needs(of_two)("a", *values[:-1])
