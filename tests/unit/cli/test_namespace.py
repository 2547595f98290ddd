"""What `lens doctor --cluster` says of namespaces, from an empty one to one that docs/namespace.md has made."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from typer.testing import CliRunner

from lens_core.cli.doctor import Check
from lens_core.cli.main import app
from lens_core.cli.namespace import examine_namespace
from tests.helpers.kube_server import Fault, KubeServer, Manifest, answer, path_of
from tests.helpers.manifests import rendered, violations
from tests.helpers.namespace_page import team_of_the_page

TEAM = "/api/v1/namespaces/team-a"
RAY = {"resources": [{"name": "rayjobs"}, {"name": "rayclusters"}]}
KUEUE = {"preferredVersion": {"groupVersion": "kueue.x-k8s.io/v1beta2"}}
PROFILES = {"resources": [{"name": "profiles"}]}
ENDPOINTS = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {"name": "mlflow-x", "namespace": "lens", "labels": {"kubernetes.io/service-name": "mlflow"}},
    "endpoints": [{"conditions": {"ready": True}}],
    "ports": [{"port": 5000}],
}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return team_of_the_page(tmp_path_factory.mktemp("checkout"))


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeServer]:
    """With an empty namespace `team-a`."""
    monkeypatch.setattr("lens_core.kube.probe._LOOKS_S", 0.05)
    with KubeServer().running() as server:
        monkeypatch.setenv("KUBECONFIG", str(server.write_kubeconfig(tmp_path)))
        put(server, [{"kind": "Namespace", "metadata": {"name": "team-a"}}])
        yield server


@pytest.fixture
def made(cluster: KubeServer, team: Path) -> KubeServer:
    """With operators, MLflow in `lens`, and all that the page makes in `team-a`."""
    put(cluster, [*rendered("overlays/production"), *rendered(str(team)), ENDPOINTS])
    cluster.others |= {"/apis/ray.io/v1": RAY, "/apis/kueue.x-k8s.io": KUEUE}
    cluster.others[f"{TEAM}/persistentvolumeclaims/lens-data"]["status"] = {"phase": "Bound"}
    put(cluster, [{"kind": "ServiceAccount", "metadata": {"name": "default-editor", "namespace": "team-a"}}])
    return cluster


def put(server: KubeServer, manifests: list[Manifest]) -> None:
    paths = {path_of(each): json.loads(json.dumps(each)) for each in manifests}
    server.others |= {path: each for path, each in paths.items() if path is not None}
    for path, each in server.others.items():
        if path.startswith("/api/v1/namespaces/") and path.count("/") == 4:  # the API server's own doing
            name = each["metadata"]["name"]
            each["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name


@contextmanager
def kubelet(server: KubeServer, **status: Any) -> Iterator[None]:
    """Gives the doctor's pod a status; `phase` Succeeded where nothing is said."""

    def play() -> None:
        server.wait_for(lambda: [key for key in server.objects if key[0] == "pods"] or ended.is_set())
        for plural, namespace, name in list(server.objects):
            pod = server.get(plural, name, namespace)
            assert pod is not None
            server.put(plural, {**pod, "status": {"phase": "Succeeded", **status}}, namespace)

    ended = threading.Event()
    player = threading.Thread(target=play)
    player.start()
    try:
        yield
    finally:
        ended.set()
        player.join()


def examine(team: Path, probe_s: float = 30) -> dict[str, Check]:
    return {each.name: each for each in examine_namespace(team / "cluster.yaml", probe_s=probe_s)}


def broken(checks: dict[str, Check]) -> set[str]:
    return {name for name, each in checks.items() if each.status != "ok"}


def test_namespace_that_the_page_has_made_is_in_order(made: KubeServer, team: Path) -> None:
    with kubelet(made):
        checks = examine(team)
    assert broken(checks) == set()
    assert checks.keys() == {
        "namespace", "KubeRay", "rights", "account lens-job", "steps' account default-editor", "volume lens-data",
        "secret registry", "secret mlflow-client", "secret hub", "queue lens", "MLflow", "a pod",
    }  # fmt: skip
    assert checks["a pod"].found == "user 1000 writes to /data"
    assert made.objects == {}, "the pod is gone again"


