"""Creates a RayJob and stays with it to its end: one attempt at one task, and nothing of it left behind.

On success the RayJob stays for a look at it, and its Ray cluster goes after a while. On failure, on SIGTERM and on
Ctrl-C it is deleted with all that it owns; where the launcher cannot even do that, the Lease that it no longer renews
ends the job from within (lens_core.kube.watchdog), and `lens k8s reap` removes what is left.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from lens_core.errors import LensError
from lens_core.kube.api import Api, ApiError
from lens_core.kube.lease import RENEWALS, Holder
from lens_core.kube.logs import DashboardLog, Log, OnLine, PodLog
from lens_core.kube.rayjob import DIGEST, MANAGED_BY, Job, Owner, manifest, owned_by
from lens_core.kube.rules import check
from lens_core.kube.status import JobState, Phase, read_state
from lens_core.signals import exiting, undisturbed

OnState = Callable[[JobState], None]
_WATCH_S = 30
"""A watch is renewed after so long, and deadlines are looked at."""
_SLACK_S = 300.0
"""KubeRay enforces deadlines of its own; ours, so much later, are for the case that it does not."""
_CLEANUP_S = 25.0
"""A pod that is terminated has 30 s."""


def pod_owner() -> Owner | None:
    """This pod, as the downward API names it in POD_NAME and POD_UID; None outside of a pod."""
    name, uid = os.environ.get("POD_NAME"), os.environ.get("POD_UID")
    return Owner(name, uid) if name and uid else None


def launch(
    job: Job,
    api: Api,
    on_line: OnLine = print,
    on_state: OnState = lambda state: None,
    slack_s: float = _SLACK_S,
) -> JobState:
    """Run `job` to its end. A job of the same name and manifest that is there already is adopted.

    Args:
        on_line: gets each line of the job's log, and ours about its phases.
        on_state: gets each state that differs from the one before; the first with a `dashboard_url` has it for good.

    Returns:
        The last state, which is a success.

    Raises:
        LensError: with the reason and the job's last lines if it fails, is stopped or deleted, breaks a rule or a
            deadline, or is another's.
        SystemExit: 143 on SIGTERM, 129 on SIGHUP.
    """
    body = manifest(job)
    check(body)
    log = Log(on_line)
    launched = _Launched(job, body, api, log, on_state, slack_s)
    with exiting():
        try:
            launched.create()
            state = launched.follow()
            if state.phase is not Phase.SUCCEEDED:
                last = log.last_lines() or state.last_line
                raise LensError(f"RayJob {job.name} {state}" + (f"; its last lines: {last}" if last else ""))
        except BaseException:
            with undisturbed():
                launched.remove()
            raise
    return state


class _Launched:
    """A job that is being created, watched and, if need be, removed."""

    def __init__(self, job: Job, body: dict[str, Any], api: Api, log: Log, on_state: OnState, slack_s: float) -> None:
        self._body, self._digest = body, _digest(body)
        self._job, self._api, self._log, self._on_state, self._slack_s = job, api, log, on_state, slack_s
        identity = job.owner.name if job.owner is not None else f"{socket.gethostname()}-{os.getpid()}"
        self._holder = Holder(api, job, identity)
        self._uid: str | None = None
        self._sent = False
        self._state: JobState | None = None

    def create(self) -> None:
        """Create the job, or adopt it: an earlier launcher, or our own call that got no answer, may have created it."""
        wait_until = time.monotonic() + self._slack_s
        while True:
            try:
                self._sent = True
                found = self._api.create_job(self._body)
                break
            except ApiError as error:
                if error.status != 409:
                    raise
            existing = self._api.job(self._job.namespace, self._job.name)
            if existing is None:
                continue
            if "deletionTimestamp" not in existing["metadata"]:
                found = self._adopt(existing)
                break
            if time.monotonic() > wait_until:
                raise LensError(f"RayJob {self._job.name} of an earlier launch is still being deleted: see its events")
            time.sleep(1)
        self._uid = found["metadata"]["uid"]
        self._holder.take(self._uid)

    def _adopt(self, existing: dict[str, Any]) -> dict[str, Any]:
        name = self._job.name
        if not MANAGED_BY.items() <= existing["metadata"].get("labels", {}).items():
            self._sent = False
            raise LensError(f"RayJob {name} exists and is not ours: choose another run or task name")
        if _digest(existing) != self._digest:
            self._sent = False
            raise LensError(
                f"RayJob {name} exists with another command or other cluster settings: raise the attempt, or delete it"
            )
        self._log.note(f"RayJob {name} is there already, and is adopted")
        if self._job.owner is None:
            return existing
        # The pod that created it may be removed, and must not take the job along.
        return self._api.patch_job(self._job.namespace, name, {"metadata": owned_by(self._job.owner)})

    def follow(self) -> JobState:
        """Watch to the end, with the log passed on and the Lease renewed."""
        job = self._job
        if job.cluster.submission == "K8sJobMode":
            source: PodLog | DashboardLog = PodLog(self._api, job.namespace, f"job-name={job.name}", self._log)
        else:
            source = DashboardLog(lambda: self._state, self._log)
        with self._holder.renewing(), source.followed():
            return self._end()

    def _end(self) -> JobState:
        clock = _Deadlines(self._job, self._slack_s)
        for rayjob in self._changes(clock):
            if rayjob is None or rayjob["metadata"]["uid"] != self._uid:
                raise LensError(f"RayJob {self._job.name} was deleted by someone else")
            state = read_state(rayjob)
            if state != self._state:
                self._tell(state)
            if state.phase.is_end:
                return state
            if self._holder.taken_by is not None:
                self._sent, self._uid = False, None  # it is no longer ours to remove
                raise LensError(f"RayJob {self._job.name} was taken over by {self._holder.taken_by}")
            clock.check(state)
        raise AssertionError("a watch has no end of its own")

    def _tell(self, state: JobState) -> None:
        is_new_phase = self._state is None or state.phase is not self._state.phase
        has_dashboard = state.dashboard_url and (self._state is None or not self._state.dashboard_url)
        self._state = state
        if is_new_phase:
            self._log.note(f"RayJob {self._job.name} {state}")
        if has_dashboard:
            self._log.note(f"dashboard of Ray: {state.dashboard_url}")
        self._on_state(state)

    def _changes(self, clock: _Deadlines) -> Iterator[dict[str, Any] | None]:
        """The job as it is now, and after each change, whatever becomes of connections."""
        job = self._job
        while True:
            rayjob = self._api.job(job.namespace, job.name)
            yield rayjob
            if rayjob is None:
                return
            began = time.monotonic()
            version = rayjob["metadata"]["resourceVersion"]
            yield from self._api.watch_job(job.namespace, job.name, version, clock.watch_s)
            time.sleep(max(0.0, _MIN_WATCH_S - (time.monotonic() - began)))  # one that breaks off at once

    def remove(self) -> None:
        """Delete what this launcher created or adopted, and wait until it is gone, or the time is up."""
        job = self._job
        try:
            api = Api(patience_s=_CLEANUP_S / 2)
            if self._uid is None and self._sent:  # interrupted while it was being created
                found = api.job(job.namespace, job.name)
                self._uid = found["metadata"]["uid"] if found is not None and _digest(found) == self._digest else None
            if self._uid is None:
                return
            api.delete_job(job.namespace, job.name, self._uid)
            deadline = time.monotonic() + _CLEANUP_S
            while time.monotonic() < deadline:
                found = api.job(job.namespace, job.name)
                if found is None or found["metadata"]["uid"] != self._uid:
                    self._log.note(f"RayJob {job.name} and all that it owned are deleted")
                    return
                time.sleep(0.2)
            self._log.note(f"RayJob {job.name} is being deleted; what it owns is still ending")
        except LensError as error:  # the cause of the removal matters more; the Lease does the rest
            self._log.note(f"{error}; its watchdog ends the job, and `lens k8s reap` removes it")


def _digest(rayjob: dict[str, Any]) -> str | None:
    digest: str | None = rayjob["metadata"].get("annotations", {}).get(DIGEST)
    return digest


class _Deadlines:
    """How long a job may stay in the queue, before it runs, and in all; KubeRay's clock starts anew with each retry."""

    def __init__(self, job: Job, slack_s: float) -> None:
        cluster = job.cluster
        self._limits = {"queue_s": float(cluster.queue_s)}
        self._limits |= {name: getattr(cluster, name) + slack_s for name in ("pre_running_s", "active_s")}
        self._watch_s = max(1, int(min(_WATCH_S, cluster.lease_s / RENEWALS, *self._limits.values())))
        self._name = job.name
        self._queued = self._active = self._starting = time.monotonic()

    def check(self, state: JobState) -> None:
        now = time.monotonic()
        if state.phase is Phase.QUEUED:
            self._active = self._starting = now
            self._hold("queue_s", now - self._queued, state)
            return
        self._queued = now
        if state.phase is Phase.RETRYING:
            self._active = self._starting = now
        if state.phase is Phase.RUNNING:
            self._starting = now
        self._hold("pre_running_s", now - self._starting, state)
        self._hold("active_s", now - self._active, state)

    def _hold(self, limit: str, spent_s: float, state: JobState) -> None:
        if spent_s <= self._limits[limit]:
            return
        hint = "; is the KubeRay operator running, and does it watch this namespace?" if state.is_untouched else ""
        raise LensError(f"RayJob {self._name} exceeds {limit} of the cluster settings, last {state}{hint}")

    @property
    def watch_s(self) -> int:
        """Until one of them may be over, or another launcher may have taken the job."""
        return self._watch_s


_MIN_WATCH_S = 0.5
