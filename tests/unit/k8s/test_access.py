"""Who may do what: rights at the API server, and connections between pods."""

from pathlib import Path
from typing import Any

import pytest

from lens_core.kube.rights import JOB, LAUNCHER
from tests.helpers.connections import (
    API_SERVER,
    CONNECTIONS,
    HEAD,
    INTERNET,
    MLFLOW,
    REAPER,
    S3,
    STEP,
    WORKER,
    connects,
)
from tests.helpers.manifests import PLATFORMS, RENDERED, Manifest, of_kind, pod_templates, rendered, with_components

GRANTED = {
    "lens-launcher": {
        "ray.io/rayjobs": {"create", "get", "watch", "patch", "delete"},
        "coordination.k8s.io/leases": {"create", "patch"},
        "/pods": {"list"},
        "/pods/log": {"get"},
    },
    "lens-job": {"coordination.k8s.io/leases": {"get"}},
    "lens-reaper": {
        "ray.io/rayjobs": {"list", "delete"},
        "coordination.k8s.io/leases": {"list"},
        "/pods": {"get"},
    },
}
"""Of each role, by group and resource."""
BOUND = {
    "lens-launcher": ("lens-launcher", "lens-launcher"),
    "lens-job": ("lens-job", "lens-job"),
    "lens-reaper": ("lens-reaper", "lens-reaper"),
}
"""Role and account of each binding."""


def rights(role: Manifest) -> dict[str, set[str]]:
    return {
        f"{group}/{resource}": set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


@pytest.mark.parametrize("folder", PLATFORMS)
def test_roles_grant_the_table_and_no_more(folder: str) -> None:
    assert {name: rights(role) for name, role in of_kind(folder, "Role").items()} == GRANTED


def test_rights_that_doctor_asks_for_are_those_of_the_roles() -> None:
    asked = {"lens-launcher": LAUNCHER, "lens-job": JOB}
    for role, listed in asked.items():
        found: dict[str, set[str]] = {}
        for each in listed:
            found.setdefault(f"{each.group}/{each.resource}", set()).add(each.verb)
        assert found == GRANTED[role]


@pytest.mark.parametrize("folder", PLATFORMS)
def test_roles_are_bound_to_their_accounts_and_no_others(folder: str) -> None:
    of_pipelines = {"lens-launcher-of-pipelines": ("lens-launcher", "default-editor", "pipeline-runner")}
    expected = BOUND | (of_pipelines if folder == "overlays/production" else {})
    bindings = of_kind(folder, "RoleBinding")
    found = {name: (each["roleRef"]["name"], *(s["name"] for s in each["subjects"])) for name, each in bindings.items()}
    assert found == expected
    assert {subject["namespace"] for each in bindings.values() for subject in each["subjects"]} == {"lens"}


@pytest.mark.parametrize("folder", RENDERED)
def test_nothing_is_granted_outside_of_the_namespace(folder: str) -> None:
    assert of_kind(folder, "ClusterRole") == of_kind(folder, "ClusterRoleBinding") == {}
    policies = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    cluster_wide = {"Namespace", "ResourceFlavor", "ClusterQueue", *policies}
    namespaces = {each["metadata"].get("namespace") for each in rendered(folder) if each["kind"] not in cluster_wide}
    assert namespaces == {"lens"}


@pytest.mark.parametrize("folder", RENDERED)
def test_only_the_reaper_gets_a_token(folder: str) -> None:
    templates = [(each["metadata"]["name"], t["spec"]) for each in rendered(folder) for t in pod_templates(each)]
    with_token = {name for name, pod in templates if pod["automountServiceAccountToken"]}
    assert with_token == ({"lens-reaper"} if folder in PLATFORMS else set())
    accounts = of_kind(folder, "ServiceAccount").values()
    assert all(each["automountServiceAccountToken"] is False for each in accounts)


@pytest.mark.parametrize("folder", PLATFORMS)
@pytest.mark.parametrize(("source", "target", "port", "expected"), CONNECTIONS)
def test_connections(folder: str, source: Any, target: Any, port: int, expected: bool) -> None:
    if folder == "overlays/production" and source is MLFLOW and port == 443:
        expected = True  # its S3 service
    assert connects(folder, source, target, port) is expected


@pytest.mark.parametrize(
    ("folder", "source", "target", "port", "expected"),
    [
        ("overlays/local", MLFLOW, S3, 8333, True),
        ("overlays/local", WORKER, S3, 8333, False),
        ("overlays/local", WORKER, INTERNET, 443, False),
        ("overlays/local", HEAD, INTERNET, 443, False),
        ("overlays/local", HEAD, INTERNET, 6443, False),
        ("overlays/gpu", HEAD, INTERNET, 443, True),
        ("overlays/gpu", HEAD, INTERNET, 6443, False),
        ("overlays/gpu", WORKER, INTERNET, 443, True),
        ("overlays/gpu", WORKER, INTERNET, 80, False),
        ("overlays/gpu", STEP, MLFLOW, 5000, False),
        ("overlays/production", STEP, MLFLOW, 5000, True),
        ("overlays/production", STEP, API_SERVER, 443, True),
        ("overlays/production", STEP, INTERNET, 443, False),
        ("overlays/production", MLFLOW, INTERNET, 443, True),
    ],
)
def test_connections_that_components_bring(folder: str, source: Any, target: Any, port: int, expected: bool) -> None:
    assert connects(folder, source, target, port) is expected


def test_api_server_with_a_public_address_is_let_through_by_a_component(tmp_path: Path) -> None:
    build = with_components(tmp_path, "overlays/local", "public-api-server")
    for source in (HEAD, REAPER):
        assert connects(build, source, INTERNET, 6443)
        assert not connects(build, source, INTERNET, 80)
    assert not connects(build, WORKER, INTERNET, 443)
    assert not connects(build, MLFLOW, INTERNET, 443)
