"""The manifest of a RayJob (KubeRay v1.7, `ray.io/v1`): a pure function of what is to run and where.

The command does not stand in `entrypoint`: KubeRay and `ray job submit` pass that through two shells, which quote in
different ways. It travels as JSON in an environment variable, and the entrypoint is the watchdog that runs it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lens_core.credentials import masked_address, names_secret
from lens_core.errors import LensError

if TYPE_CHECKING:  # the watchdog reads constants from here, and has no use for pydantic
    from lens_core.kube.settings import ClusterConfig, NodeConfig

GROUP, VERSION, PLURAL = "ray.io", "v1", "rayjobs"
MANAGED_BY = {"app.kubernetes.io/managed-by": "lens-grpo"}
RUN, TASK, ATTEMPT = "lens-grpo/run", "lens-grpo/task", "lens-grpo/attempt"
DIGEST = "lens-grpo/digest"
"""Annotation: which manifest a RayJob was made from."""
QUEUE = "kueue.x-k8s.io/queue-name"
MAX_NAME = 47
"""Characters; KubeRay appends to it."""
ENTRYPOINT = "python -P -m lens_core.kube.watchdog"
COMMAND, LEASE, LEASE_S, GRACE_S = "LENS_JOB_COMMAND", "LENS_JOB_LEASE", "LENS_JOB_LEASE_S", "LENS_JOB_GRACE_S"
"""Environment of the watchdog: the command as a JSON list, `namespace/name` of the Lease, and two durations."""


@dataclass(frozen=True)
class Owner:
    """The pod that launches a job; Kubernetes removes the job once that pod is removed."""

    name: str
    uid: str


@dataclass(frozen=True)
class Job:
    """One attempt at one task of a run.

    Raises:
        LensError: if the command holds a credential, which everybody could read in the manifest.
    """

    run: str
    task: str
    attempt: int
    command: tuple[str, ...]
    cluster: ClusterConfig
    namespace: str
    owner: Owner | None = None

    def __post_init__(self) -> None:
        for option, value in pairwise(("", *self.command)):
            given = option.startswith("-") and "=" not in option and names_secret(option) and not value.startswith("-")
            assigned = re.match(r"(--[\w-]+|[A-Z_][A-Z0-9_]*)=", value)
            if given or masked_address(value) != value or (assigned and names_secret(assigned[1])):
                raise LensError(
                    f"the command holds a credential ({option if given else masked_address(value)}), which all could "
                    "read in the RayJob: put it into a Secret, and name that under secrets of the cluster settings"
                )

    @property
    def name(self) -> str:
        return job_name(self.run, self.task, self.attempt)


def job_name(run: str, task: str, attempt: int) -> str:
    """A DNS-1035 label of at most 47 characters, the same for the same arguments and no others.

    `job_name("Rivals", "train lens", 1)` is `lens-rivals-train-lens-1-` and 8 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps([run, task, attempt]).encode()).hexdigest()[:8]
    end = f"-{attempt}-{digest}"
    slug = re.sub(r"[^a-z0-9]+", "-", f"lens-{run}-{task}".lower())
    return slug[: MAX_NAME - len(end)].strip("-") + end


def manifest(job: Job) -> dict[str, Any]:
    """What is sent to the API server. Its digest leaves out the owner, so that a new launcher finds its job again."""
    body: dict[str, Any] = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "RayJob",
        "metadata": {"name": job.name, "namespace": job.namespace, "labels": _labels(job)},
        "spec": _spec(job),
    }
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    body["metadata"] |= {"annotations": {DIGEST: digest}, **owned_by(job.owner)}
    return body