def test_empty_namespace_is_told_all_that_is_missing(cluster: KubeServer, team: Path) -> None:
    checks = examine(team)
    assert broken(checks) == {
        "KubeRay", "account lens-job", "volume lens-data", "secret registry", "secret mlflow-client", "secret hub",
        "queue lens", "MLflow",
    }  # fmt: skip
    assert all(checks[name].remedy for name in broken(checks))
    assert checks["account lens-job"].remedy == f"kubectl apply -k {team}"
    assert not any(request.startswith("POST") and "/pods" in request for request in cluster.requests)


def without(path: str) -> Callable[[KubeServer], Any]:
    return lambda server: server.others.pop(path)


def role(account: str) -> str:
    return f"/apis/rbac.authorization.k8s.io/v1/namespaces/team-a/rolebindings/{account}"


def policy(name: str, namespace: str = "team-a") -> str:
    return f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/{name}"


CASES: dict[str, tuple[Callable[[KubeServer], Any], str, str, str]] = {
    "no KubeRay": (without("/apis/ray.io/v1"), "KubeRay", "knows no RayJobs", "kuberay/ray-operator/config/default"),
    "no account": (
        without(f"{TEAM}/serviceaccounts/lens-job"), "account lens-job", "no such account", "kubectl apply -k",
    ),
    "account without its role": (
        without(role("lens-job")), "account lens-job", "may not get leases",
        "kubectl create rolebinding lens-job-of-lens-job --namespace team-a --role=lens-job "
        "--serviceaccount=team-a:lens-job",
    ),
    "steps that may not launch": (
        without(role("lens-launcher-of-pipelines")), "steps' account default-editor", "may not create rayjobs",
        "--role=lens-launcher --serviceaccount=team-a:default-editor",
    ),
    "no claim": (
        without(f"{TEAM}/persistentvolumeclaims/lens-data"), "volume lens-data", "no such claim", "kubectl apply -k",
    ),
    "claim of a class that is not there": (
        lambda s: s.others[f"{TEAM}/persistentvolumeclaims/lens-data"].pop("status"), "volume lens-data",
        "there is no storage class nfs", "kubectl get storageclasses",
    ),
    "claim without a class": (
        lambda s: s.others[f"{TEAM}/persistentvolumeclaims/lens-data"].update(status={}, spec={}), "volume lens-data",
        "no default", "kubectl get storageclasses",
    ),
    "lost claim": (
        lambda s: s.others[f"{TEAM}/persistentvolumeclaims/lens-data"]["status"].update(phase="Lost"),
        "volume lens-data", "Lost", "kubectl describe persistentvolumeclaim lens-data --namespace team-a",
    ),
    "no secret": (
        without(f"{TEAM}/secrets/mlflow-client"), "secret mlflow-client", "no such Secret",
        "kubectl create secret generic mlflow-client --namespace team-a --from-literal=username=... "
        "--from-literal=password=...",
    ),
    "no pull secret": (
        without(f"{TEAM}/secrets/registry"), "secret registry", "no such Secret",
        "kubectl create secret docker-registry registry --namespace team-a --docker-server=registry.example.com",
    ),
    "pull secret of another kind": (
        lambda s: s.others[f"{TEAM}/secrets/registry"].update(data={"a": "Yg=="}), "secret registry",
        "is no pull secret", "docker-registry",
    ),
    "secret without a key": (
        lambda s: s.others[f"{TEAM}/secrets/hub"].update(data={"Token": "eA=="}), "secret hub", "without token",
        "kubectl patch secret hub --namespace team-a --type=merge '--patch={\"stringData\": {\"token\": \"...\"}}'",
    ),
    "secret with an empty key": (
        lambda s: s.others[f"{TEAM}/secrets/hub"].update(data={"token": ""}), "secret hub", "or empty", "kubectl patch",
    ),
    "no Kueue": (without("/apis/kueue.x-k8s.io"), "queue lens", "has no Kueue", "helm install kueue"),
    "no queue": (
        without("/apis/kueue.x-k8s.io/v1beta2/namespaces/team-a/localqueues/lens"), "queue lens",
        "team-a has no LocalQueue lens", "kubectl apply -k",
    ),
    "queue of nothing": (
        lambda s: s.others["/apis/kueue.x-k8s.io/v1beta2/namespaces/team-a/localqueues/lens"].update(
            status={"conditions": [{"type": "Active", "status": "False", "message": "Can't submit new workloads"}]}
        ),
        "queue lens", "Can't submit", "kubectl describe clusterqueue lens",
    ),
    "no MLflow": (
        without("/api/v1/namespaces/lens/services/mlflow"), "MLflow", "lens has no Service mlflow", ".svc:5000",
    ),
    "MLflow at another port": (
        lambda s: s.others["/api/v1/namespaces/lens/services/mlflow"]["spec"]["ports"][0].update(port=80), "MLflow",
        "listens at 80, not at 5000", "http://mlflow.lens.svc:80",
    ),
    "MLflow that is not ready": (
        lambda s: s.others[str(path_of(ENDPOINTS))]["endpoints"][0]["conditions"].update(ready=False), "MLflow",
        "no pod of Service mlflow is ready",
        "kubectl describe pods --namespace lens --selector app.kubernetes.io/name=mlflow",
    ),
    "no way out for jobs": (
        without(policy("ray-to-mlflow-elsewhere")), "MLflow", "lets Ray's pods out", "mlflow-elsewhere",
    ),
    "no way out for steps": (
        without(policy("steps-to-mlflow-elsewhere")), "MLflow", "lets steps out", "mlflow-elsewhere",
    ),
    "no way in": (
        lambda s: s.others[TEAM]["metadata"].pop("labels"), "MLflow", "no network policy of lens lets",
        "kubectl label namespace team-a lens-grpo/uses-mlflow=true",
    ),
    "no profile": (
        lambda s: s.others.update({"/apis/kubeflow.org/v1": PROFILES}), "namespace",
        "is not the namespace of a Kubeflow profile", "docs/namespace.md",
    ),
    "namespace of another owner": (
        lambda s: (s.others.update({"/apis/kubeflow.org/v1": PROFILES}), put(s, [PROFILE])), "namespace",
        "the annotation owner of team-a is None", "kubectl annotate --overwrite namespace team-a owner=me@example.com",
    ),
    "rights that we lack": (
        lambda s: setattr(s, "lets_us", False), "rights", "you may not create rayjobs", "kubectl create rolebinding",
    ),
}  # fmt: skip
PROFILE = {"kind": "Profile", "metadata": {"name": "team-a"}, "spec": {"owner": {"name": "me@example.com"}}}


