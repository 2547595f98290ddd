"""Who may speak to whom, as the network policies of a rendered folder say it."""

from typing import Any

from tests.helpers.manifests import Manifest, of_kind

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
INTERNET = "203.0.113.1"
CLOUD_METADATA = "169.254.169.254"

CONNECTIONS: list[tuple[Any, Any, int, bool]] = [
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
    (REAPER, INTERNET, 443, False),
    (HEAD, CLOUD_METADATA, 443, False),
    (REAPER, CLOUD_METADATA, 443, False),
]
"""Labels of a pod, labels of another one or an address, a port, and whether the first reaches the second."""


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
