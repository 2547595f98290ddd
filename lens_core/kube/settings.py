"""Where a RayJob runs and with what: one frozen tree, apart from the run's configuration.

What is trained does not depend on the cluster, so that the digest of a run stays the same when it moves to another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from lens_core.config import Section, override_value, parse, read_text, read_yaml
from lens_core.credentials import masked_address, names_secret
from lens_core.errors import LensError

Quantity = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,14}(\.[0-9]{1,9})?(m|[kMGTP]|[KMGTP]i)?$")]
"""As Kubernetes writes amounts: `500m`, `16Gi`."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
"""Of a Kubernetes object."""
_MOST_S = 10 * 365 * 86_400
"""Ten years: below what Kubernetes can count in its 32 bits."""


class SecretKey(Section):
    """One value of a Secret; pods read it there, and it never appears in a manifest."""

    name: Name
    """Name of the Secret."""
    key: str = Field(min_length=1)
    """Key of the value in the Secret."""


class Toleration(Section):
    """Lets pods onto nodes with a taint, such as those with GPUs."""

    key: str | None = None
    """Key of the taint; None, with `operator: Exists`: every taint."""
    operator: Literal["Exists", "Equal"] = "Exists"
    """`Exists`: the taint may have any value; `Equal`: it must have `value`."""
    value: str | None = None
    """Value of the taint, for `operator: Equal`."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; None: every effect."""


class Volume(Section):
    """A PersistentVolumeClaim, mounted into every pod of the job."""

    claim: Name
    """Name of the PersistentVolumeClaim."""
    path: str = Field(pattern=r"^/.+")
    """Where it is mounted: an absolute path."""
    read_only: bool = False
    """Mount it read-only."""


class NodeConfig(Section):
    """One Ray pod: what it gets and where it may run."""

    cpus: Quantity = "2"
    """CPUs, requested and also the limit: `500m`, `16`."""
    memory: Quantity = "8Gi"
    """Memory, requested and also the limit: Ray sizes its object store by it."""
    shared_memory: Quantity = "2Gi"
    """Limit of /dev/shm, which holds Ray's object store; counts towards `memory`."""
    scratch: Quantity = "20Gi"
    """Limit of /tmp, the only place besides `volumes` and /dev/shm that a pod can write to."""
    gpus: int = Field(0, ge=0, le=1024)
    """NVIDIA GPUs of each pod."""
    gpu_product: str | None = None
    """Label `nvidia.com/gpu.product` of the nodes, for example `NVIDIA-H100-80GB-HBM3`; None: any. Needs `gpus`."""
    node_selector: dict[str, str] = Field({})
    """Labels that a node must have, as in a pod's spec."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that the pod tolerates."""
    affinity: dict[str, Any] | None = None
    """Affinity, as in a pod's spec."""

    @model_validator(mode="after")
    def _product_needs_gpus(self) -> Self:
        if self.gpu_product is not None and not self.gpus:
            raise ValueError(f"gpu_product {self.gpu_product!r} needs gpus, the number of them in each pod")
        return self


