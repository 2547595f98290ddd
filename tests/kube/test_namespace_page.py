"""docs/namespace.md, typed word for word on a real API server: from an empty namespace to a run that has ended.

Nodes, KubeRay, Kueue and MLflow's server are played (tests/kube/played.py): rights, admission, quotas, Pod Security,
bound volumes and all that `lens doctor` asks are the API server's and its controllers'.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.manifests import Manifest, of_kind
from tests.helpers.namespace_page import APPLY, MAKE, RUN, VOLUME, checkout, shell
from tests.kube.kubectl import kubectl, text
from tests.kube.played import Nodes

pytestmark = pytest.mark.kube

TEAM, HOME = "team-a", "lens"
QUEUES = "localqueues.kueue.x-k8s.io"


@pytest.fixture
def empty(operator: None) -> Iterator[None]:
    """Namespace `team-a` with nothing in it, and Kueue's LocalQueues, as far as the API server has to know them."""
    if kubectl("get", "namespace", TEAM, check=False).returncode == 0:
        pytest.skip(f"needs a cluster without a namespace {TEAM}, for the page makes one of that name")
    is_ours = kubectl("get", "crd", QUEUES, check=False).returncode != 0
    if is_ours:
        kubectl("apply", "--filename=-", stdin=text([local_queues()]))
        kubectl("wait", "--for=condition=Established", "--timeout=60s", f"crd/{QUEUES}")
    kubectl("create", "namespace", TEAM)
    yield
    kubectl("delete", "namespace", TEAM, "--timeout=120s")
    if is_ours:
        kubectl("delete", "crd", QUEUES)


def local_queues() -> Manifest:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1beta2", "served": True, "storage": True, "schema": schema}
    names = {"kind": "LocalQueue", "plural": "localqueues", "singular": "localqueue"}
    spec = {"group": "kueue.x-k8s.io", "scope": "Namespaced", "names": names, "versions": [version]}
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    return {**definition, "metadata": {"name": QUEUES}, "spec": spec}


@pytest.fixture
def mlflow(operator: None) -> Iterator[None]:
    """MLflow in `lens`: Service, policies, and an endpoint that is ready; what a pod of it would make."""
    if kubectl("get", "namespace", HOME, check=False).returncode == 0:
        pytest.skip(f"needs a cluster without a namespace {HOME}, for MLflow is played there")
    kinds = ("Namespace", "Service", "NetworkPolicy")
    made = [each for kind in kinds for each in of_kind("overlays/local", kind).values()]
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "mlflow-played", "namespace": HOME, "labels": {"kubernetes.io/service-name": "mlflow"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
        "ports": [{"port": 5000}],
    }
    kubectl("apply", "--filename=-", stdin=text([*made, endpoints]))
    yield
    kubectl("delete", "namespace", HOME, "--timeout=120s")


@pytest.fixture
def volume(operator: None) -> Iterator[Path]:
    """A folder that belongs to root alone, as new volumes often do, and a PersistentVolume for the page's claim."""
    with tempfile.TemporaryDirectory(prefix="lens-volume-") as folder:  # pytest's are closed to other users
        os.chmod(folder, 0o755)
        data = Path(folder, "data")
        data.mkdir(mode=0o700)
        spec = {
            "capacity": {"storage": "1Ti"},
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "nfs",
            "claimRef": {"namespace": TEAM, "name": "lens-data"},
            "hostPath": {"path": str(data)},
        }
        persistent = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "lens-page"}, "spec": spec}
        kubectl("apply", "--filename=-", stdin=text([persistent]))
        yield data
        kubectl("delete", "persistentvolume", "lens-page", "--timeout=60s")


def test_page_leads_from_an_empty_namespace_to_a_finished_run(
    volume: Path, mlflow: None, empty: None, tmp_path: Path
) -> None:
    folder = checkout(tmp_path)
    served = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "HOME": str(tmp_path / "home")}
    served["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with Nodes(TEAM, tmp_path, volume, served) as nodes:
        before = shell(MAKE + APPLY.replace("kubectl apply -k team-a\n", ""), folder)
        assert before.returncode == 1
        for missing in ("account lens-job", "volume lens-data", "secret registry", "secret hub", "queue lens"):
            assert f"{missing}:" in before.stdout

        applied = shell(APPLY, folder)
        assert applied.returncode == 1
        remedies = [line for line in applied.stdout.splitlines() if line.startswith("a pod: ")]
        assert remedies == [f"a pod: {VOLUME.strip()}"], applied.stdout

        mended = shell(VOLUME, folder)
        assert mended.returncode == 0, mended.stderr
        after = shell("lens doctor --cluster team-a/cluster.yaml --json", folder)
        checks = {each["name"]: each for each in json.loads(after.stdout)}
        assert checks["a pod"]["found"] == "user 1000 writes to /data"
        assert after.returncode == 0, after.stdout

        ran = shell(RUN, folder)
        assert ran.returncode == 0, ran.stderr + nodes.log.read_text()
        assert (volume / "first/model.safetensors").stat().st_size > 0
