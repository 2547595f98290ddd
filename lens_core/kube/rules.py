"""Rules of KubeRay v1.7 (and of Kueue) that the CRD's schema does not hold, for the fields that our manifests have.

KubeRay checks them after it has accepted a manifest, and the job then lies there as ValidationFailed; here they are
checked before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lens_core.errors import LensError
from lens_core.kube.rayjob import MAX_NAME, QUEUE

_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_TOKEN_AUTH_SINCE = (2, 52, 0)


def check(manifest: Mapping[str, Any]) -> None:
    """Check a RayJob or a RayCluster.

    Raises:
        LensError: with every rule that it breaks.
    """
    name = str(manifest.get("metadata", {}).get("name", ""))
    spec = manifest.get("spec", {})
    if manifest.get("kind") == "RayJob":
        broken = [*_name(name, MAX_NAME), *_job(spec), *_queue(manifest), *_cluster(spec.get("rayClusterSpec", {}))]
    elif manifest.get("kind") == "RayCluster":
        broken = [*_name(name, _MAX_CLUSTER_NAME), *_cluster(spec)]
    else:
        raise LensError(f"{name or 'the manifest'} is a {manifest.get('kind')}, neither a RayJob nor a RayCluster")
    if broken:
        raise LensError(f"{manifest['kind']} {name} would be refused: {'; '.join(broken)}")


def _name(name: str, longest: int) -> Iterator[str]:
    if len(name) > longest:
        yield f"its name has {len(name)} characters, and KubeRay takes at most {longest}"
    if not _LABEL.fullmatch(name):
        yield "its name must be a DNS-1035 label: a-z, 0-9 and -, beginning with a letter and not ending with -"


def _job(spec: Mapping[str, Any]) -> Iterator[str]:
    shutdown = spec.get("shutdownAfterJobFinishes")
    if spec.get("suspend") and not shutdown:
        yield "suspend needs shutdownAfterJobFinishes: true"
    if spec.get("ttlSecondsAfterFinished", 0) > 0 and not shutdown:
        yield "ttlSecondsAfterFinished needs shutdownAfterJobFinishes: true"
    for field in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec.get(field, 1) <= 0:
            yield f"{field} must be above 0"
    for field in ("backoffLimit", "ttlSecondsAfterFinished"):
        if spec.get(field, 0) < 0:
            yield f"{field} must not be negative"


def _queue(manifest: Mapping[str, Any]) -> Iterator[str]:
    if QUEUE not in manifest["metadata"].get("labels", {}):
        return
    spec = manifest["spec"]
    if not spec.get("suspend"):
        yield f"the label {QUEUE} needs suspend: true, or the job may start before Kueue has seen it"
    if spec.get("rayClusterSpec", {}).get("enableInTreeAutoscaling"):
        yield f"the label {QUEUE} and enableInTreeAutoscaling exclude each other"


def _cluster(spec: Mapping[str, Any]) -> Iterator[str]:
    scales = spec.get("enableInTreeAutoscaling", False)
    for group in (spec.get("headGroupSpec", {}), *spec.get("workerGroupSpecs", [])):
        yield from _group(group, scales)
    yield from _authentication(spec.get("authOptions", {}), spec.get("rayVersion"))


def _group(group: Mapping[str, Any], scales: bool) -> Iterator[str]:
    """A head has no groupName, and no number of replicas."""
    is_worker = "groupName" in group
    name = f"worker group {group['groupName']}" if is_worker else "the head group"
    if not group.get("template", {}).get("spec", {}).get("containers"):
        yield f"{name} has no container"
    if not is_worker:
        return
    least, most = group.get("minReplicas"), group.get("maxReplicas")
    if not scales and (least is None or most is None):
        yield f"{name} needs minReplicas and maxReplicas where nothing scales it"
    if least is not None and most is not None and not 0 <= least <= most:
        yield f"{name} needs 0 <= minReplicas <= maxReplicas, not {least} and {most}"


def _authentication(options: Mapping[str, Any], version: str | None) -> Iterator[str]:
    if options.get("mode") != "token":
        return
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", "" if version is None else version)
    if numbers is None or tuple(map(int, numbers.groups())) < _TOKEN_AUTH_SINCE:
        since = ".".join(map(str, _TOKEN_AUTH_SINCE))
        yield f"authOptions.mode token needs rayVersion {since} or newer, not {version}"


_MAX_CLUSTER_NAME = 53
