"""Finds RayJobs of ours that nobody is with any more, and removes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lens_core.kube.api import Api, Lease
from lens_core.kube.lease import age_s
from lens_core.kube.rayjob import MANAGED_BY

_MARGIN = 2.0
"""Durations of a Lease before it counts as stale here: one look cannot tell a slow clock from a dead launcher."""
_YOUNG_S = 300.0
"""A job younger than this may still be waiting for its Lease."""


@dataclass(frozen=True)
class Orphan:
    """A RayJob without a launcher, and how that shows."""

    namespace: str
    name: str
    uid: str
    reason: str


def find_orphans(api: Api, namespace: str) -> list[Orphan]:
    """RayJobs with our label whose Lease is stale, or whose pod is gone; a Lease that is renewed outweighs all else."""
    selector = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())
    leases = {lease.name: lease for lease in api.leases(namespace, selector)}
    found = []
    for rayjob in api.jobs(namespace, selector):
        metadata = rayjob["metadata"]
        if "deletionTimestamp" in metadata:
            continue
        reason = _reason(api, namespace, metadata, leases.get(metadata["name"]))
        if reason is not None:
            found.append(Orphan(namespace, metadata["name"], metadata["uid"], reason))
    return found


def reap(api: Api, orphans: list[Orphan]) -> None:
    """Delete them with all that they own."""
    for orphan in orphans:
        api.delete_job(orphan.namespace, orphan.name, orphan.uid)


def _reason(api: Api, namespace: str, metadata: Mapping[str, Any], lease: Lease | None) -> str | None:
    silent_s = None if lease is None else age_s(lease.renewed)
    if lease is not None and silent_s is not None and silent_s < lease.duration_s * _MARGIN:
        return None
    for owner in metadata.get("ownerReferences", []):
        if owner["kind"] == "Pod" and api.pod_uid(namespace, owner["name"]) != owner["uid"]:
            return f"its launcher's pod {owner['name']} is gone"
    if lease is not None and silent_s is not None:
        return f"its Lease was last renewed {silent_s:.0f} s ago, by {lease.holder}"
    created = datetime.fromisoformat(metadata["creationTimestamp"])
    return "it has no Lease" if age_s(created) > _YOUNG_S else None
