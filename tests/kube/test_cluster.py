"""On a real API server, on demand: `KUBECONFIG=... pytest -m kube`.

Apart from what the fixture `cluster` makes, everything is a dry run. KubeRay need not run: its part is played by hand.
"""

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from lens_core.errors import LensError
from lens_core.kube.api import Api
from lens_core.kube.launcher import launch
from lens_core.kube.rayjob import GROUP, PLURAL, VERSION, Job
from lens_core.kube.settings import ClusterConfig
from lens_core.kube.status import JobState, Phase
from tests.helpers.manifests import RENDERED, of_kind, rendered
from tests.kube.kubectl import NAMESPACE, kubectl, text

pytestmark = pytest.mark.kube

GROUPS = {"kueue.x-k8s.io": "Kueue", "monitoring.coreos.com": "the Prometheus operator"}


@pytest.mark.parametrize("folder", RENDERED)
def test_server_takes_every_manifest(folder: str, moved: dict[str, str], cluster: None) -> None:
    """Strictly; and Pod Security has no warning about a pod."""
    manifests = [each for each in rendered(moved[folder]) if each["apiVersion"].partition("/")[0] not in GROUPS]
    done = kubectl("apply", "--dry-run=server", "--validate=strict", "--filename=-", stdin=text(manifests))
    assert "Warning" not in done.stderr
    assert len(done.stdout.splitlines()) == len(manifests)


@pytest.mark.parametrize("folder", ["overlays/gpu", "overlays/production"])
@pytest.mark.parametrize("group", GROUPS)
def test_server_takes_every_manifest_of_an_operator(
    folder: str, group: str, moved: dict[str, str], cluster: None
) -> None:
    if not kubectl("api-resources", f"--api-group={group}", "--output=name").stdout:
        pytest.skip(f"needs {GROUPS[group]} on the cluster")
    manifests = [each for each in rendered(moved[folder]) if each["apiVersion"].partition("/")[0] == group]
    kubectl("apply", "--dry-run=server", "--validate=strict", "--filename=-", stdin=text(manifests))


def test_server_refuses_a_misspelt_field(moved: dict[str, str], cluster: None) -> None:
    job = dict(of_kind(moved["ray/base"], "RayJob")["ladder"])
    job["spec"] = {**job["spec"], "backofLimit": 1}
    done = kubectl("apply", "--dry-run=server", "--validate=strict", "--filename=-", stdin=text([job]), check=False)
    assert done.returncode != 0
    assert "backofLimit" in done.stderr


def test_server_refuses_an_unrestricted_pod(cluster: None) -> None:
    pod = {"containers": [{"name": "c", "image": "lens-grpo:0.1.0"}]}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": NAMESPACE}, "spec": pod}
    done = kubectl("apply", "--dry-run=server", "--filename=-", stdin=text([manifest]), check=False)
    assert 'violates PodSecurity "restricted' in done.stderr


ALLOWED = [
    (role, verb, resource, rule["apiGroups"][0])
    for role, manifest in of_kind("overlays/local", "Role").items()
    for rule in manifest["rules"]
    for resource in rule["resources"]
    for verb in rule["verbs"]
]
DENIED = [
    ("lens-launcher", "get", "secrets", ""),
    ("lens-launcher", "create", "pods", ""),
    ("lens-launcher", "list", "rayjobs", "ray.io"),
    ("lens-launcher", "create", "rayclusters", "ray.io"),
    ("lens-job", "patch", "leases", "coordination.k8s.io"),
    ("lens-job", "get", "pods", ""),
    ("lens-reaper", "create", "rayjobs", "ray.io"),
    ("lens-reaper", "delete", "pods", ""),
    ("mlflow", "get", "secrets", ""),
]


def can(account: str, verb: str, resource: str, group: str, namespace: str = NAMESPACE) -> bool:
    name, _, sub = resource.partition("/")
    full = f"{name}.{group}" if group else name
    who = f"--as=system:serviceaccount:{NAMESPACE}:{account}"
    done = kubectl("auth", "can-i", verb, full, f"--subresource={sub}", who, f"--namespace={namespace}", check=False)
    answer = done.stdout.strip()
    assert answer in ("yes", "no"), done.stderr
    return answer == "yes"


@pytest.mark.parametrize(("account", "verb", "resource", "group"), ALLOWED)
def test_account_may(account: str, verb: str, resource: str, group: str, cluster: None) -> None:
    assert can(account, verb, resource, group)
    assert not can(account, verb, resource, group, namespace="default")


@pytest.mark.parametrize(("account", "verb", "resource", "group"), DENIED)
def test_account_may_not(account: str, verb: str, resource: str, group: str, cluster: None) -> None:
    assert not can(account, verb, resource, group)


@pytest.fixture
def as_launcher(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Api:
    """The launcher's connection, with its service account's rights; the test itself keeps its own."""
    config = yaml.safe_load(kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=yaml").stdout)
    token = kubectl("create", "token", "lens-launcher", f"--namespace={NAMESPACE}").stdout.strip()
    config["users"][0]["user"] = {"token": token}
    config["contexts"][0]["context"]["namespace"] = NAMESPACE
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        return Api(patience_s=30)


class Launch:
    """A launcher in a thread. The job is suspended, so that no operator that may run here touches it."""

    def __init__(self, api: Api, attempt: int) -> None:
        settings = ClusterConfig.model_validate({"image": "lens-grpo:0.1.0", "lease_s": 12, "queue": "lens"})
        self.job = Job("kube-test", str(time.time_ns()), attempt, ("true",), settings, NAMESPACE)
        pool = ThreadPoolExecutor(1)
        self.result: Future[JobState] = pool.submit(launch, self.job, api, lambda line: None)
        pool.shutdown(wait=False)

    def wait(self, kind: str) -> None:
        kubectl("wait", "--for=create", "--timeout=30s", f"--namespace={NAMESPACE}", f"{kind}/{self.job.name}")

    def set_status(self, **status: str) -> None:
        patch = json.dumps({"status": status})
        subject = ("rayjobs.ray.io", self.job.name, f"--namespace={NAMESPACE}", "--subresource=status")
        kubectl("patch", *subject, "--type=merge", f"--patch={patch}")


def read(job: Job) -> Any:
    """None where there is none."""
    path = f"/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/{PLURAL}/{job.name}"
    done = kubectl("get", "--raw", path, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def test_launcher_sees_a_job_succeed(as_launcher: Api) -> None:
    launched = Launch(as_launcher, 0)
    try:
        launched.wait("rayjobs.ray.io")
        launched.wait("leases.coordination.k8s.io")
        assert read(launched.job)["spec"]["suspend"] is True
        launched.set_status(jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
        assert launched.result.result(timeout=45).phase is Phase.SUCCEEDED
    finally:
        where = (launched.job.name, f"--namespace={NAMESPACE}")
        kubectl("delete", "rayjobs.ray.io", *where, "--ignore-not-found", "--wait=false")


def test_launcher_removes_a_job_that_fails(as_launcher: Api) -> None:
    launched = Launch(as_launcher, 1)
    launched.wait("leases.coordination.k8s.io")
    launched.set_status(jobDeploymentStatus="Failed", jobStatus="FAILED", reason="AppFailed", message="a test")
    with pytest.raises(LensError, match="AppFailed"):
        launched.result.result(timeout=45)
    assert read(launched.job) is None
