"""The dead man's switch: a launcher that lives renews a Lease; whoever sees that it no longer does, acts.

A run of Kubeflow Pipelines that is terminated cannot be relied on to clean up, and a launcher may die with its node.
The Lease lies in the cluster, belongs to the RayJob, and goes with it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from lens_core.kube.api import Api, ApiError
from lens_core.kube.rayjob import GROUP, VERSION, Job, job_labels

logger = logging.getLogger(__name__)

RENEWALS = 4
"""Within one duration of a Lease: three may fail."""


class Patience:
    """Tells a holder that is silent from a network that is.

    Only what is seen counts: the same `renewed` at two looks, so much apart, with no failed look between them. Clocks
    of two machines are never compared, and an API server that is away for an hour ends no training.

    Args:
        duration_s: after so long without a renewal the holder is taken for dead.
    """

    def __init__(self, duration_s: float) -> None:
        self._duration_s = duration_s
        self._seen: datetime | None = None
        self._since: float | None = None

    def is_over(self, renewed: datetime | None, now_s: float) -> bool:
        """After a look at the Lease at `now_s` on the monotonic clock; `renewed` is None where there is no Lease."""
        if self._since is None or renewed != self._seen:
            self._seen, self._since = renewed, now_s
        return now_s - self._since >= self._duration_s

    def could_not_look(self) -> None:
        """The holder may have been kept from renewing by the same failure: it gets its time anew."""
        self._since = None


class Holder:
    """Renews a job's Lease in a thread of its own.

    Attributes:
        taken_by: the launcher that has taken the job over, or None.
    """

    def __init__(self, api: Api, job: Job, identity: str) -> None:
        self._api, self._job, self._identity = api, job, identity
        self._ended = threading.Event()
        self._rayjob_uid = ""
        self.taken_by: str | None = None

    def take(self, rayjob_uid: str) -> None:
        """Create the job's Lease, owned by the RayJob, or take over the one that is there."""
        self._rayjob_uid = rayjob_uid
        metadata = {
            "name": self._job.name,
            "namespace": self._job.namespace,
            "labels": job_labels(self._job),
            "ownerReferences": [
                {"apiVersion": f"{GROUP}/{VERSION}", "kind": "RayJob", "name": self._job.name, "uid": rayjob_uid}
            ],
        }
        duration = {"leaseDurationSeconds": self._job.cluster.lease_s}
        spec = {"holderIdentity": self._identity, "renewTime": _now(), **duration}
        try:
            self._api.create_lease({"metadata": metadata, "spec": spec})
        except ApiError as error:
            if error.status != 409:
                raise
            self._api.patch_lease(self._job.namespace, self._job.name, spec)

    @contextmanager
    def renewing(self) -> Iterator[None]:
        thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(timeout=5)

    def _renew(self) -> None:
        while not self._ended.wait(self._job.cluster.lease_s / RENEWALS):
            try:
                lease = self._api.patch_lease(self._job.namespace, self._job.name, {"renewTime": _now()})
            except ApiError as error:
                if error.status == 404:  # it belonged to an earlier job of the name, and went with that
                    self._take_again()
                else:
                    logger.warning("%s", error)
                continue
            if lease.holder != self._identity:
                self.taken_by = lease.holder
                return

    def _take_again(self) -> None:
        try:
            self.take(self._rayjob_uid)
        except ApiError as error:
            logger.warning("%s", error)


def _now() -> str:
    """As a Lease has it, always with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def age_s(renewed: datetime) -> float:
    """By the clock of this machine; for whoever takes one look only."""
    return (datetime.now(UTC) - renewed).total_seconds()
