import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.manifests import RENDERED, elsewhere, of_kind
from tests.kube.kubectl import NAMESPACE, kubectl, text


@pytest.fixture(scope="session")
def moved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folder of `k8s/` -> a folder that puts it into the namespace of these tests."""
    return {each: elsewhere(each, NAMESPACE, tmp_path_factory.mktemp(each.replace("/", "-"))) for each in RENDERED}


@pytest.fixture(scope="session")
def operator(crds: Path) -> None:
    """KubeRay's CRDs, which stay."""
    if "KUBECONFIG" not in os.environ:
        pytest.skip("needs a Kubernetes API server: set KUBECONFIG to a cluster that may be written to")
    kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(crds))
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd/rayjobs.ray.io", "crd/rayclusters.ray.io")


@pytest.fixture(scope="session")
def cluster(operator: None, moved: dict[str, str]) -> Iterator[None]:
    """The namespace with its accounts, which stays if it was there before."""
    is_new = kubectl("get", "namespace", NAMESPACE, check=False).returncode != 0
    kinds = ("Namespace", "ServiceAccount", "Role", "RoleBinding")
    made = [manifest for kind in kinds for manifest in of_kind(moved["overlays/local"], kind).values()]
    kubectl("apply", "--filename=-", stdin=text(made))
    yield
    if is_new:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")
