"""On a cluster where KubeRay runs, on demand: `KUBECONFIG=... LENS_KUBE_IMAGE=... pytest -m kube`.

LENS_KUBE_IMAGE is the image of `scripts/build-images cpu`, under the name by which the nodes find it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from lens_core.kube.rayjob import RUN
from tests.kube.kubectl import NAMESPACE, kubectl

pytestmark = pytest.mark.kube

LENS = Path(sys.executable).with_name("lens")
OWNED = "rayjobs.ray.io,rayclusters.ray.io,jobs,pods"
SLEEPS = "import time; print('it has begun', flush=True); time.sleep(900)"


class Launched:
    """`lens k8s launch` of a Python program, in a process of its own."""

    def __init__(self, folder: Path, code: str) -> None:
        self.run = f"kube-test-{time.time_ns()}"
        self._out = folder / "out"
        options = [f"--cluster={folder / 'cluster.yaml'}", f"--run={self.run}"]
        command = [LENS, "k8s", "launch", *options, "--", "python", "-c", code]
        with self._out.open("w") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

    @property
    def output(self) -> str:
        return self._out.read_text()

    def ends(self) -> int:
        return self.process.wait(300)

    def says(self, text: str) -> None:
        deadline = time.monotonic() + 300
        while text not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.2)

    def is_reaped(self) -> None:
        """`lens k8s reap`, until it takes the job for an orphan, which is later than the job's own watchdog does."""
        reap, deadline = [LENS, "k8s", "reap", f"--namespace={NAMESPACE}"], time.monotonic() + 120
        while f"{self.run}-" not in subprocess.run(reap, capture_output=True, text=True, check=True).stdout:
            assert time.monotonic() < deadline, "still no orphan"
            time.sleep(1)

    def objects(self) -> list[str]:
        """What there is of it on the cluster."""
        where = (f"--namespace={NAMESPACE}", f"--selector={RUN}={self.run}")
        return kubectl("get", OWNED, *where, "--output=name").stdout.split()


@pytest.fixture
def launched(cluster: None, tmp_path: Path) -> Iterator[Callable[[str], Launched]]:
    """Launches; in the end nothing of it is left on the cluster."""
    if "LENS_KUBE_IMAGE" not in os.environ:
        pytest.skip("needs a cluster that runs KubeRay: set LENS_KUBE_IMAGE to the image that its nodes are to run")
    settings = {
        "namespace": NAMESPACE, "image": os.environ["LENS_KUBE_IMAGE"], "lease_s": 12, "grace_s": 20,
        "head": {"cpus": "2", "memory": "4Gi", "shared_memory": "1Gi", "scratch": "2Gi"},
    }  # fmt: skip
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(settings))
    made = []

    def launch(code: str) -> Launched:
        made.append(Launched(tmp_path, code))
        return made[-1]

    yield launch
    for each in made:
        each.process.kill()
        each.process.wait()
        where = (f"--namespace={NAMESPACE}", f"--selector={RUN}={each.run}")
        kubectl("delete", "rayjobs.ray.io", *where, "--cascade=foreground", "--timeout=120s")


def test_job_runs_and_its_log_arrives(launched: Callable[[str], Launched]) -> None:
    job = launched("import ray; ray.init(log_to_driver=False); print('sees', ray.cluster_resources()['CPU'], 'CPUs')")
    assert job.ends() == 0, job.output
    assert "sees 2.0 CPUs" in job.output
    assert "succeeded (Complete, SUCCEEDED)" in job.output
    assert any(name.startswith("rayjob.ray.io/") for name in job.objects())


def test_job_that_fails_says_why_and_leaves_nothing(launched: Callable[[str], Launched]) -> None:
    job = launched("import sys; sys.exit('this is why')")
    assert job.ends() == 2
    last = job.output.splitlines()[-1]
    assert last.startswith("lens: RayJob ")
    assert "this is why" in last
    assert job.objects() == []


def test_launcher_that_is_terminated_leaves_nothing(launched: Callable[[str], Launched]) -> None:
    job = launched(SLEEPS)
    job.says("it has begun")
    job.process.terminate()
    assert job.ends() == 128 + signal.SIGTERM
    kubectl("wait", "--for=delete", "pods", f"--namespace={NAMESPACE}", f"--selector={RUN}={job.run}", "--timeout=120s")
    assert job.objects() == []


def test_job_ends_by_itself_when_its_launcher_is_killed(launched: Callable[[str], Launched]) -> None:
    job = launched(SLEEPS)
    job.says("it has begun")
    job.process.kill()
    selector = f"--selector={RUN}={job.run}"
    failed = "--for=jsonpath={.status.jobDeploymentStatus}=Failed"  # later than jobStatus: its log is whole
    kubectl("wait", failed, "rayjobs.ray.io", f"--namespace={NAMESPACE}", selector, "--timeout=120s")
    logs = kubectl("logs", f"--namespace={NAMESPACE}", f"{selector},job-name", "--tail=-1").stdout
    assert "the launcher is gone" in logs
    job.is_reaped()
    kubectl("wait", "--for=delete", "pods", f"--namespace={NAMESPACE}", selector, "--timeout=120s")
    assert job.objects() == []
