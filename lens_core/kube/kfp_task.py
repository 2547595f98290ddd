"""What Kubeflow was told about a step (KFP's TaskConfig), for the pods of the RayJob that does the step's work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lens_core.config import parse
from lens_core.errors import LensError
from lens_core.kube.settings import ClusterConfig, NodeConfig

GPU = "nvidia.com/gpu"


def trainer_node(cluster: ClusterConfig) -> NodeConfig:
    """A pod that trains: a worker, or the head where there are none."""
    return cluster.head if cluster.workers is None else cluster.workers


def evaluation_node(cluster: ClusterConfig) -> NodeConfig:
    """The pod of an evaluation: as the settings say, else one GPU of a pod that trains, with its part of the rest.

    One GPU holds a policy of a few billion parameters; a larger one needs the setting.
    """
    if cluster.evaluation is not None:
        return cluster.evaluation
    node = trainer_node(cluster)
    if node.gpus <= 1:
        return node
    parts = {name: _part(getattr(node, name), node.gpus) for name in ("memory", "shared_memory", "scratch")}
    return node.model_copy(update={"gpus": 1, "cpus": _part(node.cpus, node.gpus, is_cpus=True), **parts})


def _part(amount: str, of: int, is_cpus: bool = False) -> str:
    """An `of`-th of an amount, in whole thousandths of a CPU, or MiB."""
    from kubernetes.utils.quantity import parse_quantity

    total = parse_quantity(amount)
    return f"{int(total * 1000 / of)}m" if is_cpus else f"{int(total / of / 2**20)}Mi"


def with_task(cluster: ClusterConfig, task: Mapping[str, Any]) -> ClusterConfig:
    """`cluster` as the step's settings change it.

    Resources, node selector, tolerations and affinity are those of the pods that train; volumes and environment are
    added to all. What the step was not given stays as it is.

    Args:
        task: the fields of KFP's TaskConfig, as in a pod's spec: `resources`, `node_selector`, `tolerations`,
            `affinity`, `volumes`, `volume_mounts`, `env`; None or empty: not given.

    Raises:
        LensError: if a setting has no equal in `cluster`, or is refused there.
    """
    tree = cluster.model_dump(mode="json")
    node = tree["head"] if tree["workers"] is None else tree["workers"]
    node |= _resources(task.get("resources") or {})
    for field in ("node_selector", "tolerations", "affinity"):
        if task.get(field):
            node[field] = task[field]
    if task.get("node_selector"):
        node["gpu_product"] = None  # the selector says which
    volumes = {each["path"]: each for each in tree["volumes"]}
    for each in _volumes(task):
        if volumes.get(each["path"], {}).get("claim") != each["claim"]:  # KFP cannot say that one is read only
            volumes[each["path"]] = each
    tree["volumes"] = list(volumes.values())
    plain, secrets = _environment(task.get("env") or ())
    tree["env"] = {name: value for name, value in tree["env"].items() if name not in secrets} | plain
    tree["secrets"] = {name: value for name, value in tree["secrets"].items() if name not in plain} | secrets
    return parse(ClusterConfig, tree, "the step's settings for its RayJob")


def _resources(resources: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Fields of a node; where limit and request differ, the limit counts, for a node asks for all that it may use."""
    amounts = {**resources.get("requests", {}), **resources.get("limits", {})}
    unknown = sorted(amounts.keys() - {"cpu", "memory", GPU})
    if unknown:
        raise LensError(f"a RayJob's pods are given cpu, memory and {GPU}, not {unknown[0]}: leave it out of the step")
    fields: dict[str, Any] = {"cpu": "cpus", "memory": "memory", GPU: "gpus"}
    return {fields[name]: int(amount) if name == GPU else amount for name, amount in amounts.items()}


def _volumes(task: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    sources = {each["name"]: each for each in task.get("volumes") or ()}
    for mount in task.get("volume_mounts") or ():
        claim = sources.get(mount["name"], {}).get("persistentVolumeClaim")
        if claim is None or mount.get("subPath"):
            raise LensError(
                f"volume {mount['name']} of the step cannot be mounted into a RayJob's pods: only a whole "
                "PersistentVolumeClaim can"
            )
        read_only = bool(claim.get("readOnly") or mount.get("readOnly"))
        yield {"claim": claim["claimName"], "path": mount["mountPath"], "read_only": read_only}


def _environment(variables: Iterable[Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, Any]]:
    """Values, and references to Secrets. What is read from the step's own pod (`fieldRef`) says nothing of others."""
    plain, secrets = {}, {}
    for each in variables:
        source = each.get("valueFrom") or {}
        if "secretKeyRef" in source:
            secrets[each["name"]] = {"name": source["secretKeyRef"]["name"], "key": source["secretKeyRef"]["key"]}
        elif "configMapKeyRef" in source:
            raise LensError(f"{each['name']} of the step comes from a ConfigMap: a RayJob takes values and Secrets")
        elif not source:
            plain[each["name"]] = each.get("value", "")
    return plain, secrets
