"""Who may do what: rights at the API server, and connections between pods."""

from typing import Any

import pytest

from tests.helpers.manifests import PLATFORMS, RENDERED, Manifest, of_kind, pod_templates, rendered

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


@pytest.mark.parametrize("folder", PLATFORMS)
def test_roles_are_bound_to_their_accounts_and_no_others(folder: str) -> None:
    of_pipelines = {"lens-launcher-of-pipelines": ("lens-launcher", "default-editor")}
    expected = BOUND | (of_pipelines if folder == "overlays/production" else {})
    bindings = of_kind(folder, "RoleBinding")
    found = {name: (each["roleRef"]["name"], *(s["name"] for s in each["subjects"])) for name, each in bindings.items()}
    assert found == expected
    assert {subject["namespace"] for each in bindings.values() for subject in each["subjects"]} == {"lens"}


@pytest.mark.parametrize("folder", RENDERED)
def test_nothing_is_granted_outside_of_the_namespace(folder: str) -> None:
    assert of_kind(folder, "ClusterRole") == of_kind(folder, "ClusterRoleBinding") == {}
    cluster_wide = {"Namespace", "ResourceFlavor", "ClusterQueue"}
    namespaces = {each["metadata"].get("namespace") for each in rendered(folder) if each["kind"] not in cluster_wide}
    assert namespaces == {"lens"}


@pytest.mark.parametrize("folder", RENDERED)
def test_only_the_reaper_gets_a_token(folder: str) -> None:
    templates = [(each["metadata"]["name"], t["spec"]) for each in rendered(folder) for t in pod_templates(each)]
    with_token = {name for name, pod in templates if pod["automountServiceAccountToken"]}
    assert with_token == ({"lens-reaper"} if folder in PLATFORMS else set())
    accounts = of_kind(folder, "ServiceAccount").values()
    assert all(each["automountServiceAccountToken"] is False for each in accounts)


HEAD = {"ray.io/is-ray-node": "yes", "ray.io/node-type": "head", "app.kubernetes.io/managed-by": "lens-grpo"}
WORKER = HEAD | {"ray.io/node-type": "worker"}
SUBMITTER = {"app.kubernetes.io/managed-by": "lens-grpo", "batch.kubernetes.io/job-name": "j"}
MLFLOW = {"app.kubernetes.io/name": "mlflow"}
DATABASE = {"app.kubernetes.io/name": "mlflow-database"}
S3 = {"app.kubernetes.io/name": "s3"}
STEP = {"pipelines.kubeflow.org/v2_component": "true"}
REAPER = {"lens-grpo/calls-api-server": "true"}
STRANGER = {"app": "stranger"}
API_SERVER = "10.96.0.1"

CONNECTIONS = [
    (WORKER, HEAD, 6379, True),
    (WORKER, WORKER, 40001, True),
    (HEAD, MLFLOW, 5000, True),
    (WORKER, MLFLOW, 5000, True),
    (WORKER, DATABASE, 5432, False),
    (WORKER, MLFLOW, 8080, False),
    (SUBMITTER, HEAD, 8265, True),
    (SUBMITTER, HEAD, 10001, False),
    (SUBMITTER, WORKER, 8265, False),
    (SUBMITTER, MLFLOW, 5000, False),
    (MLFLOW, DATABASE, 5432, True),
    (DATABASE, MLFLOW, 5000, False),
    (STRANGER, MLFLOW, 5000, False),
    (STRANGER, HEAD, 8265, False),
    (HEAD, API_SERVER, 443, True),
    (REAPER, API_SERVER, 6443, True),
    (WORKER, API_SERVER, 443, False),
    (MLFLOW, API_SERVER, 6443, False),
    (DATABASE, API_SERVER, 443, False),
    (STRANGER, API_SERVER, 443, False),
]


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
        ("overlays/local", WORKER, "203.0.113.1", 443, False),
        ("overlays/gpu", WORKER, "203.0.113.1", 443, True),
        ("overlays/gpu", WORKER, "203.0.113.1", 80, False),
        ("overlays/gpu", STEP, MLFLOW, 5000, False),
        ("overlays/production", STEP, MLFLOW, 5000, True),
        ("overlays/production", STEP, API_SERVER, 443, True),
        ("overlays/production", MLFLOW, "203.0.113.1", 443, True),
    ],
)
def test_connections_that_components_bring(folder: str, source: Any, target: Any, port: int, expected: bool) -> None:
    assert connects(folder, source, target, port) is expected


def connects(folder: str, source: dict[str, str], target: dict[str, str] | str, port: int) -> bool:
    """Whether the policies let a pod of the namespace reach another one of it, or an address."""
    leaves = _allows(folder, "Egress", source, target, port)
    return leaves and (isinstance(target, str) or _allows(folder, "Ingress", target, source, port))


def _allows(folder: str, direction: str, pod: dict[str, str], peer: dict[str, str] | str, port: int) -> bool:
    """https://kubernetes.io/docs/concepts/services-networking/network-policies: what any policy allows is allowed."""
    key, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    specs = [each["spec"] for each in of_kind(folder, "NetworkPolicy").values()]
    applying = [spec for spec in specs if _selects(spec["podSelector"], pod) and direction in spec["policyTypes"]]
    assert applying  # the default denies
    rules = [rule for spec in applying for rule in spec.get(key, [])]
    return any(
        _is_peer(each, peer) and port in {number["port"] for number in rule.get("ports", [{"port": port}])}
        for rule in rules
        for each in rule[peers]
    )


def _is_peer(rule: Manifest, peer: dict[str, str] | str) -> bool:
    from ipaddress import ip_address, ip_network

    if isinstance(peer, dict):
        return "namespaceSelector" not in rule and "podSelector" in rule and _selects(rule["podSelector"], peer)
    block = rule.get("ipBlock")
    if block is None or ip_address(peer) not in ip_network(block["cidr"]):
        return False
    return not any(ip_address(peer) in ip_network(each) for each in block.get("except", []))


def _selects(selector: Manifest, labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "Exists" for each in expressions)
    wanted = selector.get("matchLabels", {})
    return wanted.items() <= labels.items() and all(each["key"] in labels for each in expressions)
