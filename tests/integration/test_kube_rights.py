"""The rights that `k8s/` grants are those that the code makes use of: its requests are held against the roles."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lens_core.errors import LensError
from lens_core.kube.api import Api
from lens_core.kube.launcher import launch
from lens_core.kube.rayjob import Job, Owner, manifest
from lens_core.kube.reaper import find_orphans, reap
from lens_core.kube.settings import ClusterConfig
from tests.helpers.kube_server import KubeServer
from tests.helpers.manifests import of_kind

pytestmark = pytest.mark.integration

PATH = re.compile(
    r"(?:/api/v1|/apis/(?P<group>[\w.]+)/v1)/namespaces/lens/(?P<kind>\w+)(?P<name>/[\w.-]+)?(?P<sub>/\w+)?"
)
VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}


@pytest.fixture
def kube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeServer]:
    with KubeServer().running() as server:
        monkeypatch.setenv("KUBECONFIG", str(server.write_kubeconfig(tmp_path)))
        yield server


def used(kube: KubeServer) -> set[tuple[str, str]]:
    """Resource and verb of every request that was made, as the API server would name them."""
    found = set()
    for request in kube.requests:
        method, _, url = request.partition(" ")
        path, _, query = url.partition("?")
        match = PATH.fullmatch(path)
        assert match is not None, request
        reading = "watch" if "watch=True" in query else "list" if match["name"] is None else "get"
        found.add((f"{match['group'] or ''}/{match['kind']}{match['sub'] or ''}", VERBS.get(method, reading)))
    return found


def granted(role: str) -> set[tuple[str, str]]:
    rules = of_kind("overlays/local", "Role")[role]["rules"]
    return {
        (f"{g}/{r}", verb)
        for rule in rules
        for g in rule["apiGroups"]
        for r in rule["resources"]
        for verb in rule["verbs"]
    }


def job(**fields: Any) -> Job:
    cluster = ClusterConfig.model_validate({"image": "lens:1", "lease_s": 3})
    return Job(**{"run": "r", "task": "t", "attempt": 0, "command": ("true",), "cluster": cluster, "namespace": "lens",
                  **fields})  # fmt: skip


def during(launched: Job, play: Callable[[], None]) -> None:
    """Launch, with someone who plays KubeRay's part."""
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(launch, launched, Api(20), lambda line: None)
        play()
        result.result(timeout=30)


def test_launcher_uses_its_rights_and_no_others(kube: KubeServer) -> None:
    def succeed() -> None:
        name = kube.wait_for_job()
        kube.write_log(kube.submitter(name, "Running"), "a line")
        kube.wait_for(lambda: any("/log" in request for request in kube.requests))
        kube.submitter(name, "Succeeded")
        kube.set_status(name, jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")

    def fail() -> None:
        kube.wait_for(lambda: any(request.startswith("PATCH") and "leases" in request for request in kube.requests))
        kube.set_status(second.name, jobDeploymentStatus="Failed", reason="AppFailed")

    during(job(), succeed)
    second = job(attempt=1, owner=Owner("pod", "uid"))
    kube.put("rayjobs", manifest(second))  # an earlier launcher's, to be adopted
    with pytest.raises(LensError, match="AppFailed"):
        during(second, fail)
    assert used(kube) == granted("lens-launcher")


def test_reaper_uses_its_rights_and_no_others(kube: KubeServer) -> None:
    body = manifest(job(owner=Owner("gone", "uid")))
    kube.put("rayjobs", body)
    api = Api(20)
    reap(api, find_orphans(api, "lens"))
    assert [name for name, _ in kube.deletions] == [body["metadata"]["name"]]
    assert used(kube) == granted("lens-reaper")


def test_watchdog_uses_its_rights_and_no_others(kube: KubeServer) -> None:
    assert Api(20).lease("lens", "any") is None
    assert used(kube) == granted("lens-job")
