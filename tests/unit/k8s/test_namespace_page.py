"""What docs/namespace.md makes: of components, for a namespace that is named once."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from lens_core.kube.rayjob import Job
from lens_core.kube.rayjob import manifest as rayjob
from lens_core.kube.settings import load_cluster
from tests.helpers.connections import API_SERVER, HEAD, REAPER, STEP, STRANGER, SUBMITTER, WORKER, connects
from tests.helpers.docs import blocks
from tests.helpers.manifests import ROOT, of_kind, pod_templates, rendered, violations
from tests.helpers.namespace_page import PAGE, team_of_the_page

QUOTAS = {"Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy"}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return team_of_the_page(tmp_path_factory.mktemp("checkout"))


def test_namespace_is_named_once_and_reaches_every_object(team: Path) -> None:
    assert (team / "kustomization.yaml").read_text().count("team-a") == 1
    made = rendered(str(team))
    assert {each["metadata"].get("namespace") for each in made if each["kind"] != "Namespace"} == {"team-a"}
    assert of_kind(str(team), "Namespace").keys() == {"team-a"}
    bindings = of_kind(str(team), "RoleBinding").values()
    assert {subject["namespace"] for each in bindings for subject in each["subjects"]} == {"team-a"}


def test_cluster_file_finds_there_all_that_it_names(team: Path) -> None:
    job = rayjob(Job("r", "train", 0, ("lens",), load_cluster(team / "cluster.yaml"), "team-a"))
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    secrets = of_kind(str(team), "Secret")
    for variable in head["containers"][0]["env"]:
        source = variable.get("valueFrom", {}).get("secretKeyRef")
        assert source is None or source["key"] in secrets[source["name"]]["data"]
    assert [secrets[each["name"]]["type"] for each in head["imagePullSecrets"]] == ["kubernetes.io/dockerconfigjson"]
    assert head["serviceAccountName"] in of_kind(str(team), "ServiceAccount")
    claims = {each["persistentVolumeClaim"]["claimName"] for each in head["volumes"] if "persistentVolumeClaim" in each}
    assert claims == of_kind(str(team), "PersistentVolumeClaim").keys()
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] in of_kind(str(team), "LocalQueue")


def test_secrets_stay_private_and_out_of_what_is_printed(team: Path) -> None:
    for name in ("mlflow-client.env", "hub.env", "registry.json"):
        assert (team / name).stat().st_mode & 0o077 == 0


def test_pods_are_restricted_and_take_their_image_from_the_registry(team: Path) -> None:
    pods = [template["spec"] for each in rendered(str(team)) for template in pod_templates(each)]
    assert [violations(pod) for pod in pods] == [[]]
    assert pods[0]["containers"][0]["image"] == "registry.example.com/lens-grpo:0.1.0"
    accounts = of_kind(str(team), "ServiceAccount")
    assert accounts[pods[0]["serviceAccountName"]]["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize(
    ("source", "target", "port", "expected"),
    [
        (WORKER, HEAD, 6379, True), (SUBMITTER, HEAD, 8265, True), (HEAD, API_SERVER, 443, True),
        (STEP, API_SERVER, 443, True), (STEP, HEAD, 8265, True), (REAPER, API_SERVER, 6443, True),
        (WORKER, API_SERVER, 443, False), (STRANGER, HEAD, 8265, False), (STRANGER, API_SERVER, 443, False),
    ],
)  # fmt: skip
def test_connections(team: Path, source: Any, target: Any, port: int, expected: bool) -> None:
    assert connects(str(team), source, target, port) is expected


def test_namespace_of_a_profile_is_left_to_kubeflow(team: Path, tmp_path: Path) -> None:
    """In the order of the page: the other way round there is nothing yet to leave out."""
    kustomization = yaml.safe_load((team / "kustomization.yaml").read_text())
    components = [str(ROOT / "k8s/components" / name) for name in ("namespace", "profile")]
    assert "**behind** `../k8s/components/namespace`" in PAGE.read_text("utf-8")
    made = build(tmp_path, components, kustomization["namespace"])
    assert {each["metadata"]["namespace"] for each in rendered(made)} == {"team-a"}
    assert of_kind(made, "Namespace") == {}


def test_kubeflows_own_namespace_keeps_its_network_and_quota(tmp_path: Path) -> None:
    (shown,) = blocks(PAGE, "yaml")
    components = [str(ROOT / each.removeprefix("../")) for each in yaml.safe_load(shown)["components"]]
    made = build(tmp_path, components, yaml.safe_load(shown)["namespace"])
    assert QUOTAS.isdisjoint(each["kind"] for each in rendered(made))
    subjects = of_kind(made, "RoleBinding")["lens-launcher-of-pipelines"]["subjects"]
    assert {"kind": "ServiceAccount", "name": "pipeline-runner", "namespace": "kubeflow"} in subjects


def build(place: Path, components: list[str], namespace: str) -> str:
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "components": [os.path.relpath(each, place) for each in components],
    }
    (place / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return str(place)
