"""A pod like a pipeline's step, which has no fsGroup: whether one starts and may write to the volumes."""

from __future__ import annotations

import time
import uuid
from typing import Any

from lens_core.kube.api import Api
from lens_core.kube.rayjob import CONTAINER_SECURITY, MANAGED_BY
from lens_core.kube.settings import ClusterConfig

_LOOKS_S = 1.0
_HOPELESS = ("ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError")
"""States of a container that waits which no time mends."""
_WRITE = 'for place; do touch "$place/.lens-doctor" && rm "$place/.lens-doctor" || exit 1; done'


def probe(api: Api, namespace: str, cluster: ClusterConfig, timeout_s: float) -> str | None:
    """Start a pod that writes a file to each volume of `cluster`, and remove it.

    Returns:
        What went wrong, in the words of Kubernetes or of the pod; None: nothing.

    Raises:
        ApiError: if no pod can be made, because of a right, a quota or Pod Security.
    """
    body = _pod(cluster)
    pods = f"/api/v1/namespaces/{namespace}/pods"
    what, path = f"pod {body['metadata']['name']}", f"{pods}/{body['metadata']['name']}"
    api.create(what, pods, body)
    try:
        ends = time.monotonic() + timeout_s
        while True:
            found = api.read(what, path)
            status = {} if found is None else found.get("status", {})
            if status.get("phase") == "Succeeded":
                return None
            if found is None or status.get("phase") == "Failed" or _is_hopeless(status) or time.monotonic() > ends:
                return _reason(status, timeout_s)
            time.sleep(_LOOKS_S)
    finally:
        api.delete(what, path)


def _pod(cluster: ClusterConfig) -> dict[str, Any]:
    volumes = [each for each in cluster.volumes if not each.read_only]
    container = {
        "name": "probe",
        "image": cluster.image,
        "command": ["sh", "-c", _WRITE, "sh", *(volume.path for volume in volumes)],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [{"name": f"volume-{i}", "mountPath": volume.path} for i, volume in enumerate(volumes)],
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "imagePullSecrets": [{"name": name} for name in cluster.image_pull_secrets],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": cluster.run_as,
            "runAsGroup": cluster.run_as,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": f"volume-{i}", "persistentVolumeClaim": {"claimName": volume.claim}}
            for i, volume in enumerate(volumes)
        ],
    }
    name = f"lens-doctor-{uuid.uuid4().hex[:8]}"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": MANAGED_BY}, "spec": spec}


def _container(status: dict[str, Any], state: str) -> dict[str, Any]:
    """What is said of the one container in that state; nothing where it is in another."""
    statuses: list[dict[str, Any]] = status.get("containerStatuses", [])
    found: dict[str, Any] = statuses[0].get("state", {}).get(state) or {} if statuses else {}
    return found


def _is_hopeless(status: dict[str, Any]) -> bool:
    return _container(status, "waiting").get("reason") in _HOPELESS


def _reason(status: dict[str, Any], timeout_s: float) -> str:
    ended, waiting = _container(status, "terminated"), _container(status, "waiting")
    if ended:
        return str(ended.get("message") or f"exit code {ended.get('exitCode')}").strip()
    if waiting:
        return ": ".join(each for each in (waiting.get("reason"), waiting.get("message")) if each)
    unmet = [each.get("message") for each in status.get("conditions", []) if each["status"] == "False"]
    return str(status.get("message") or next(filter(None, unmet), f"no node has started it within {timeout_s:.0f} s"))
