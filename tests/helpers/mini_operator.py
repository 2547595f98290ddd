"""KubeRay's part, in small: runs the entrypoint of each RayJob on a real Ray cluster, and mirrors `status` as it does.

What a cluster would bring is brought from here: the environment of the head's container, and the credentials of its
service account. One Ray cluster serves all jobs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.job_submission import JobStatus, JobSubmissionClient

from tests.helpers.kube_server import KubeServer, Manifest

ENDS = {JobStatus.SUCCEEDED: "Complete", JobStatus.STOPPED: "Complete", JobStatus.FAILED: "Failed"}


class MiniOperator:
    """Looks at all RayJobs of a server, ten times a second.

    Args:
        environment: of every Ray job, beside what its manifest says.
    """

    def __init__(self, kube: KubeServer, dashboard_url: str, token: str, environment: dict[str, str]) -> None:
        self.kube = kube
        self.client = JobSubmissionClient(dashboard_url, headers={"Authorization": f"Bearer {token}"})
        self._url, self._environment = dashboard_url, environment
        self._logged: dict[str, int] = {}
        self._ended = threading.Event()
        self._failure: Exception | None = None
        kube.operated = True

    @contextmanager
    def running(self) -> Iterator[MiniOperator]:
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()
            if self._failure is not None:
                raise self._failure

    def job_id(self, name: str) -> str:
        """Of the Ray job, once it runs."""

        def running() -> str | None:
            status = (self.kube.get("rayjobs", name) or {}).get("status", {})
            return status.get("jobId") if status.get("jobStatus") == "RUNNING" else None

        return str(self.kube.wait_for(running, timeout_s=50))

    def _run(self) -> None:
        while not self._ended.wait(0.1):
            names = [name for plural, _, name in list(self.kube.objects) if plural == "rayjobs"]
            for rayjob in filter(None, (self.kube.get("rayjobs", name) for name in names)):
                try:
                    self._reconcile(rayjob)
                except Exception as error:  # whoever waits for the job hears of it, and the test fails at its end
                    self._failure = error
                    self.kube.set_status(rayjob["metadata"]["name"], jobDeploymentStatus="Failed", message=repr(error))

    def _reconcile(self, rayjob: Manifest) -> None:
        name, spec, status = rayjob["metadata"]["name"], rayjob["spec"], rayjob.get("status", {})
        deployment = status.get("jobDeploymentStatus", "")
        if "deletionTimestamp" in rayjob["metadata"]:
            self._finalise(name, status)
        elif deployment in ("", "Suspended") and spec.get("suspend"):
            if not deployment:
                self.kube.set_status(name, jobDeploymentStatus="Suspended")
        elif deployment in ("", "Suspended"):
            uid = rayjob["metadata"]["uid"][:5]
            self.kube.set_status(name, jobDeploymentStatus="Initializing", jobId=f"{name}-{uid}", rayClusterName=name)
        elif deployment == "Initializing":
            self._submit(name, spec, status["jobId"])
        elif deployment == "Running":
            self._mirror(name, spec, status)

    def _submit(self, name: str, spec: Manifest, job_id: str) -> None:
        container = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
        variables = {each["name"]: each["value"].replace("$$(", "$(") for each in container["env"] if "value" in each}
        environment = {"env_vars": variables | self._environment}
        self.client.submit_job(entrypoint=spec["entrypoint"], submission_id=job_id, runtime_env=environment)
        if spec["submissionMode"] == "K8sJobMode":
            self.kube.submitter(name, "Running")
        self.kube.set_status(name, jobDeploymentStatus="Running", dashboardURL=self._url.removeprefix("http://"))

    def _mirror(self, name: str, spec: Manifest, status: Manifest) -> None:
        info = self.client.get_job_info(status["jobId"])
        has_ended = info.status.is_terminal()
        if spec["submissionMode"] == "K8sJobMode":
            self._pass_on_log(name, status["jobId"], has_ended)
            if has_ended:  # KubeRay waits for the submitter
                self.kube.submitter(name, "Succeeded" if info.status == JobStatus.SUCCEEDED else "Failed")
        now: dict[str, Any] = {"jobStatus": info.status.value, "message": info.message}
        if has_ended:
            now["jobDeploymentStatus"] = ENDS[info.status]
            now["reason"] = "AppFailed" if info.status == JobStatus.FAILED else None
        if now.items() - status.items():
            self.kube.set_status(name, **now)

    def _pass_on_log(self, name: str, job_id: str, has_ended: bool) -> None:
        text = self.client.get_job_logs(job_id)
        begin = self._logged.get(job_id, 0)
        end = len(text) if has_ended else text.rfind("\n") + 1
        if end > begin:
            self.kube.write_log(f"{name}-0", *text[begin:end].splitlines())
            self._logged[job_id] = end

    def _finalise(self, name: str, status: Manifest) -> None:
        """Stop the Ray job, and let the RayJob go once nothing of it runs any more."""
        if status.get("jobDeploymentStatus") == "Running":
            if not self.client.get_job_status(status["jobId"]).is_terminal():
                self.client.stop_job(status["jobId"])
                return
            self.kube.set_status(name, jobDeploymentStatus="Complete")
        self.kube.remove("pods", f"{name}-0")
        self.kube.remove("rayjobs", name)
