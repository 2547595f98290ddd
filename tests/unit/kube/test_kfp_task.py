"""What a step was given in Kubeflow, on the pods of its RayJob."""

from typing import Any

import pytest

from lens_core.errors import LensError
from lens_core.kube.kfp_task import with_task
from lens_core.kube.rayjob import Job, manifest
from lens_core.kube.settings import ClusterConfig

TASK: dict[str, Any] = {
    "resources": {
        "requests": {"cpu": "6", "memory": "32Gi"},
        "limits": {"cpu": "6", "memory": "48Gi", "nvidia.com/gpu": "2"},
    },
    "node_selector": {"nvidia.com/gpu.product": "NVIDIA-H200"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "volumes": [{"name": "lens-data", "persistentVolumeClaim": {"claimName": "lens-data"}}],
    "volume_mounts": [{"name": "lens-data", "mountPath": "/data"}],
    "env": [
        {"name": "HF_HOME", "value": "/data/hub"},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ],
}
"""As KFP's driver writes it for a step of `lens pipeline compile --rayjobs`."""


def cluster(**settings: Any) -> ClusterConfig:
    return ClusterConfig.model_validate({"image": "lens:1", **settings})


def pods(of: ClusterConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Specs of head and workers in the manifest."""
    spec = manifest(Job("r", "train lens", 0, ("true",), of, "lens"))["spec"]["rayClusterSpec"]
    return spec["headGroupSpec"]["template"]["spec"], spec["workerGroupSpecs"][0]["template"]["spec"]


def test_settings_of_a_step_reach_the_pods_that_train() -> None:
    workers = {"replicas": 3, "cpus": "1", "gpus": 1, "gpu_product": "NVIDIA-H100"}
    head, worker = pods(with_task(cluster(workers=workers), TASK))
    # Request and limit are one in a RayJob, and the limit is what the step may use.
    assert worker["containers"][0]["resources"]["requests"] == {"cpu": "6", "memory": "48Gi", "nvidia.com/gpu": "2"}
    assert worker["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H200"}
    assert worker["tolerations"] == TASK["tolerations"]
    assert worker["affinity"] == TASK["affinity"]
    assert "nvidia.com/gpu" not in head["containers"][0]["resources"]["limits"]
    assert head["nodeSelector"] == {}


def test_volumes_and_environment_of_a_step_reach_all_pods() -> None:
    for pod in pods(with_task(cluster(workers={}), TASK)):
        (volume,) = [each for each in pod["volumes"] if "persistentVolumeClaim" in each]
        assert volume["persistentVolumeClaim"]["claimName"] == "lens-data"
        mounts = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
        assert mounts[volume["name"]] == "/data"
        variables = {each["name"]: each for each in pod["containers"][0]["env"]}
        assert variables["HF_HOME"]["value"] == "/data/hub"
        assert variables["HF_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "hub", "key": "token"}}
        assert "POD_NAME" not in variables  # that of the step's pod


def test_volume_that_is_read_only_stays_so() -> None:
    volumes = [{"claim": "lens-data", "path": "/data", "read_only": True}]
    assert with_task(cluster(volumes=volumes), TASK).volumes[0].read_only


def test_head_trains_where_there_are_no_workers() -> None:
    assert with_task(cluster(), TASK).head.gpus == 2


def test_step_without_settings_changes_nothing() -> None:
    before = cluster(workers={"gpus": 1, "gpu_product": "NVIDIA-H100"}, volumes=[{"claim": "c", "path": "/c"}])
    nothing = dict.fromkeys(TASK)
    assert with_task(before, nothing) == before


def test_settings_of_the_cluster_stay_beside_the_steps() -> None:
    found = with_task(
        cluster(
            volumes=[{"claim": "old", "path": "/data"}, {"claim": "more", "path": "/more"}],
            env={"NCCL_DEBUG": "WARN"},
            secrets={"HF_HOME": {"name": "s", "key": "k"}},
        ),
        TASK,
    )
    assert {volume.path: volume.claim for volume in found.volumes} == {"/data": "lens-data", "/more": "more"}
    assert found.env == {"NCCL_DEBUG": "WARN", "HF_HOME": "/data/hub"}
    assert found.secrets.keys() == {"HF_TOKEN"}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"resources": {"limits": {"amd.com/gpu": "1"}}}, "not amd.com/gpu: leave it out"),
        (
            {"volumes": [{"name": "v", "configMap": {}}], "volume_mounts": [{"name": "v", "mountPath": "/v"}]},
            "volume v of the step cannot be mounted",
        ),
        (
            {**TASK, "volume_mounts": [{"name": "lens-data", "mountPath": "/data", "subPath": "part"}]},
            "only a whole PersistentVolumeClaim",
        ),
        ({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]}, "A of the step comes"),
        ({"env": [{"name": "MY_TOKEN", "value": "abc"}]}, "MY_TOKEN looks like a secret"),
        ({"tolerations": [{"key": "a", "tolerationSeconds": 3}]}, "tolerationSeconds"),
    ],
)
def test_settings_without_an_equal_are_refused(task: dict[str, Any], message: str) -> None:
    with pytest.raises(LensError, match=message):
        with_task(cluster(), task)
