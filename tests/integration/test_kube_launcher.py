"""The launcher and the faults of real clusters, over HTTP; KubeRay's part is played by hand, status by status."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from lens_core.errors import LensError
from lens_core.kube.api import Api, ApiError
from lens_core.kube.launcher import launch
from lens_core.kube.rayjob import Job, Owner, manifest
from lens_core.kube.settings import ClusterConfig
from lens_core.kube.status import JobState, Phase
from tests.helpers.crds import errors
from tests.helpers.kube_server import Fault, KubeServer, answer, hang_up, slow

pytestmark = pytest.mark.integration

SUCCESS = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
RUNNING = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING", "dashboardURL": "head:8265", "jobId": "j"}


@pytest.fixture
def kube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeServer]:
    with KubeServer(token="one").running() as server:
        monkeypatch.setenv("KUBECONFIG", str(server.write_kubeconfig(tmp_path)))
        yield server


def job(**settings: Any) -> Job:
    fields = {name: settings.pop(name) for name in ("command", "owner", "attempt") if name in settings}
    cluster = ClusterConfig.model_validate({"image": "lens:1", "lease_s": 3, **settings})
    return Job(**{"run": "r", "task": "train", "attempt": 0, "command": ("true",), "cluster": cluster,
                  "namespace": "lens", **fields})  # fmt: skip


class Launch:
    """A launcher in a thread, with what it says."""

    def __init__(self, job: Job, slack_s: float = 60, patience_s: float = 20) -> None:
        self.lines: list[str] = []
        self.states: list[JobState] = []
        pool = ThreadPoolExecutor(1)
        self.result: Future[JobState] = pool.submit(
            launch, job, Api(patience_s), self.lines.append, self.states.append, slack_s
        )
        pool.shutdown(wait=False)

    def end(self) -> JobState:
        return self.result.result(timeout=30)

    def error(self) -> str:
        with pytest.raises(LensError) as caught:
            self.end()
        return str(caught.value)


def test_job_runs_to_its_end(kube: KubeServer, crds: Path) -> None:
    kube.validate = lambda body: errors(body, crds)
    running = Launch(job())
    name = kube.wait_for_job()
    kube.set_status(name, jobDeploymentStatus="Initializing")
    pod = kube.submitter(name, "Running")
    kube.set_status(name, **RUNNING)
    kube.write_log(pod, "step 1", "step 2")
    kube.submitter(name, "Succeeded")
    kube.set_status(name, **SUCCESS)
    assert running.end().dashboard_url == "http://head:8265"
    assert [line for line in running.lines if line.startswith("step")] == ["step 1", "step 2"]
    assert "dashboard of Ray: http://head:8265" in running.lines
    assert [state.phase for state in running.states][-2:] == [Phase.RUNNING, Phase.SUCCEEDED]
    assert kube.get("rayjobs", name) is not None  # for a look at it
    assert kube.deletions == []


def test_server_refuses_what_the_schema_does_not_know(kube: KubeServer) -> None:
    kube.validate = lambda body: ['unknown field "spec.x"']
    assert 'answers 400 strict decoding error: unknown field "spec.x"' in Launch(job()).error()
    assert kube.objects == {}


def test_broken_rule_is_found_before_anything_is_sent(kube: KubeServer) -> None:
    assert "2.52.0 or newer, not 2.9.0" in Launch(job(ray_version="2.9.0")).error()
    assert kube.requests == []


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"jobDeploymentStatus": "Failed", "reason": "AppFailed", "message": "exit code 1"}, "AppFailed): exit code 1"),
        ({"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded"}, "failed (Failed, DeadlineExceeded)"),
        ({"jobDeploymentStatus": "ValidationFailed", "message": "name"}, "failed (ValidationFailed): name"),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"}, "stopped (Complete, STOPPED)"),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "FAILED"}, "failed (Complete, FAILED)"),
    ],
)
def test_every_bad_end_is_an_error_and_cleaned_up(status: dict[str, str], message: str, kube: KubeServer) -> None:
    running = Launch(job())
    name = kube.wait_for_job()
    pod = kube.submitter(name, "Running")
    kube.write_log(pod, "loading", "ValueError: no such file")
    kube.submitter(name, "Failed")
    kube.set_status(name, **status)
    error = running.error()
    assert message in error
    assert "its last lines: loading | ValueError: no such file" in error
    assert [(each, body["propagationPolicy"]) for each, body in kube.deletions] == [(name, "Foreground")]
    assert kube.get("rayjobs", name) is None
    assert kube.get("leases", name) is None  # the RayJob owned it


def test_create_whose_answer_was_lost_is_not_repeated(kube: KubeServer) -> None:
    kube.faults = [Fault("POST", "/rayjobs", hang_up, after=True)]
    running = Launch(job())
    name = kube.wait_for_job()
    kube.set_status(name, **SUCCESS)
    running.end()
    assert sum(request.startswith("POST") and "/rayjobs" in request for request in kube.requests) == 2
    assert f"RayJob {name} is there already, and is adopted" in running.lines


def test_second_launcher_adopts_the_job(kube: KubeServer) -> None:
    first = Launch(job(owner=Owner("old", "u1")))
    name = kube.wait_for_job()
    second = Launch(job(owner=Owner("new", "u2")))
    assert f"RayJob {name} was taken over by new" in first.error()
    assert kube.deletions == []
    adopted = kube.get("rayjobs", name)
    assert adopted is not None
    assert [owner["name"] for owner in adopted["metadata"]["ownerReferences"]] == ["new"]
    kube.set_status(name, **SUCCESS)
    assert second.end().phase is Phase.SUCCEEDED


def test_job_that_had_ended_is_adopted_with_its_end(kube: KubeServer) -> None:
    body = manifest(job())
    kube.put("rayjobs", {**body, "status": SUCCESS})
    assert Launch(job()).end().phase is Phase.SUCCEEDED


@pytest.mark.parametrize(
    ("change", "message"),
    [({"labels": {}}, "exists and is not ours"), ({"annotations": {}}, "with another command or other cluster")],
)
def test_other_job_of_the_name_is_left_alone(change: dict[str, Any], message: str, kube: KubeServer) -> None:
    body = manifest(job())
    kube.put("rayjobs", {**body, "metadata": {**body["metadata"], **change}})
    assert message in Launch(job()).error()
    assert kube.deletions == []
    assert len(kube.objects) == 1


def test_job_that_is_being_deleted_is_waited_for(kube: KubeServer) -> None:
    body = manifest(job())
    dying = kube.put("rayjobs", {**body, "metadata": {**body["metadata"], "deletionTimestamp": "2020-01-01T00:00:00Z"}})
    running = Launch(job())
    name = dying["metadata"]["name"]
    kube.wait_for(lambda: any(request.startswith("GET") for request in kube.requests))
    kube.remove("rayjobs", name)
    kube.wait_for_job()
    kube.set_status(name, **SUCCESS)
    running.end()
    created = kube.get("rayjobs", name)
    assert created is not None
    assert created["metadata"]["uid"] != dying["metadata"]["uid"]


def test_watch_survives_compaction(kube: KubeServer) -> None:
    body = manifest(job())
    name = body["metadata"]["name"]
    kube.compact()
    kube.faults = []
    running = Launch(job())
    kube.wait_for_job()
    with kube.changed:
        kube.oldest = kube.version + 10**6  # every watch is answered with 410 until
        kube.set_status(name, **RUNNING)
    kube.stop()  # the open one ends, too
    kube.start()
    kube.wait_for(lambda: running.states and running.states[-1].phase is Phase.RUNNING)
    kube.set_status(name, **SUCCESS)
    assert running.end().phase is Phase.SUCCEEDED


def test_watch_survives_half_an_event(kube: KubeServer) -> None:
    running = Launch(job())
    name = kube.wait_for_job()
    kube.cut_watches = 2
    kube.set_status(name, **RUNNING)
    kube.set_status(name, **SUCCESS)
    assert running.end().phase is Phase.SUCCEEDED


def test_watch_survives_a_restart_of_the_server(kube: KubeServer) -> None:
    running = Launch(job())
    name = kube.wait_for_job()
    kube.stop()
    kube.set_status(name, **SUCCESS)
    kube.start()
    assert running.end().phase is Phase.SUCCEEDED


@pytest.mark.parametrize("action", [answer(429), answer(500), answer(503), hang_up], ids=["429", "500", "503", "drop"])
@pytest.mark.parametrize("place", ["POST /rayjobs", "POST /leases", "GET /rayjobs/", "GET watch"])
def test_passing_faults_pass(place: str, action: Any, kube: KubeServer) -> None:
    method, within = place.split()
    kube.faults = [Fault(method, within, action, times=2)]
    running = Launch(job())
    kube.wait_for(lambda: kube.faults[0].times == 0)
    name = kube.wait_for_job()
    kube.set_status(name, **SUCCESS)
    assert running.end().phase is Phase.SUCCEEDED


def test_slow_server_is_waited_for(kube: KubeServer) -> None:
    kube.faults = [Fault("GET", "/rayjobs/", slow(1))]
    running = Launch(job())
    kube.set_status(kube.wait_for_job(), **SUCCESS)
    assert running.end().phase is Phase.SUCCEEDED


def test_new_token_is_read_when_the_old_one_is_refused(kube: KubeServer, tmp_path: Path) -> None:
    running = Launch(job())
    name = kube.wait_for_job()
    with kube.changed:
        kube.token = "two"
        (tmp_path / "token").write_text("two")
    kube.stop()
    kube.start()
    kube.set_status(name, **SUCCESS)
    assert running.end().phase is Phase.SUCCEEDED


def test_refused_token_is_an_error_at_once(kube: KubeServer) -> None:
    kube.token = "another"
    began = time.monotonic()
    assert "answers 401" in Launch(job()).error()
    assert time.monotonic() - began < 10


def test_forbidden_is_an_error_at_once(kube: KubeServer) -> None:
    kube.faults = [Fault("POST", "/rayjobs", answer(403), times=9)]
    assert "create RayJob" in Launch(job()).error()
    assert kube.faults[0].times == 8


def test_quota_that_is_not_counted_yet_is_waited_for(kube: KubeServer) -> None:
    """A server's own words, seen where the quota was made a minute after KubeRay's kinds."""
    uncounted = 'rayjobs.ray.io "x" is forbidden: status unknown for quota: lens, resources: count/rayjobs.ray.io'
    kube.faults = [Fault("POST", "/rayjobs", answer(403, uncounted), times=2)]
    running = Launch(job())
    kube.set_status(kube.wait_for_job(), **SUCCESS)
    assert running.end().phase is Phase.SUCCEEDED


def test_unreachable_server_is_an_error_in_time(kube: KubeServer) -> None:
    kube.stop()
    with pytest.raises(ApiError, match="no answer from the API server for 1 s"):
        Api(patience_s=1).job("lens", "x")
    kube.start()


def test_job_that_somebody_deletes_is_an_error(kube: KubeServer) -> None:
    running = Launch(job())
    kube.remove("rayjobs", kube.wait_for_job())
    assert "was deleted by someone else" in running.error()


def test_queued_job_waits_and_starts(kube: KubeServer) -> None:
    running = Launch(job(queue="gpus", pre_running_s=1, active_s=2), slack_s=0)
    name = kube.wait_for_job()
    kube.set_status(name, jobDeploymentStatus="Suspended")
    time.sleep(2.5)  # longer than it may take to start or to run: neither clock ticks in the queue
    assert [state.phase for state in running.states] == [Phase.QUEUED, Phase.QUEUED]
    kube.set_status(name, jobDeploymentStatus="Running")
    kube.set_status(name, **SUCCESS)
    assert running.end().phase is Phase.SUCCEEDED


@pytest.mark.parametrize(
    ("settings", "status", "message"),
    [
        ({"queue": "q", "queue_s": 1}, {}, "exceeds queue_s"),
        ({"pre_running_s": 1}, {}, "exceeds pre_running_s.*is the KubeRay operator running"),
        ({"pre_running_s": 1}, {"jobDeploymentStatus": "Initializing"}, "exceeds pre_running_s"),
        ({"active_s": 2, "pre_running_s": 1}, {"jobDeploymentStatus": "Running"}, "exceeds active_s"),
    ],
)
def test_every_wait_has_an_end(
    settings: dict[str, Any], status: dict[str, str], message: str, kube: KubeServer
) -> None:
    running = Launch(job(**settings), slack_s=0)
    name = kube.wait_for_job()
    kube.set_status(name, **status)
    with pytest.raises(LensError, match=message):
        running.end()
    assert [each for each, _ in kube.deletions] == [name]


def test_log_is_whole_across_broken_connections(kube: KubeServer) -> None:
    running = Launch(job())
    name = kube.wait_for_job()
    pod = kube.submitter(name, "Running")
    kube.cut_logs = 3
    for batch in range(4):  # lines of one batch carry one stamp
        kube.write_log(pod, *(f"line {batch}.{number}" for number in range(3)))
    kube.submitter(name, "Succeeded")
    kube.set_status(name, **SUCCESS)
    running.end()
    expected = [f"line {batch}.{number}" for batch in range(4) for number in range(3)]
    assert [line for line in running.lines if line.startswith("line")] == expected


def test_log_goes_on_with_the_next_pod(kube: KubeServer) -> None:
    running = Launch(job(retries=1))
    name = kube.wait_for_job()
    kube.write_log(kube.submitter(name, "Running"), "first try")
    kube.wait_for(lambda: "first try" in running.lines)
    kube.submitter(name, "Failed")
    kube.set_status(name, jobDeploymentStatus="Retrying")
    kube.write_log(kube.submitter(name, "Running", number=1), "second try")
    kube.submitter(name, "Succeeded", number=1)
    kube.set_status(name, **SUCCESS)
    running.end()
    assert [line for line in running.lines if line.endswith("try")] == ["first try", "second try"]
    assert Phase.RETRYING in [state.phase for state in running.states]


def test_lease_is_renewed_and_survives_its_loss(kube: KubeServer) -> None:
    running = Launch(job())
    name = kube.wait_for_job()

    def renewed() -> Any:
        lease = kube.get("leases", name)
        return lease and lease["spec"]["renewTime"]

    first = renewed()
    kube.wait_for(lambda: renewed() != first)
    kube.remove("leases", name)
    kube.wait_for(renewed)
    kube.set_status(name, **SUCCESS)
    running.end()
    lease = kube.get("leases", name)
    assert lease is not None
    assert lease["spec"]["leaseDurationSeconds"] == 3
    assert [owner["kind"] for owner in lease["metadata"]["ownerReferences"]] == ["RayJob"]


def command(kube: KubeServer, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    (folder / "cluster.yaml").write_text(yaml.safe_dump({"image": "lens:1", "lease_s": 3}))
    return subprocess.Popen(
        [sys.executable, "-m", "lens_core.cli", "k8s", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "KUBECONFIG": str(folder / "kubeconfig")},
    )


def launch_command(kube: KubeServer, folder: Path) -> subprocess.Popen[str]:
    arguments = ["--cluster", str(folder / "cluster.yaml"), "--run", "r", "--", "lens", "train", "--resume"]
    return command(kube, folder, "launch", *arguments)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_deletes_the_job(number: int, code: int, kube: KubeServer, tmp_path: Path) -> None:
    process = launch_command(kube, tmp_path)
    name = kube.wait_for_job()
    kube.operated = True  # its end takes a while
    process.send_signal(number)
    kube.wait_for(lambda: kube.deletions)
    process.send_signal(number)  # impatience does not break off the cleanup
    threading.Timer(0.5, kube.remove, ("rayjobs", name)).start()
    output, _ = process.communicate(timeout=30)
    assert process.returncode == code
    assert f"RayJob {name} and all that it owned are deleted" in output
    assert [body["propagationPolicy"] for _, body in kube.deletions] == ["Foreground"]


def test_command_prints_the_log_and_fails_on_one_line(kube: KubeServer, tmp_path: Path) -> None:
    process = launch_command(kube, tmp_path)
    name = kube.wait_for_job()
    kube.write_log(kube.submitter(name, "Running"), "step 1")
    kube.submitter(name, "Failed")
    kube.set_status(name, jobDeploymentStatus="Failed", reason="AppFailed", message="exit code 1")
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "step 1\n" in output
    assert errors == f"lens: RayJob {name} failed (Failed, AppFailed): exit code 1; its last lines: step 1\n"


def test_reap_removes_what_nobody_is_with(kube: KubeServer, tmp_path: Path) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    long_ago = "2020-01-01T00:00:00"
    for attempt, (created, renewed, owner) in enumerate(
        [
            (long_ago, now, None),  # alive
            (long_ago, long_ago, None),  # stale
            (long_ago, None, None),  # never had a Lease
            (now, None, None),  # too young to have one
            (now, None, Owner("gone", "u")),  # its pod is gone
            (long_ago, now, Owner("gone", "u")),  # adopted by another launcher, which is alive
        ]
    ):
        body = manifest(job(attempt=attempt, owner=owner))
        kube.put("rayjobs", {**body, "metadata": {**body["metadata"], "creationTimestamp": f"{created}Z"}})
        if renewed is not None:
            labels, spec = body["metadata"]["labels"], {"holderIdentity": "h", "leaseDurationSeconds": 3}
            metadata = {"name": body["metadata"]["name"], "labels": labels}
            kube.put("leases", {"metadata": metadata, "spec": {**spec, "renewTime": f"{renewed}.000000Z"}})
    kube.put("rayjobs", {"metadata": {"name": "foreign"}, "spec": {}})

    dry, _ = command(kube, tmp_path, "reap", "--dry-run").communicate(timeout=30)
    assert len(dry.splitlines()) == 3
    assert kube.deletions == []
    # What was said to be alive has been so a moment ago.
    kube.put("leases", _renewed(kube, job(attempt=0).name))
    kube.put("leases", _renewed(kube, job(attempt=5).name))
    output, _ = command(kube, tmp_path, "reap").communicate(timeout=30)
    assert sorted(name for name, _ in kube.deletions) == sorted(job(attempt=attempt).name for attempt in (1, 2, 4))
    assert "last renewed" in output
    assert "it has no Lease; deleted" in output
    assert "its launcher's pod gone is gone; deleted" in output


def _renewed(kube: KubeServer, name: str) -> dict[str, Any]:
    lease = kube.get("leases", name)
    assert lease is not None
    lease["spec"]["renewTime"] = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    return lease


def test_dry_run_prints_a_manifest_and_talks_to_nobody(kube: KubeServer, tmp_path: Path, crds: Path) -> None:
    arguments = ["--cluster", str(tmp_path / "cluster.yaml"), "--run", "r", "--dry-run", "--", "lens", "train"]
    output, _ = command(kube, tmp_path, "launch", *arguments).communicate(timeout=30)
    assert errors(yaml.safe_load(output), crds) == []
    assert kube.requests == []
