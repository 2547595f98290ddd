import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.manifests import of_kind
from tests.kube.kubectl import kubectl, text


@pytest.fixture(scope="session")
def cluster(crds: Path) -> Iterator[None]:
    """KubeRay's CRDs, which stay, and the namespace `lens` with its accounts, which stays if it was there before."""
    if "KUBECONFIG" not in os.environ:
        pytest.skip("needs a Kubernetes API server: set KUBECONFIG to a cluster that may be written to")
    kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(crds))
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd/rayjobs.ray.io", "crd/rayclusters.ray.io")
    is_new = kubectl("get", "namespace", "lens", check=False).returncode != 0
    kinds = ("Namespace", "ServiceAccount", "Role", "RoleBinding")
    made = [manifest for kind in kinds for manifest in of_kind("overlays/local", kind).values()]
    kubectl("apply", "--filename=-", stdin=text(made))
    yield
    if is_new:
        kubectl("delete", "namespace", "lens", "--wait=false")