def owned_by(owner: Owner | None) -> dict[str, Any]:
    """Metadata that names the owner."""
    if owner is None:
        return {}
    return {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": owner.name, "uid": owner.uid}]}


def job_labels(job: Job) -> dict[str, str]:
    """Of all that belongs to a job; `reap` and network policies go by them."""
    return {**MANAGED_BY, RUN: _label(job.run), TASK: _label(job.task), ATTEMPT: str(job.attempt)}


def _labels(job: Job) -> dict[str, str]:
    return job_labels(job) | ({} if job.cluster.queue is None else {QUEUE: job.cluster.queue})


def _label(text: str) -> str:
    """`text` as a label's value."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:63].strip("-._")


def _spec(job: Job) -> dict[str, Any]:
    cluster = job.cluster
    spec: dict[str, Any] = {
        "entrypoint": ENTRYPOINT,
        "submissionMode": cluster.submission,
        "backoffLimit": cluster.retries,
        "preRunningDeadlineSeconds": cluster.pre_running_s,
        "activeDeadlineSeconds": cluster.active_s,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": cluster.keep_finished_s,
        "rayClusterSpec": _ray_cluster(job),
    }
    if cluster.queue is not None:
        spec["suspend"] = True  # until Kueue has admitted it
    if cluster.submission == "K8sJobMode":
        spec["submitterPodTemplate"] = _submitter(job)
    return spec


def _ray_cluster(job: Job) -> dict[str, Any]:
    cluster, workers = job.cluster, job.cluster.workers
    head_params = {} if workers is None else {"num-cpus": "0", "num-gpus": "0"}
    spec: dict[str, Any] = {
        "rayVersion": cluster.ray_version,
        "headGroupSpec": {"rayStartParams": head_params, "template": _pod(job, cluster.head, is_head=True)},
    }
    if cluster.token_auth:
        secret = {} if cluster.token_secret is None else {"secretName": cluster.token_secret}
        spec["authOptions"] = {"mode": "token", **secret}
    if workers is None:
        return spec
    spec["workerGroupSpecs"] = [
        {
            "groupName": "workers",
            "replicas": workers.replicas,
            "minReplicas": workers.replicas,
            "maxReplicas": workers.replicas if workers.max_replicas is None else workers.max_replicas,
            "rayStartParams": {},
            "template": _pod(job, workers, is_head=False),
        }
    ]
    if workers.scales:
        spec["enableInTreeAutoscaling"] = True
        spec["autoscalerOptions"] = {
            "version": "v2",
            "securityContext": CONTAINER_SECURITY,
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        }
    return spec


def _pod(job: Job, node: NodeConfig, is_head: bool) -> dict[str, Any]:
    """A pod of Ray's. What is written goes to /tmp, /dev/shm and the volumes; its root file system is read only."""
    cluster = job.cluster
    container: dict[str, Any] = {
        "name": "ray-head" if is_head else "ray-worker",
        "image": cluster.image,
        "env": _environment(job) + (_watchdog_environment(job) if is_head else []),
        "resources": _resources(node),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
            *(
                {"name": f"volume-{index}", "mountPath": volume.path, "readOnly": volume.read_only}
                for index, volume in enumerate(cluster.volumes)
            ),
        ],
    }
    if is_head:
        container["ports"] = [{"name": name, "containerPort": port} for name, port in _HEAD_PORTS.items()]
    product = {} if node.gpu_product is None else {"nvidia.com/gpu.product": node.gpu_product}
    spec: dict[str, Any] = {
        **_pod_basics(cluster),
        "automountServiceAccountToken": is_head,
        "terminationGracePeriodSeconds": cluster.grace_s,
        "nodeSelector": {**product, **node.node_selector},
        "tolerations": [each.model_dump(exclude_none=True) for each in node.tolerations],
        "containers": [container],
        "volumes": [
            {"name": "tmp", "emptyDir": {"sizeLimit": node.scratch}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": node.shared_memory}},
            *(
                {"name": f"volume-{index}", "persistentVolumeClaim": _claim(volume.claim, volume.read_only)}
                for index, volume in enumerate(cluster.volumes)
            ),
        ],
    }
    if is_head:
        spec["serviceAccountName"] = cluster.service_account
    if node.affinity is not None:
        spec["affinity"] = node.affinity
    return {"metadata": {"labels": job_labels(job)}, "spec": spec}


def _submitter(job: Job) -> dict[str, Any]:
    """The pod that runs `ray job submit`; KubeRay's own would be refused by restricted Pod Security."""
    small = {"cpu": "500m", "memory": "512Mi"}
    container = {
        "name": "ray-job-submitter",
        "image": job.cluster.image,
        "env": [{"name": "HOME", "value": "/tmp"}],
        "resources": {"requests": small, "limits": small},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    spec = {
        **_pod_basics(job.cluster),
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
    }
    return {"metadata": {"labels": job_labels(job)}, "spec": spec}


def _pod_basics(cluster: ClusterConfig) -> dict[str, Any]:
    return {
        "imagePullSecrets": [{"name": name} for name in cluster.image_pull_secrets],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": cluster.run_as,
            "runAsGroup": cluster.run_as,
            "fsGroup": cluster.run_as,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _environment(job: Job) -> list[dict[str, Any]]:
    """Of every pod of Ray's."""
    plain = {"HOME": "/tmp", "RAY_JOB_STOP_WAIT_TIME_S": str(job.cluster.grace_s), **job.cluster.env}
    secrets = job.cluster.secrets.items()
    return [{"name": name, "value": _literal(value)} for name, value in plain.items()] + [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}}}
        for name, secret in secrets
    ]


def _watchdog_environment(job: Job) -> list[dict[str, Any]]:
    values = {
        COMMAND: json.dumps(job.command),
        LEASE: f"{job.namespace}/{job.name}",
        LEASE_S: str(job.cluster.lease_s),
        GRACE_S: str(job.cluster.grace_s),
    }
    return [{"name": name, "value": _literal(value)} for name, value in values.items()]


def _literal(value: str) -> str:
    """Kubernetes would put other variables in place of `$(NAME)`."""
    return value.replace("$(", "$$(")


def _resources(node: NodeConfig) -> dict[str, Any]:
    amounts = {"cpu": node.cpus, "memory": node.memory} | ({"nvidia.com/gpu": str(node.gpus)} if node.gpus else {})
    return {"requests": amounts, "limits": amounts}


def _claim(name: str, read_only: bool) -> dict[str, Any]:
    return {"claimName": name, "readOnly": read_only}


CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}
_HEAD_PORTS = {"gcs-server": 6379, "dashboard": 8265, "client": 10001}
