"""The manifest: every setting arrives in it, KubeRay's schema takes it, and restricted Pod Security too."""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from lens_core.kube.rayjob import COMMAND, DIGEST, Job, Owner, job_name, manifest
from lens_core.kube.rules import check
from lens_core.kube.settings import ClusterConfig, NodeConfig, WorkersConfig
from tests.helpers.crds import errors

SMALL = {"image": "lens:1"}
FULL = {
    **SMALL,
    "workers": {"replicas": 2, "gpus": 8, "tolerations": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]},
    "volumes": [{"claim": "data", "path": "/data"}],
}


def job(settings: dict[str, Any], **fields: Any) -> Job:
    cluster = ClusterConfig.model_validate(settings)
    return Job(**{"run": "r", "task": "train", "attempt": 0, "command": ("lens", "train"), "cluster": cluster,
                  "namespace": "lens", **fields})  # fmt: skip


def pods(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Specs of all pods that a manifest describes."""
    cluster = body["spec"]["rayClusterSpec"]
    templates = [cluster["headGroupSpec"]["template"]]
    templates += [group["template"] for group in cluster.get("workerGroupSpecs", [])]
    templates += [body["spec"]["submitterPodTemplate"]] if "submitterPodTemplate" in body["spec"] else []
    return [template["spec"] for template in templates]


def head(body: dict[str, Any]) -> dict[str, Any]:
    return body["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]


def workers(body: dict[str, Any]) -> dict[str, Any]:
    return body["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]


def worker(body: dict[str, Any]) -> dict[str, Any]:
    return workers(body)["template"]["spec"]


def environment(pod: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in pod["containers"][0]["env"]}


def amounts(pod: dict[str, Any], name: str) -> set[str]:
    return {pod["containers"][0]["resources"][kind][name] for kind in ("requests", "limits")}


def volumes(pod: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in pod["volumes"]}


TOLERATION = {"key": "k", "operator": "Equal", "value": "v", "effect": "NoExecute"}
AFFINITY = {"podAntiAffinity": {}}

# Of a head and of workers: a value, and what of the pod shows it.
NODE: dict[str, tuple[Any, Callable[[dict[str, Any]], bool]]] = {
    "cpus": ("3", lambda pod: amounts(pod, "cpu") == {"3"}),
    "memory": ("5Gi", lambda pod: amounts(pod, "memory") == {"5Gi"}),
    "shared_memory": ("4Gi", lambda pod: volumes(pod)["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "4Gi"}),
    "scratch": ("9Gi", lambda pod: volumes(pod)["tmp"]["emptyDir"] == {"sizeLimit": "9Gi"}),
    "gpus": (4, lambda pod: amounts(pod, "nvidia.com/gpu") == {"4"}),
    "gpu_product": ("H100", lambda pod: pod["nodeSelector"] == {"nvidia.com/gpu.product": "H100"}),
    "node_selector": ({"a": "b"}, lambda pod: pod["nodeSelector"] == {"a": "b"}),
    "tolerations": ([TOLERATION], lambda pod: pod["tolerations"] == [TOLERATION]),
    "affinity": (AFFINITY, lambda pod: pod["affinity"] == AFFINITY),
}
SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}
MOUNT = {"name": "volume-0", "mountPath": "/x", "readOnly": True}
CLAIM = {"claimName": "c", "readOnly": True}
FIELDS: dict[str, tuple[Any, Callable[[dict[str, Any]], bool]]] = {
    "image": ("lens:2", lambda body: {each["containers"][0]["image"] for each in pods(body)} == {"lens:2"}),
    "image_pull_secrets": (["p"], lambda body: all(each["imagePullSecrets"] == [{"name": "p"}] for each in pods(body))),
    "ray_version": ("2.61.0", lambda body: body["spec"]["rayClusterSpec"]["rayVersion"] == "2.61.0"),
    "service_account": ("sa", lambda body: head(body)["serviceAccountName"] == "sa"),
    "volumes": (
        [{"claim": "c", "path": "/x", "read_only": True}],
        lambda body: all(
            MOUNT in pod["containers"][0]["volumeMounts"] and volumes(pod)["volume-0"]["persistentVolumeClaim"] == CLAIM
            for pod in (head(body), worker(body))
        ),
    ),
    "env": ({"A": "$(B)"}, lambda body: environment(head(body))["A"] == environment(worker(body))["A"] == "$$(B)"),
    "secrets": (
        {"A": {"name": "s", "key": "k"}},
        lambda body: environment(head(body))["A"] == environment(worker(body))["A"] == SECRET,
    ),
    "token_auth": (False, lambda body: "authOptions" not in body["spec"]["rayClusterSpec"]),
    "token_secret": (
        "t",
        lambda body: body["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token", "secretName": "t"},
    ),
    "queue": (
        "q",
        lambda body: body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "q" and body["spec"]["suspend"] is True,
    ),
    "retries": (3, lambda body: body["spec"]["backoffLimit"] == 3),
    "pre_running_s": (77, lambda body: body["spec"]["preRunningDeadlineSeconds"] == 77),
    "active_s": (7777, lambda body: body["spec"]["activeDeadlineSeconds"] == 7777),
    "keep_finished_s": (7, lambda body: body["spec"]["ttlSecondsAfterFinished"] == 7),
    "grace_s": (
        70,
        lambda body: (
            environment(head(body))["LENS_JOB_GRACE_S"] == "70"
            and head(body)["terminationGracePeriodSeconds"] == worker(body)["terminationGracePeriodSeconds"] == 70
            and environment(head(body))["RAY_JOB_STOP_WAIT_TIME_S"] == "70"
        ),
    ),
    "lease_s": (70, lambda body: environment(head(body))["LENS_JOB_LEASE_S"] == "70"),
    "run_as": (
        70,
        lambda body: all(
            {each["securityContext"][name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {70}
            for each in pods(body)
        ),
    ),
    "workers.replicas": (
        5,
        lambda body: [workers(body)[name] for name in ("replicas", "minReplicas", "maxReplicas")] == [5, 5, 5],
    ),
    "workers.max_replicas": (
        6,
        lambda body: (
            [workers(body)[name] for name in ("minReplicas", "maxReplicas")] == [2, 6]
            and body["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is True
            and body["spec"]["rayClusterSpec"]["autoscalerOptions"]["version"] == "v2"
        ),
    ),
    **{f"head.{name}": (value, lambda body, of=of: of(head(body))) for name, (value, of) in NODE.items()},
    **{f"workers.{name}": (value, lambda body, of=of: of(worker(body))) for name, (value, of) in NODE.items()},
}
ELSEWHERE = {"namespace", "queue_s", "submission", "evaluation", "parallel"}
"""The command line's, the launcher's own, one that has its own test below, and two of pipelines alone."""


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = {"head": NodeConfig, "workers": WorkersConfig}.get(name)
        if inner is None:
            yield prefix + name
        else:
            assert field.annotation is not None
            yield from leaves(inner, f"{name}.")


def test_no_setting_is_forgotten() -> None:
    assert set(leaves(ClusterConfig)) == FIELDS.keys() | ELSEWHERE


@pytest.mark.parametrize("path", FIELDS)
def test_setting_reaches_the_manifest(path: str, crds: Path) -> None:
    value, shows = FIELDS[path]
    base: dict[str, Any] = {**SMALL, "workers": {"replicas": 2}}
    section, _, name = path.rpartition(".")
    extra = {"gpus": 1} if name == "gpu_product" else {}
    changed = {**base, section: {**base.get(section, {}), **extra, name: value}} if section else {**base, name: value}
    before, after = manifest(job(base)), manifest(job(changed))
    assert not _shows(shows, before)
    assert shows(after)
    assert errors(after, crds) == []
    check(after)


def _shows(shows: Callable[[dict[str, Any]], bool], body: dict[str, Any]) -> bool:
    try:
        return shows(body)
    except KeyError:
        return False


@pytest.mark.parametrize("settings", [SMALL, FULL], ids=["small", "full"])
def test_manifest_passes_the_crd(settings: dict[str, Any], crds: Path) -> None:
    assert errors(manifest(job(settings, owner=Owner("pod", "uid"))), crds) == []


def test_crd_finds_a_misspelt_field(crds: Path) -> None:
    body = manifest(job(FULL))
    worker(body)["containers"][0]["resurces"] = worker(body)["containers"][0].pop("resources")
    body["spec"]["backofLimit"] = 1
    found = "\n".join(errors(body, crds))
    assert "'resurces' was unexpected" in found
    assert "'backofLimit' was unexpected" in found


def test_crd_finds_a_wrong_type(crds: Path) -> None:
    body = manifest(job(FULL))
    body["spec"]["activeDeadlineSeconds"] = "3600"
    assert errors(body, crds) == ["$.spec.activeDeadlineSeconds: '3600' is not of type 'integer'"]


@pytest.mark.parametrize("settings", [SMALL, FULL], ids=["small", "full"])
def test_pods_are_restricted(settings: dict[str, Any]) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards: what `restricted` asks of a pod."""
    described = pods(manifest(job(settings)))
    assert len(described) == (3 if "workers" in settings else 2)
    for pod in described:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {next(iter(each.keys() - {"name"})) for each in pod["volumes"]} <= {"emptyDir", "persistentVolumeClaim"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["readOnlyRootFilesystem"] is True
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_only_the_job_waits_for_the_queue() -> None:
    """A Ray cluster that is suspended by itself stays so when the job is admitted."""
    body = manifest(job({**FULL, "queue": "q"}))
    assert body["spec"]["suspend"] is True
    assert "suspend" not in body["spec"]["rayClusterSpec"]


def test_only_the_head_talks_to_the_api_server() -> None:
    body = manifest(job(FULL))
    assert head(body)["automountServiceAccountToken"] is True
    assert [each["automountServiceAccountToken"] for each in pods(body)[1:]] == [False, False]


def test_autoscaler_is_restricted_too(crds: Path) -> None:
    body = manifest(job({**SMALL, "workers": {"replicas": 1, "max_replicas": 2}}))
    options = body["spec"]["rayClusterSpec"]["autoscalerOptions"]
    assert options["securityContext"] == head(body)["containers"][0]["securityContext"]
    assert errors(body, crds) == []


def test_http_mode_has_no_submitter(crds: Path) -> None:
    body = manifest(job({**SMALL, "submission": "HTTPMode", "token_secret": "t"}))
    assert body["spec"]["submissionMode"] == "HTTPMode"
    assert "submitterPodTemplate" not in body["spec"]
    assert errors(body, crds) == []


def test_command_survives_shells_and_kubernetes() -> None:
    command = ("lens", "train", "--set", 'data.train={kind: "gsm8k", path: $HOME/*.jsonl}', "it's", "$(PATH)", "")
    text = environment(head(manifest(job(SMALL, command=command))))[COMMAND]
    assert tuple(json.loads(text.replace("$$(", "$("))) == command
    assert not re.search(r"(?<!\$)\$\(", text)  # what Kubernetes would fill in


def test_digest_is_of_the_job_and_not_of_its_owner() -> None:
    def digest(**fields: Any) -> str:
        return manifest(job(SMALL, **fields))["metadata"]["annotations"][DIGEST]

    assert digest() == digest(owner=Owner("pod", "uid"))
    assert digest() != digest(command=("lens", "sweep"))


def test_owner_is_the_launchers_pod() -> None:
    owned = manifest(job(SMALL, owner=Owner("pod", "uid")))["metadata"]["ownerReferences"]
    assert owned == [{"apiVersion": "v1", "kind": "Pod", "name": "pod", "uid": "uid"}]
    assert "ownerReferences" not in manifest(job(SMALL))["metadata"]


def test_job_name_is_readable() -> None:
    assert re.fullmatch(r"lens-rivals-train-lens-1-[0-9a-f]{8}", job_name("Rivals", "train lens", 1))


NAMES = st.text(max_size=80)


@given(NAMES, NAMES, st.integers(0, 10**6))
def test_job_name_is_a_label_of_47_characters_at_most(run: str, task: str, attempt: int) -> None:
    name = job_name(run, task, attempt)
    assert len(name) <= 47
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert job_name(run, task, attempt) == name


def test_job_names_differ_where_their_letters_do_not() -> None:
    long = "a" * 60
    same_slug = [("a b", "t", 0), ("a-b", "t", 0), ("a", "b-t", 0), ("a.b", "t", 0)]
    same_beginning = [(long, "t", 0), (long, "u", 0), (long + "a", "t", 0), (long, "t", 1)]
    names = [job_name(*parts) for parts in (*same_slug, *same_beginning)]
    assert len(set(names)) == len(names)


def test_job_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        job(SMALL).run = "other"  # type: ignore[misc]
