"""Every manifest of `k8s/`: rendered by kustomize, and held against schemas, Pod Security and each other."""

import copy
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from kubernetes.utils.quantity import parse_quantity
from typer.testing import CliRunner

from lens_core.cli.main import app
from lens_core.kube.rules import check
from tests.helpers.admission import launched
from tests.helpers.crds import errors
from tests.helpers.manifests import (
    PLATFORMS,
    RENDERED,
    ROOT,
    Manifest,
    allowed_hosts,
    containers,
    of_kind,
    pod_templates,
    rendered,
    violations,
)

KUBERNETES = ("1.33", "1.37")
"""The oldest and the newest that the manifests are held against."""
RAY = {"RayCluster", "RayJob"}
WITHOUT_SCHEMA = {"ResourceFlavor", "ClusterQueue", "LocalQueue", "PodMonitor"}
"""Kueue's and Prometheus' kinds: no schema of theirs is at hand, and nothing checks their fields here."""


@pytest.mark.parametrize("folder", RENDERED)
@pytest.mark.parametrize("version", KUBERNETES)
def test_manifests_pass_the_schemas_of_kubernetes(folder: str, version: str) -> None:
    for each in rendered(folder):
        if each["apiVersion"].startswith(("ray.io/", "kueue.x-k8s.io/", "monitoring.coreos.com/")):
            assert each["kind"] in RAY | WITHOUT_SCHEMA
        else:
            kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
def test_schemas_find_a_misspelt_field(version: str) -> None:
    deployment = copy.deepcopy(of_kind("overlays/local", "Deployment")["mlflow"])
    security = deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    security["readOnlyRootFilesytem"] = security.pop("readOnlyRootFilesystem")
    with pytest.raises(kubernetes_validate.ValidationError, match="readOnlyRootFilesytem"):
        kubernetes_validate.validate(deployment, version, strict=True)


@pytest.mark.parametrize("folder", ["ray/base", "ray/gpu"])
def test_ray_manifests_pass_the_crds_and_kuberays_rules(folder: str, crds: Path) -> None:
    assert {each["kind"] for each in rendered(folder)} == RAY
    for each in rendered(folder):
        assert errors(each, crds) == []
        check(each)


@pytest.mark.parametrize("folder", RENDERED)
def test_pods_are_restricted(folder: str) -> None:
    pods = [template["spec"] for each in rendered(folder) for template in pod_templates(each)]
    assert len(pods) >= 3
    assert [violations(pod) for pod in pods] == [[]] * len(pods)


