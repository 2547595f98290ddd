"""Every overlay under another namespace, as a team writes it: one kustomization of its own, and no copy of ours.

What is looked at are references: whatever names something of the build must find it there.
"""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lens_core.kube.rayjob import Job
from lens_core.kube.rayjob import manifest as rayjob
from lens_core.kube.settings import load_cluster
from tests.helpers.connections import CONNECTIONS, connects
from tests.helpers.manifests import (
    PLATFORMS,
    RENDERED,
    ROOT,
    allowed_hosts,
    containers,
    of_kind,
    pod_templates,
    rendered,
)
from tests.helpers.manifests import elsewhere as put_elsewhere

NAMESPACE = "team-a"
OF_THE_CLUSTER = {
    "Namespace", "ResourceFlavor", "ClusterQueue", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
}  # fmt: skip
OF_KUBEFLOW = {"default-editor", "pipeline-runner"}
"""Made by its profile controller in every profile; by its installation in its own namespace."""


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folder of `k8s/` -> a folder that puts it elsewhere: namespace, storage class, registry, name of MLflow."""
    images: dict[str, Any] = {"images": [{"name": "lens-mlflow", "newName": "registry.team-a.example/lens-mlflow"}]}
    replace = [{"op": "add", "path": "/spec/storageClassName", "value": "nfs"}]
    claims = [{"op": "add", "path": "/spec/volumeClaimTemplates/0/spec/storageClassName", "value": "nfs"}]
    patches = [
        {"target": {"kind": "PersistentVolumeClaim"}, "patch": yaml.safe_dump(replace)},
        {"target": {"kind": "StatefulSet"}, "patch": yaml.safe_dump(claims)},
    ]
    hosts = {"name": "mlflow", "behavior": "merge", "literals": ["OTHER_HOSTS=localhost:5000,mlflow.team-a.example"]}
    platform = {"patches": patches, "configMapGenerator": [hosts]}
    places = {folder: tmp_path_factory.mktemp(folder.replace("/", "-")) for folder in RENDERED}
    return {
        folder: put_elsewhere(folder, NAMESPACE, place, **images, **(platform if folder in PLATFORMS else {}))
        for folder, place in places.items()
    }


@pytest.mark.parametrize("folder", RENDERED)
def test_namespace_that_is_named_once_reaches_every_object(folder: str, elsewhere: dict[str, str]) -> None:
    for each in rendered(elsewhere[folder]):
        if each["kind"] == "Namespace":
            assert each["metadata"]["name"] == NAMESPACE
        elif each["kind"] not in OF_THE_CLUSTER:
            assert each["metadata"]["namespace"] == NAMESPACE


def test_namespace_of_a_profile_is_left_to_kubeflow(elsewhere: dict[str, str], tmp_path: Path) -> None:
    build = elsewhere["overlays/production"]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(build, tmp_path)],
        "components": [os.path.relpath(ROOT / "k8s/components/profile", tmp_path)],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    names = [(each["kind"], each["metadata"]["name"]) for each in rendered(str(tmp_path))]
    before = [(each["kind"], each["metadata"]["name"]) for each in rendered(build)]
    assert sorted(names) == sorted(set(before) - {("Namespace", NAMESPACE)})


@pytest.mark.parametrize("folder", RENDERED)
def test_nothing_still_points_to_the_namespace_of_before(folder: str, elsewhere: dict[str, str]) -> None:
    """Wherever a value can be one: a field called namespace, a label with its name, a host."""
    assert list(pointers(list(rendered(elsewhere[folder])), "lens")) == []
    before = set(pointers(list(rendered(folder)), "lens"))
    assert folder.startswith("ray") or any("subjects" in path for path in before)


def pointers(tree: Any, namespace: str, path: str = "") -> list[str]:
    """Paths of the values that name a namespace, `namespace`; `lens` is also the name of other things."""
    if isinstance(tree, list):
        return [found for index, each in enumerate(tree) for found in pointers(each, namespace, f"{path}[{index}]")]
    if isinstance(tree, dict):
        return [found for key, each in tree.items() for found in pointers(each, namespace, f"{path}/{key}")]
    key = path.rpartition("/")[2]
    names = key in ("namespace", "kubernetes.io", "metadata.name") or path.endswith("kubernetes.io/metadata.name")
    is_host = isinstance(tree, str) and re.search(rf"\w\.{namespace}(\.svc|:|,|/|$)", tree)
    return [path] if (names and tree == namespace) or is_host else []


@pytest.mark.parametrize("folder", PLATFORMS)
def test_subjects_are_accounts_of_the_build_or_kubeflows(folder: str, elsewhere: dict[str, str]) -> None:
    build = elsewhere[folder]
    accounts = of_kind(build, "ServiceAccount").keys() | OF_KUBEFLOW
    bindings = of_kind(build, "RoleBinding")
    assert bindings.keys() == of_kind(folder, "RoleBinding").keys()
    for each in bindings.values():
        assert each["roleRef"]["name"] in of_kind(build, "Role")
        for subject in each["subjects"]:
            assert (subject["name"] in accounts, subject["namespace"]) == (True, NAMESPACE)


@pytest.mark.parametrize("folder", PLATFORMS)
def test_pods_find_their_accounts_volumes_and_settings(folder: str, elsewhere: dict[str, str]) -> None:
    build = elsewhere[folder]
    claims, settings = of_kind(build, "PersistentVolumeClaim"), of_kind(build, "ConfigMap")
    for template in (template for each in rendered(build) for template in pod_templates(each)):
        pod = template["spec"]
        assert pod["serviceAccountName"] in of_kind(build, "ServiceAccount")
        assert {
            v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v
        } <= claims.keys()
        for container in containers(pod):
            assert {each["configMapRef"]["name"] for each in container.get("envFrom", [])} <= settings.keys()
            sources = [each.get("valueFrom", {}).get("configMapKeyRef") for each in container.get("env", [])]
            assert all(each["key"] in settings[each["name"]]["data"] for each in sources if each)


@pytest.mark.parametrize("folder", PLATFORMS)
def test_every_volume_takes_the_storage_class(folder: str, elsewhere: dict[str, str]) -> None:
    build = elsewhere[folder]
    claims = list(of_kind(build, "PersistentVolumeClaim").values())
    claims += [each for s in of_kind(build, "StatefulSet").values() for each in s["spec"]["volumeClaimTemplates"]]
    assert len(claims) >= 2
    assert {each["spec"]["storageClassName"] for each in claims} == {"nfs"}


@pytest.mark.parametrize("folder", PLATFORMS)
def test_queues_lead_to_quotas_and_let_the_namespace_in(folder: str, elsewhere: dict[str, str]) -> None:
    build = elsewhere[folder]
    queues = of_kind(build, "ClusterQueue")
    assert bool(queues) == (folder != "overlays/local")
    for local in of_kind(build, "LocalQueue").values():
        queue = queues[local["spec"]["clusterQueue"]]["spec"]
        assert queue["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": NAMESPACE}
        flavors = {flavor["name"] for group in queue["resourceGroups"] for flavor in group["flavors"]}
        assert flavors <= of_kind(build, "ResourceFlavor").keys()


@pytest.mark.parametrize("folder", PLATFORMS)
def test_launched_job_finds_account_volume_and_queue(folder: str, elsewhere: dict[str, str]) -> None:
    build = elsewhere[folder]
    job = rayjob(Job("r", "train", 0, ("lens",), load_cluster(ROOT / "k8s" / folder / "cluster.yaml"), NAMESPACE))
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert head["serviceAccountName"] in of_kind(build, "ServiceAccount")
    claims = {v["persistentVolumeClaim"]["claimName"] for v in head["volumes"] if "persistentVolumeClaim" in v}
    assert claims <= of_kind(build, "PersistentVolumeClaim").keys()
    queue = job["metadata"]["labels"].get("kueue.x-k8s.io/queue-name")
    assert queue is None or queue in of_kind(build, "LocalQueue")


@pytest.mark.parametrize("folder", PLATFORMS)
def test_mlflow_answers_to_its_names_there(folder: str, elsewhere: dict[str, str]) -> None:
    from mlflow.server.security_utils import is_allowed_host_header

    allowed = allowed_hosts(elsewhere[folder], NAMESPACE)
    names = [f"mlflow{suffix}:5000" for suffix in ("", ".team-a", ".team-a.svc", ".team-a.svc.cluster.local")]
    assert all(is_allowed_host_header(allowed, host) for host in (*names, "localhost:5000", "mlflow.team-a.example"))
    assert not is_allowed_host_header(allowed, "mlflow.lens:5000")


@pytest.mark.parametrize("folder", PLATFORMS)
def test_connections_are_those_of_the_namespace_of_before(folder: str, elsewhere: dict[str, str]) -> None:
    for source, target, port, _ in CONNECTIONS:
        assert connects(elsewhere[folder], source, target, port) == connects(folder, source, target, port)