@pytest.mark.parametrize("case", CASES)
def test_what_is_missing_is_named_with_the_command_that_mends_it(case: str, made: KubeServer, team: Path) -> None:
    change, name, found, remedy = CASES[case]
    change(made)
    with kubelet(made):
        checks = examine(team)
    assert broken(checks) == {name}
    assert found in checks[name].found
    assert remedy in checks[name].remedy


def test_claim_that_waits_for_its_first_pod_is_in_order(made: KubeServer, team: Path) -> None:
    del made.others[f"{TEAM}/persistentvolumeclaims/lens-data"]["status"]
    put(made, [{"kind": "StorageClass", "metadata": {"name": "nfs"}, "volumeBindingMode": "WaitForFirstConsumer"}])
    with kubelet(made):
        assert "first pod" in examine(team)["volume lens-data"].found


def terminated(message: str) -> dict[str, Any]:
    return {"containerStatuses": [{"state": {"terminated": {"exitCode": 1, "message": message}}}]}


@pytest.mark.parametrize(
    ("status", "found", "remedy"),
    [
        (
            {"phase": "Failed", **terminated("touch: cannot touch '/data/.lens-doctor': Permission denied")},
            "user 1000 may not write: touch: cannot touch",
            "--run volume -- true",
        ),
        (
            {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
            "does not run: ImagePullBackOff",
            "kubectl get events --namespace team-a",
        ),
        (
            {"phase": "Pending", "conditions": [{"status": "False", "message": "0/3 nodes are available"}]},
            "does not run: 0/3 nodes are available",
            "kubectl get events --namespace team-a",
        ),
        ({"phase": "Pending"}, "no node has started it within 1 s", "kubectl get events"),
    ],
)
def test_pod_that_does_not_write_says_why(
    status: dict[str, Any], found: str, remedy: str, made: KubeServer, team: Path
) -> None:
    with kubelet(made, **status):
        check = examine(team, probe_s=1)["a pod"]
    assert (check.status, made.objects) == ("broken", {})
    assert found in check.found
    assert remedy in check.remedy


def test_pod_is_as_a_step_is(made: KubeServer, team: Path) -> None:
    """Restricted, and without the fsGroup that KFP does not set."""
    seen: list[Manifest] = []

    def look(handler: Any) -> None:
        seen.extend(made.objects.values())
        answer(403)(handler)

    made.faults.append(Fault("GET", "/pods/lens-doctor", look))
    examine(team)
    (pod,) = seen
    assert violations(pod["spec"]) == []
    assert "fsGroup" not in pod["spec"]["securityContext"]
    kubernetes_validate.validate({k: v for k, v in pod.items() if k != "status"}, "1.37", strict=True)


def test_what_may_not_be_looked_at_stops_nothing(made: KubeServer, team: Path) -> None:
    made.faults.append(Fault("GET", "/secrets/", answer(403, "secrets is forbidden"), times=3))
    with kubelet(made):
        checks = examine(team)
    assert broken(checks) == {"secret registry", "secret mlflow-client", "secret hub"}
    assert {checks[name].status for name in broken(checks)} == {"missing"}
    assert "403 secrets is forbidden" in checks["secret hub"].found
    assert checks["secret hub"].remedy.endswith(f"lens doctor --cluster {team}/cluster.yaml --namespace team-a")


def test_namespace_that_is_not_there(cluster: KubeServer, team: Path) -> None:
    del cluster.others[TEAM]
    assert examine(team) == {
        "namespace": Check("namespace", "broken", "there is no namespace team-a", f"kubectl apply -k {team}")
    }


def test_cluster_that_does_not_answer(team: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    (check,) = examine(team).values()
    assert (check.name, check.status) == ("cluster", "broken")
    assert "no Kubernetes cluster to talk to" in check.found


def test_mlflow_outside_of_the_cluster_is_not_looked_for(made: KubeServer, team: Path, tmp_path: Path) -> None:
    text = (team / "cluster.yaml").read_text().replace("http://mlflow.lens.svc:5000", "https://mlflow.example.com")
    (tmp_path / "cluster.yaml").write_text(text)
    with kubelet(made):
        found = examine(tmp_path)["MLflow"]
    assert (found.status, "outside" in found.found) == ("ok", True)


def test_no_value_of_a_secret_is_shown(made: KubeServer, team: Path) -> None:
    with kubelet(made):
        shown = str(examine(team))
    assert "a-password" not in shown
    assert "YS1wYXNzd29yZA" not in shown  # base64 of it


def test_command_adds_the_checks_and_exits_with_1(cluster: KubeServer, team: Path, tmp_path: Path) -> None:
    options = ["--cluster", str(team / "cluster.yaml"), "--home", str(tmp_path / "home"), "--json"]
    done = CliRunner().invoke(app, ["doctor", *options])
    assert done.exit_code == 1
    names = [each["name"] for each in json.loads(done.stdout)]
    assert names.index("Python") < names.index("secret hub")
