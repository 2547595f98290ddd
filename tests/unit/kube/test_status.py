"""KubeRay's two stories about a job, told as one."""

from typing import Any

import pytest

from lens_core.kube.status import Phase, read_state


@pytest.mark.parametrize(
    ("deployment", "job", "phase"),
    [
        ("", "", Phase.STARTING),
        ("Initializing", "", Phase.STARTING),
        ("Waiting", "", Phase.STARTING),
        ("Running", "PENDING", Phase.RUNNING),
        ("Running", "FAILED", Phase.RUNNING),  # KubeRay waits for the submitter before it calls this an end
        ("Suspending", "RUNNING", Phase.QUEUED),
        ("Suspended", "", Phase.QUEUED),
        ("Retrying", "FAILED", Phase.RETRYING),
        ("Complete", "SUCCEEDED", Phase.SUCCEEDED),
        ("Complete", "STOPPED", Phase.STOPPED),
        ("Complete", "", Phase.FAILED),
        ("Failed", "FAILED", Phase.FAILED),
        ("Failed", "", Phase.FAILED),
        ("ValidationFailed", "", Phase.FAILED),
        ("SomethingNew", "RUNNING", Phase.RUNNING),
    ],
)
def test_phase_of(deployment: str, job: str, phase: Phase) -> None:
    assert read_state({"status": {"jobDeploymentStatus": deployment, "jobStatus": job}}).phase is phase


def test_every_end_is_known() -> None:
    assert {phase for phase in Phase if phase.is_end} == {Phase.SUCCEEDED, Phase.STOPPED, Phase.FAILED}


@pytest.mark.parametrize("status", [{}, {"status": {}}])
def test_suspended_job_that_kuberay_has_not_seen_is_queued(status: dict[str, Any]) -> None:
    state = read_state({"spec": {"suspend": True}, **status})
    assert state.phase is Phase.QUEUED
    assert state.is_untouched


def test_state_reads_as_a_sentence() -> None:
    status = {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed", "message": "exit\ncode 1"}
    assert str(read_state({"status": status})) == "failed (Failed, AppFailed): exit code 1"
    assert str(read_state({"status": {"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"}})) == (
        "stopped (Complete, STOPPED)"
    )


def test_log_that_kuberay_quotes_is_not_part_of_the_sentence() -> None:
    """As KubeRay 1.7 has it from Ray 2.60."""
    message = "Job entrypoint command failed with exit code 2, last available logs (truncated ...):\na\nwhy\n"
    state = read_state({"status": {"jobDeploymentStatus": "Failed", "reason": "AppFailed", "message": message}})
    assert str(state) == "failed (Failed, AppFailed): Job entrypoint command failed with exit code 2"
    assert state.last_line == "why"


def test_dashboard_url_is_an_address() -> None:
    assert read_state({"status": {"dashboardURL": "head-svc:8265"}}).dashboard_url == "http://head-svc:8265"
    assert read_state({"status": {"dashboardURL": "https://x"}}).dashboard_url == "https://x"
    assert read_state({}).dashboard_url == ""
