"""What a RayJob's `status` says, as one value.

KubeRay tells two stories at once: `jobDeploymentStatus`, of the cluster and the submission, and `jobStatus`, of the Ray
job. A job that someone has stopped is Complete in the first and STOPPED in the second; one that breaks a rule is
ValidationFailed for ever, which KubeRay itself does not count among the terminal states.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Phase(enum.Enum):
    """Where a job stands; the last three are ends."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_end(self) -> bool:
        return self in (Phase.SUCCEEDED, Phase.STOPPED, Phase.FAILED)


@dataclass(frozen=True)
class JobState:
    """One look at a RayJob; texts are empty where KubeRay has not said anything."""

    phase: Phase
    deployment_status: str
    job_status: str
    reason: str
    message: str
    job_id: str
    dashboard_url: str

    @property
    def last_line(self) -> str:
        """Of the log, as far as KubeRay's message quotes it."""
        lines = self.message.partition(_QUOTED_LOG)[2].strip().splitlines()
        return lines[-1].strip() if lines else ""

    @property
    def is_untouched(self) -> bool:
        """Whether KubeRay has not taken the job up yet."""
        return not self.deployment_status

    def __str__(self) -> str:
        """For a person: `failed (Failed, AppFailed): Job entrypoint command failed with exit code 1`."""
        details = [text for text in (self.deployment_status, self.reason or self.job_status) if text]
        within = f" ({', '.join(details)})" if details else ""
        message = " ".join(self.message.partition(_QUOTED_LOG)[0].split())
        return f"{self.phase.value}{within}" + (f": {message}" if message else "")


def read_state(rayjob: Mapping[str, Any]) -> JobState:
    """The state of a RayJob as the API server returns it."""
    status = rayjob.get("status", {})
    deployment, job = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
    url = status.get("dashboardURL", "")
    return JobState(
        phase=_phase(deployment, job, bool(rayjob.get("spec", {}).get("suspend"))),
        deployment_status=deployment,
        job_status=job,
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        job_id=status.get("jobId", ""),
        dashboard_url=url if not url or "://" in url else f"http://{url}",
    )


def _phase(deployment: str, job: str, suspended: bool) -> Phase:
    if deployment == "Complete":
        return _COMPLETE.get(job, Phase.FAILED)
    if deployment in ("", "New"):
        return Phase.QUEUED if suspended else Phase.STARTING
    # A status that a newer KubeRay brings is no end that is known; deadlines hold all the same.
    return _DEPLOYMENT.get(deployment, Phase.RUNNING)


_QUOTED_LOG = ", last available logs"
"""What follows in the message of a failed job is up to 20,000 characters of its log."""
_COMPLETE = {"SUCCEEDED": Phase.SUCCEEDED, "STOPPED": Phase.STOPPED}
_DEPLOYMENT = {
    "Initializing": Phase.STARTING,
    "Waiting": Phase.STARTING,
    "Running": Phase.RUNNING,
    "Suspending": Phase.QUEUED,
    "Suspended": Phase.QUEUED,
    "Retrying": Phase.RETRYING,
    "Failed": Phase.FAILED,
    "ValidationFailed": Phase.FAILED,
}
