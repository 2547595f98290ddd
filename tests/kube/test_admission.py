"""The admission policy on a real API server, on demand: `KUBECONFIG=... pytest -m kube`. Jobs are dry runs."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.admission import admitted, refused
from tests.helpers.manifests import Manifest, of_kind, with_components
from tests.kube.kubectl import NAMESPACE, kubectl, text

pytestmark = pytest.mark.kube


def here(manifest: Manifest) -> Manifest:
    """The same in the namespace of these tests."""
    return manifest | {"metadata": manifest["metadata"] | {"namespace": NAMESPACE}}


def create(manifest: Manifest, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Ask the server to, and leave nothing there."""
    return kubectl("create", "--dry-run=server", "--filename=-", stdin=text([manifest]), check=check)


ADMITTED = {name: here(manifest) for name, manifest in admitted().items()}
REFUSED = {name: (message, here(manifest)) for name, (message, manifest) in refused().items()}
KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


@pytest.fixture(scope="module")
def policy(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The component, in force; in the end it is gone."""
    build = with_components(tmp_path_factory.mktemp("admission"), "overlays/local", "admission", namespace=NAMESPACE)
    made = [
        each for kind in KINDS for each in of_kind(build, kind).values() if each["metadata"]["name"] == "lens-rayjobs"
    ]
    assert [each["kind"] for each in made] == list(KINDS)
    kubectl("apply", "--filename=-", stdin=text(made))
    try:
        message, job = next(iter(REFUSED.values()))
        deadline = time.monotonic() + 60
        while message not in create(job, check=False).stderr:  # an API server takes a second to know it
            assert time.monotonic() < deadline, "the policy is not in force"
        yield
    finally:
        kubectl("delete", "--filename=-", "--ignore-not-found", stdin=text(made))


def test_server_finds_no_mistake_in_the_expressions(policy: None) -> None:
    path = "jsonpath={.status.typeChecking.expressionWarnings}"
    assert kubectl("get", "validatingadmissionpolicy", "lens-rayjobs", f"--output={path}").stdout == ""


@pytest.mark.parametrize("name", ADMITTED)
def test_ours_is_let_in(name: str, policy: None) -> None:
    create(ADMITTED[name])


@pytest.mark.parametrize("name", REFUSED)
def test_way_to_a_secret_is_refused(name: str, policy: None) -> None:
    message, manifest = REFUSED[name]
    done = create(manifest, check=False)
    assert done.returncode != 0
    assert f"'lens-rayjobs' with binding 'lens-rayjobs' denied request: {message}" in done.stderr


def test_what_is_let_in_cannot_be_changed_into_what_is_not(policy: None, tmp_path: Path) -> None:
    job = here(of_kind("ray/base", "RayJob")["ladder"] | {"metadata": {"name": "kube-test"}})
    job["spec"] = {**job["spec"], "suspend": True}
    kubectl("create", "--filename=-", stdin=text([job]))
    try:
        patch = '[{"op": "add", "path": "/spec/clusterSelector", "value": {"ray.io/cluster": "other"}}]'
        done = kubectl(
            "patch", "rayjob", "kube-test", f"--namespace={NAMESPACE}", "--type=json", f"--patch={patch}", check=False
        )
        assert "denied request" in done.stderr
    finally:
        kubectl("delete", "rayjob", "kube-test", f"--namespace={NAMESPACE}", "--wait=false")