BROKEN: dict[str, Callable[[Manifest], Any]] = {
    "hostNetwork": lambda pod: pod.update(hostNetwork=True),
    "runAsNonRoot": lambda pod: pod["securityContext"].pop("runAsNonRoot"),
    "seccompProfile": lambda pod: pod["securityContext"].pop("seccompProfile"),
    "volume": lambda pod: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    "allowPrivilegeEscalation": lambda pod: pod["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
    "capabilities": lambda pod: pod["containers"][0]["securityContext"]["capabilities"].update(add=["NET_RAW"]),
    "readOnlyRootFilesystem": lambda pod: pod["containers"][0]["securityContext"].pop("readOnlyRootFilesystem"),
    "hostPort": lambda pod: pod["containers"][0]["ports"][0].update(hostPort=80),
}


@pytest.mark.parametrize("what", BROKEN)
def test_unrestricted_pod_is_found(what: str) -> None:
    pod = copy.deepcopy(of_kind("overlays/local", "Deployment")["mlflow"]["spec"]["template"]["spec"])
    BROKEN[what](pod)
    assert violations(pod) == [what]


@pytest.mark.parametrize("folder", PLATFORMS)
def test_namespace_enforces_what_the_pods_keep(folder: str) -> None:
    labels = of_kind(folder, "Namespace")["lens"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("folder", RENDERED)
def test_image_tags_are_pinned(folder: str) -> None:
    images = {each["image"] for m in rendered(folder) for t in pod_templates(m) for each in containers(t["spec"])}
    assert images
    assert [image for image in images if not re.search(r":\d+\.\d+(\.\d+)?[\w.-]*$|@sha256:[0-9a-f]{64}$", image)] == []


@pytest.mark.parametrize("folder", RENDERED)
def test_no_secret_is_in_the_repository(folder: str) -> None:
    assert of_kind(folder, "Secret") == {}


def secret_references(tree: Any) -> set[tuple[str, str]]:
    """Name and key of every value that comes from a Secret."""
    if isinstance(tree, list):
        return set().union(*map(secret_references, tree))
    if not isinstance(tree, dict):
        return set()
    found = set().union(*map(secret_references, tree.values()))
    if "secretKeyRef" in tree:
        found.add((tree["secretKeyRef"]["name"], tree["secretKeyRef"]["key"]))
    if "secretName" in tree:
        found |= {(tree["secretName"], item["key"]) for item in tree["items"]}
    return found


def test_readme_creates_every_secret() -> None:
    commands = re.findall(r"create secret generic (\S+)((?:.*\\\n)*.*)", (ROOT / "k8s/README.md").read_text("utf-8"))
    created = {(name, key) for name, rest in commands for key in re.findall(r"--from-(?:literal|file)=([\w.]+)=", rest)}
    needed = set().union(*(secret_references(list(rendered(folder))) for folder in RENDERED))
    needed |= set().union(*(secret_references(launched(folder)) for folder in PLATFORMS))
    assert needed == created


@pytest.mark.parametrize("folder", PLATFORMS)
def test_launched_job_fits_the_overlay(folder: str, crds: Path) -> None:
    job = launched(folder)
    check(job)
    assert errors(job, crds) == []
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert head["serviceAccountName"] in of_kind(folder, "ServiceAccount")
    claims = {each["persistentVolumeClaim"]["claimName"] for each in head["volumes"] if "persistentVolumeClaim" in each}
    assert claims <= of_kind(folder, "PersistentVolumeClaim").keys()
    queue = job["metadata"]["labels"].get("kueue.x-k8s.io/queue-name")
    assert (queue is None) == (of_kind(folder, "LocalQueue") == {})
    assert queue is None or queue in of_kind(folder, "LocalQueue")


def total(job: Manifest, resource: str) -> Any:
    """What all pods of a job ask for at once."""
    cluster = job["spec"]["rayClusterSpec"]
    pods = [(1, cluster["headGroupSpec"]["template"]["spec"]), (1, job["spec"]["submitterPodTemplate"]["spec"])]
    pods += [(group["replicas"], group["template"]["spec"]) for group in cluster.get("workerGroupSpecs", [])]
    return sum(
        replicas * parse_quantity(container["resources"]["requests"].get(resource, "0"))
        for replicas, pod in pods
        for container in containers(pod)
    )


@pytest.mark.parametrize("folder", PLATFORMS)
@pytest.mark.parametrize("resource", ["cpu", "memory", "nvidia.com/gpu"])
def test_launched_job_is_within_quota_and_queue(folder: str, resource: str) -> None:
    """A job that could never start would wait for ever."""
    wanted = total(launched(folder), resource)
    quota = of_kind(folder, "ResourceQuota")["lens"]["spec"]["hard"]
    assert wanted <= parse_quantity(quota[f"requests.{resource}"])
    for queue in of_kind(folder, "ClusterQueue").values():
        flavors = [each["resources"] for group in queue["spec"]["resourceGroups"] for each in group["flavors"]]
        amounts = [
            parse_quantity(each["nominalQuota"]) for flavor in flavors for each in flavor if each["name"] == resource
        ]
        assert wanted <= sum(amounts) <= parse_quantity(quota[f"requests.{resource}"])


@pytest.mark.parametrize("folder", PLATFORMS)
def test_mlflow_answers_to_every_name_that_it_is_called_by(folder: str) -> None:
    from mlflow.server.security_utils import is_allowed_host_header

    allowed = allowed_hosts(folder, "lens")
    used = yaml.safe_load((ROOT / "k8s" / folder / "cluster.yaml").read_text("utf-8"))["env"]["MLFLOW_TRACKING_URI"]
    service = of_kind(folder, "Service")["mlflow"]
    port = service["spec"]["ports"][0]["port"]
    names = [f"mlflow{suffix}:{port}" for suffix in ("", ".lens", ".lens.svc", ".lens.svc.cluster.local")]
    assert all(is_allowed_host_header(allowed, host) for host in (urlsplit(used).netloc, *names, f"localhost:{port}"))
    assert not is_allowed_host_header(allowed, f"mlflow.other:{port}")


@pytest.mark.parametrize("folder", PLATFORMS)
def test_names_that_are_referred_to_exist(folder: str) -> None:
    accounts, settings = of_kind(folder, "ServiceAccount"), of_kind(folder, "ConfigMap")
    for template in (template for each in rendered(folder) for template in pod_templates(each)):
        pod = template["spec"]
        assert pod["serviceAccountName"] in accounts
        for source in (source for each in containers(pod) for source in each.get("envFrom", [])):
            assert source["configMapRef"]["name"] in settings
    services = of_kind(folder, "Service").values()
    labels = [t["metadata"]["labels"] for each in rendered(folder) for t in pod_templates(each)]
    assert all(any(s["spec"]["selector"].items() <= each.items() for each in labels) for s in services)


def readme_launches() -> list[list[str]]:
    """Arguments of every `lens k8s launch` in the README."""
    text = (ROOT / "k8s/README.md").read_text("utf-8").replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("lens k8s launch")]


@pytest.mark.parametrize("arguments", readme_launches(), ids=lambda arguments: arguments[arguments.index("--run") + 1])
def test_launches_of_the_readme_are_good(arguments: list[str], monkeypatch: pytest.MonkeyPatch, crds: Path) -> None:
    monkeypatch.chdir(ROOT)
    at = arguments.index("--")
    result = CliRunner().invoke(app, [*arguments[:at], "--dry-run", *arguments[at:]])
    assert result.exit_code == 0, result.output
    assert errors(yaml.safe_load(result.stdout), crds) == []
