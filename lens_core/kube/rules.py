"""Rules of KubeRay v1.7 (and of Kueue) that the CRD's schema does not hold.

KubeRay checks them after it has accepted a manifest, and the job then lies there as ValidationFailed; here they are
checked before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from lens_core.errors import LensError
from lens_core.kube.rayjob import MAX_NAME, QUEUE

_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_TOKEN_AUTH_SINCE = (2, 52, 0)
_TERMS = ("onSuccess", "onFailure")


def check(manifest: Mapping[str, Any]) -> None:
    """Check a RayJob or a RayCluster.

    Raises:
        LensError: with every rule that it breaks.
    """
    name = str(manifest.get("metadata", {}).get("name", ""))
    spec = manifest.get("spec", {})
    if manifest.get("kind") == "RayJob":
        broken = [*_name(name, MAX_NAME), *_job(spec), *_queue(manifest)]
        cluster, annotations = spec.get("rayClusterSpec"), manifest["metadata"].get("annotations", {})
    elif manifest.get("kind") == "RayCluster":
        broken = [*_name(name, _MAX_CLUSTER_NAME)]
        cluster, annotations = spec, manifest["metadata"].get("annotations", {})
    else:
        raise LensError(f"{name or 'the manifest'} is a {manifest.get('kind')}, neither a RayJob nor a RayCluster")
    if cluster is not None:
        broken += [*_cluster(cluster, annotations)]
    if broken:
        raise LensError(f"{manifest['kind']} {name} would be refused: {'; '.join(broken)}")


def _name(name: str, longest: int) -> Iterator[str]:
    if len(name) > longest:
        yield f"its name has {len(name)} characters, and KubeRay takes at most {longest}"
    if not _LABEL.fullmatch(name):
        yield "its name must be a DNS-1035 label: a-z, 0-9 and -, beginning with a letter and not ending with -"


def _job(spec: Mapping[str, Any]) -> Iterator[str]:
    selector, mode = spec.get("clusterSelector"), spec.get("submissionMode", "K8sJobMode")
    if (spec.get("rayClusterSpec") is None) == (not selector):
        yield "it needs one of rayClusterSpec and clusterSelector, and not both"
    if spec.get("suspend") and not spec.get("shutdownAfterJobFinishes"):
        yield "suspend needs shutdownAfterJobFinishes: true"
    if selector:
        if not selector.get("ray.io/cluster"):
            yield "clusterSelector needs the key ray.io/cluster"
        if spec.get("suspend"):
            yield "suspend and clusterSelector exclude each other"
        if mode == "SidecarMode":
            yield "submissionMode SidecarMode and clusterSelector exclude each other"
    if spec.get("backoffLimit", 0) > 0 and (selector or mode == "InteractiveMode"):
        yield "backoffLimit goes neither with clusterSelector nor with InteractiveMode"
    if mode == "SidecarMode":
        for field in ("submitterPodTemplate", "submitterConfig"):
            if field in spec:
                yield f"submissionMode SidecarMode has no {field}"
        head = spec.get("rayClusterSpec", {}).get("headGroupSpec", {}).get("template", {}).get("spec", {})
        if head.get("restartPolicy", "Never") != "Never":
            yield "submissionMode SidecarMode needs the head's restartPolicy Never"
    yield from _numbers(spec)
    yield from _deletion(spec)
    if spec.get("rayClusterSpec", {}).get("authOptions", {}).get("enableK8sTokenAuth"):
        yield "authOptions.enableK8sTokenAuth is not for RayJobs"
    try:
        environment = yaml.safe_load(spec.get("runtimeEnvYAML", "{}"))
    except yaml.YAMLError:
        environment = None
    if not isinstance(environment, dict):
        yield "runtimeEnvYAML must hold a mapping in YAML"


def _numbers(spec: Mapping[str, Any]) -> Iterator[str]:
    for field in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec.get(field, 1) <= 0:
            yield f"{field} must be above 0"
    for field in ("backoffLimit", "ttlSecondsAfterFinished"):
        if spec.get(field, 0) < 0:
            yield f"{field} must not be negative"


def _deletion(spec: Mapping[str, Any]) -> Iterator[str]:
    """What is left of a finished job, and when it goes."""
    strategy, shutdown = spec.get("deletionStrategy"), bool(spec.get("shutdownAfterJobFinishes"))
    ttl = spec.get("ttlSecondsAfterFinished", 0)
    if ttl > 0 and not shutdown:
        yield "ttlSecondsAfterFinished needs shutdownAfterJobFinishes: true"
    if strategy is None:
        return
    rules, terms = strategy.get("deletionRules"), [term for term in _TERMS if term in strategy]
    if rules and (shutdown or terms):
        yield f"deletionRules go neither with shutdownAfterJobFinishes nor with {' and '.join(_TERMS)}"
    if not rules and len(terms) != len(_TERMS):
        yield f"deletionStrategy needs deletionRules, or both of {' and '.join(_TERMS)}"
    for rule in rules or ():
        if len({"jobStatus", "jobDeploymentStatus"} & rule.get("condition", {}).keys()) != 1:
            yield "the condition of a deletion rule needs one of jobStatus and jobDeploymentStatus"


def _queue(manifest: Mapping[str, Any]) -> Iterator[str]:
    if QUEUE not in manifest["metadata"].get("labels", {}):
        return
    spec = manifest["spec"]
    if not spec.get("suspend"):
        yield f"the label {QUEUE} needs suspend: true, or the job may start before Kueue has seen it"
    if spec.get("rayClusterSpec", {}).get("enableInTreeAutoscaling"):
        yield f"the label {QUEUE} and enableInTreeAutoscaling exclude each other"


def _cluster(spec: Mapping[str, Any], annotations: Mapping[str, str]) -> Iterator[str]:
    head, workers = spec.get("headGroupSpec", {}), spec.get("workerGroupSpecs", [])
    scales, version = spec.get("enableInTreeAutoscaling", False), spec.get("autoscalerOptions", {}).get("version")
    for group in (head, *workers):
        yield from _group(group, scales, version)
    if "RAY_REDIS_ADDRESS" in _environment(head) and "gcsFaultToleranceOptions" not in spec:
        yield "RAY_REDIS_ADDRESS needs gcsFaultToleranceOptions"
    if "gcsFaultToleranceOptions" in spec and "ray.io/ft-enabled" in annotations:
        yield "gcsFaultToleranceOptions and the annotation ray.io/ft-enabled exclude each other"
    if "RAY_enable_autoscaler_v2" in _environment(head) and (version is not None or not scales):
        yield "RAY_enable_autoscaler_v2 gives way to enableInTreeAutoscaling with autoscalerOptions.version"
    yield from _authentication(spec.get("authOptions", {}), spec.get("rayVersion"))


def _group(group: Mapping[str, Any], scales: bool, version: str | None) -> Iterator[str]:
    """A head has no groupName, and no number of replicas."""
    is_worker = "groupName" in group
    name = f"worker group {group['groupName']}" if is_worker else "the head group"
    pod, params = group.get("template", {}).get("spec", {}), group.get("rayStartParams", {})
    if not pod.get("containers"):
        yield f"{name} has no container"
    if group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & params.keys():
        yield f"{name} has resources twice: in rayStartParams and in resources"
    if "labels" in params:
        yield f"{name} must give labels beside rayStartParams and not in them"
    if scales and version == "v2" and pod.get("restartPolicy", "Never") != "Never":
        yield f"{name} needs restartPolicy Never with autoscaler v2"
    if not is_worker:
        return
    least, most = group.get("minReplicas"), group.get("maxReplicas")
    if not scales and (least is None or most is None):
        yield f"{name} needs minReplicas and maxReplicas where nothing scales it"
    if least is not None and most is not None and not 0 <= least <= most:
        yield f"{name} needs 0 <= minReplicas <= maxReplicas, not {least} and {most}"
    if "idleTimeoutSeconds" in group and not (scales and version == "v2"):
        yield f"{name}: idleTimeoutSeconds needs autoscaler v2"
    if scales and group.get("suspend"):
        yield f"{name} cannot be suspended where it is scaled"


def _authentication(options: Mapping[str, Any], version: str | None) -> Iterator[str]:
    if options.get("mode") != "token":
        if options.get("enableK8sTokenAuth"):
            yield "authOptions.enableK8sTokenAuth needs mode: token"
        return
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", "" if version is None else version)
    if numbers is None or tuple(map(int, numbers.groups())) < _TOKEN_AUTH_SINCE:
        since = ".".join(map(str, _TOKEN_AUTH_SINCE))
        yield f"authOptions.mode token needs rayVersion {since} or newer, not {version}"
    if options.get("enableK8sTokenAuth") and options.get("secretName"):
        yield "authOptions.enableK8sTokenAuth and secretName exclude each other"


def _environment(group: Mapping[str, Any]) -> set[str]:
    """Names of the variables of Ray's container, which is the first."""
    containers = group.get("template", {}).get("spec", {}).get("containers", [])
    return {variable["name"] for variable in containers[0].get("env", [])} if containers else set()


_MAX_CLUSTER_NAME = 53
