"""What `k8s/` renders to, and what may be asked of it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
KUBECTL = Path(sys.executable).with_name("kubectl")
PLATFORMS = ("overlays/local", "overlays/gpu", "overlays/production")
RENDERED = (*PLATFORMS, "ray/base", "ray/gpu")
_TEMPLATES = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


@cache
def rendered(folder: str) -> tuple[Manifest, ...]:
    """All objects that kustomize makes of a folder of `k8s/`, or of another one, by its whole path."""
    text = subprocess.run([KUBECTL, "kustomize", ROOT / "k8s" / folder], check=True, capture_output=True).stdout
    return tuple(yaml.safe_load_all(text))


def with_components(place: Path, folder: str, *components: str, namespace: str = "lens") -> str:
    """A folder, made in `place`, that adds components to a folder of `k8s/`; `rendered` takes it."""
    paths = [os.path.relpath(ROOT / "k8s/components" / each, place) for each in components]
    return elsewhere(folder, namespace, place, components=paths)


def elsewhere(folder: str, namespace: str, place: Path, **fields: Any) -> str:
    """Put a folder of `k8s/` into another namespace, as a team writes it: one kustomization of its own, in `place`.

    Args:
        fields: what else the kustomization says.
    """
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": [os.path.relpath(ROOT / "k8s" / folder, place)],
    }
    (place / "kustomization.yaml").write_text(yaml.safe_dump(kustomization | fields), "utf-8")
    return str(place)


def of_kind(folder: str, kind: str) -> dict[str, Manifest]:
    """By name."""
    return {each["metadata"]["name"]: each for each in rendered(folder) if each["kind"] == kind}


def pod_templates(manifest: Manifest) -> Iterator[Manifest]:
    """Of everything that makes pods, Ray's kinds included."""
    spec = manifest.get("spec", {})
    if manifest["kind"] in _TEMPLATES:
        template = manifest
        for key in _TEMPLATES[manifest["kind"]]:
            template = template[key]
        yield template
    if manifest["kind"] in ("RayCluster", "RayJob"):
        cluster = spec.get("rayClusterSpec", spec)
        yield cluster["headGroupSpec"]["template"]
        yield from (group["template"] for group in cluster.get("workerGroupSpecs", []))
        if "submitterPodTemplate" in spec:
            yield spec["submitterPodTemplate"]


def allowed_hosts(folder: str, namespace: str) -> list[str]:
    """Of MLflow's pod in `namespace`, with its variables filled in as the kubelet does."""
    (container,) = of_kind(folder, "Deployment")["mlflow"]["spec"]["template"]["spec"]["containers"]
    settings = of_kind(folder, "ConfigMap")
    values: dict[str, str] = {}
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        if source.get("fieldRef") == {"fieldPath": "metadata.namespace"}:
            value = namespace
        elif "configMapKeyRef" in source:
            value = settings[source["configMapKeyRef"]["name"]]["data"][source["configMapKeyRef"]["key"]]
        else:
            value = variable.get("value", "")
        values[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], value)
    return values["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]


_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def violations(pod: Manifest) -> list[str]:
    """What the restricted Pod Security Standard, and our own rule of a read-only root, have against a pod's spec.

    https://kubernetes.io/docs/concepts/security/pod-security-standards
    """
    security = pod.get("securityContext", {})
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    if security.get("runAsNonRoot") is not True or security.get("runAsUser", 1) == 0:
        found.append("runAsNonRoot")
    if security.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        found.append("seccompProfile")
    found += ["volume" for each in pod.get("volumes", []) if not _VOLUMES & each.keys()]
    for container in containers(pod):
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            found.append("allowPrivilegeEscalation")
        if own.get("capabilities", {}).get("drop") != ["ALL"] or own.get("capabilities", {}).get("add"):
            found.append("capabilities")
        if own.get("readOnlyRootFilesystem") is not True:
            found.append("readOnlyRootFilesystem")
        if own.get("runAsNonRoot") is False or own.get("runAsUser") == 0:
            found.append("runAsNonRoot")
        found += ["hostPort" for port in container.get("ports", []) if "hostPort" in port]
    return found