class WorkersConfig(NodeConfig):
    """Pods in addition to the head, which then does not train."""

    replicas: int = Field(1, ge=1, le=100_000)
    """Number of worker pods."""
    max_replicas: int | None = Field(None, ge=1, le=100_000)
    """Most worker pods that Ray's autoscaler (v2) may start; at least `replicas`. None: a fixed number."""

    @model_validator(mode="after")
    def _most_are_not_fewer(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(f"max_replicas {self.max_replicas} is below replicas {self.replicas}")
        return self

    @property
    def scales(self) -> bool:
        return self.max_replicas is not None and self.max_replicas > self.replicas


class ClusterConfig(Section):
    """What a RayJob needs to know of the cluster that it runs on."""

    namespace: Name | None = None
    """Namespace of the job; None: that of this pod, or of the kubeconfig's context."""
    image: str = Field(min_length=1)
    """Image of all pods; contains this package with its `kube` and `ray` extras."""
    image_pull_secrets: tuple[Name, ...] = ()
    """Secrets to pull the image with."""
    ray_version: str = Field("2.60.0", pattern=r"^\d+\.\d+\.\d+$")
    """Version of Ray in the image."""
    service_account: Name = "lens-job"
    """Service account of the head: its watchdog reads a Lease, and with `max_replicas` Ray's autoscaler uses it."""
    head: NodeConfig = NodeConfig()
    """The head pod."""
    workers: WorkersConfig | None = None
    """The worker pods; None: the head trains by itself."""
    evaluation: NodeConfig | None = None
    """The pod of an evaluation in a pipeline; None: one GPU of the pod that trains, with its part of the rest."""
    parallel: int = Field(4, ge=1, le=1000)
    """How many methods, or seeds, a pipeline trains and evaluates at a time."""
    volumes: tuple[Volume, ...] = ()
    """Volumes for data, policies and checkpoints; every node must see them."""
    env: dict[str, str] = Field({})
    """Environment variables of all pods; secrets are refused here."""
    secrets: dict[str, SecretKey] = Field({})
    """Environment variables whose values come from Secrets."""
    token_auth: bool = True
    """Require a token for Ray's own APIs."""
    token_secret: Name | None = None
    """Secret with the token under `auth_token`; None: KubeRay creates one for the job. `HTTPMode` needs it."""
    queue: str | None = Field(None, pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """Kueue's LocalQueue: the job is created suspended and starts when it is admitted. None: it starts at once.
    Excludes `workers.max_replicas`."""
    submission: Literal["K8sJobMode", "HTTPMode"] = "K8sJobMode"
    """Who hands the command to Ray: `K8sJobMode` a separate pod, `HTTPMode` KubeRay. A sidecar (`SidecarMode`) would
    get no security context from KubeRay, and restricted Pod Security would refuse it."""
    retries: int = Field(0, ge=0, le=1000)
    """How many times a failed job is run again, on a new Ray cluster; give the command a `--resume`."""
    queue_s: int = Field(604_800, ge=1, le=_MOST_S)
    """Longest wait in the queue, in seconds."""
    pre_running_s: int = Field(1_800, ge=1, le=_MOST_S)
    """Longest time from admission until Ray runs (nodes, images, pods), in seconds; at most `active_s`."""
    active_s: int = Field(172_800, ge=1, le=_MOST_S)
    """Longest time from admission to the end, in seconds."""
    keep_finished_s: int = Field(300, ge=0, le=_MOST_S)
    """How long the Ray cluster of a finished job is kept, in seconds."""
    grace_s: int = Field(120, ge=1, le=_MOST_S)
    """Time for a last checkpoint when the job has to end early, in seconds."""
    lease_s: int = Field(120, ge=3, le=_MOST_S)
    """Seconds without a sign of life after which a launcher counts as dead, and its job checkpoints and ends."""
    run_as: int = Field(1000, ge=1, le=2**31 - 1)
    """User and group id of the processes in the pods."""

    @field_validator("env")
    @classmethod
    def _no_secrets_in_the_open(cls, env: dict[str, str]) -> dict[str, str]:
        for name, value in env.items():
            if names_secret(name) or masked_address(value) != value:
                raise ValueError(f"{name} looks like a secret: put it into a Secret and name that under secrets")
        return env

    @field_validator("env", "secrets")
    @classmethod
    def _variables_are_free(cls, variables: dict[str, Any]) -> dict[str, Any]:
        for name in variables:
            if name.startswith("LENS_JOB_") or name in _KUBERAYS:
                raise ValueError(f"{name} is set by the launcher or by KubeRay: leave it out")
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"{name!r} is no name of an environment variable")
        return variables

    @model_validator(mode="after")
    def _says_what_it_means(self) -> Self:
        if "{{" in self.model_dump_json():
            raise ValueError(
                "{{ is a placeholder of KFP's and of Argo's, who would put something else there: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _fields_go_together(self) -> Self:
        twice = sorted(self.env.keys() & self.secrets.keys())
        if twice:
            raise ValueError(f"{twice[0]} stands in env and in secrets: keep one of them")
        if self.token_secret is not None and not self.token_auth:
            raise ValueError("token_secret belongs to token_auth: set that to true, or leave the Secret out")
        if self.submission == "HTTPMode" and self.token_auth and self.token_secret is None:
            raise ValueError("HTTPMode with token_auth needs token_secret: the launcher reads logs from Ray with it")
        if self.queue is not None and self.workers is not None and self.workers.scales:
            raise ValueError("queue and workers.max_replicas exclude each other: Kueue admits a fixed number of pods")
        if self.pre_running_s > self.active_s:
            raise ValueError(f"pre_running_s {self.pre_running_s} exceeds active_s {self.active_s}")
        return self


_KUBERAYS = ("HOME", "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_JOB_STOP_WAIT_TIME_S",
             "RAY_enable_autoscaler_v2", "RAY_REDIS_ADDRESS", "REDIS_USERNAME", "REDIS_PASSWORD")  # fmt: skip


def load_cluster(source: Path, overrides: Sequence[str] = ()) -> ClusterConfig:
    """Read a YAML file, apply `key.path=value` overrides, and validate the whole.

    Raises:
        LensError: naming the file, key or value, with what is allowed.
    """
    tree = read_yaml(read_text(source), str(source))
    if not isinstance(tree, dict):
        raise LensError(f"{source} must hold a mapping of cluster settings, such as image: and workers:")
    for override in overrides:
        override_value(tree, override)
    return parse(ClusterConfig, tree, str(source))
