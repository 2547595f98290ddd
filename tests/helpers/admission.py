"""What the admission policy of `k8s/components/admission` lets in, and what not."""

import copy
from collections.abc import Callable
from typing import Any

from lens_core.kube.rayjob import Job
from lens_core.kube.rayjob import manifest as rayjob
from lens_core.kube.settings import load_cluster
from tests.helpers.manifests import ROOT, Manifest, of_kind

PASSWORD = {"name": "P", "valueFrom": {"secretKeyRef": {"name": "mlflow-server", "key": "admin_password"}}}
"""The administrator's, in a variable."""


def launched(folder: str) -> Manifest:
    """The RayJob that `lens k8s launch` makes of an overlay's settings."""
    settings = load_cluster(ROOT / "k8s" / folder / "cluster.yaml")
    return rayjob(Job("r", "train", 0, ("lens", "train"), settings, "lens"))


def admitted() -> dict[str, Manifest]:
    """Ours, by name."""
    return {
        "launched, local": launched("overlays/local"),
        "launched, gpu": launched("overlays/gpu"),
        "launched, production": launched("overlays/production"),
        **{f"{folder}, {kind}": each for folder in ("ray/base", "ray/gpu") for kind in ("RayJob", "RayCluster")
           for each in of_kind(folder, kind).values()},
    }  # fmt: skip


def _cluster(manifest: Manifest) -> Manifest:
    return manifest["spec"].get("rayClusterSpec", manifest["spec"])


def _head(manifest: Manifest) -> Manifest:
    return _cluster(manifest)["headGroupSpec"]


def _pod(manifest: Manifest) -> Manifest:
    return _head(manifest)["template"]["spec"]


def _worker(manifest: Manifest) -> Manifest:
    return _cluster(manifest)["workerGroupSpecs"][0]["template"]["spec"]


VOLUMES, VARIABLES, BY_NAME = "volumes are emptyDir", "variables come from Secrets", "images are pulled"
ACCOUNT, FIELD, LABEL, KIND = "pods run as an account", "a field of the Ray cluster", "a label that", "only RayJobs"
CHANGES: dict[str, tuple[str, Callable[[Manifest], Any]]] = {
    "volume of a Secret": (VOLUMES, lambda m: _pod(m)["volumes"].append({"name": "s", "secret": {"secretName": "s3"}})),
    "projected Secret": (
        VOLUMES,
        lambda m: _pod(m)["volumes"].append({"name": "s", "projected": {"sources": [{"secret": {"name": "s3"}}]}}),
    ),
    "somebody else's claim": (
        VOLUMES,
        lambda m: _worker(m)["volumes"].append({"name": "d", "persistentVolumeClaim": {"claimName": "s3"}}),
    ),
    "path of the node": (VOLUMES, lambda m: _pod(m)["volumes"].append({"name": "h", "hostPath": {"path": "/"}})),
    "two sources at once": (
        VOLUMES,
        lambda m: _pod(m)["volumes"].append({"name": "b", "emptyDir": {}, "secret": {"secretName": "s3"}}),
    ),
    "variable of the head": (VARIABLES, lambda m: _pod(m)["containers"][0]["env"].append(PASSWORD)),
    "variable of a worker": (VARIABLES, lambda m: _worker(m)["containers"][0]["env"].append(PASSWORD)),
    "variable of a second container": (
        VARIABLES,
        lambda m: _pod(m)["containers"].append({"name": "c", "env": [PASSWORD]}),
    ),
    "variable of an init container": (
        VARIABLES,
        lambda m: _pod(m).update(initContainers=[{"name": "c", "env": [PASSWORD]}]),
    ),
    "all keys of a Secret": (
        VARIABLES,
        lambda m: _pod(m)["containers"][0].update(envFrom=[{"secretRef": {"name": "mlflow-server"}}]),
    ),
    "variable of the autoscaler": (VARIABLES, lambda m: _cluster(m).update(autoscalerOptions={"env": [PASSWORD]})),
    "Secret to pull by": (BY_NAME, lambda m: _pod(m).update(imagePullSecrets=[{"name": "s3"}])),
    "Secret of a token": (BY_NAME, lambda m: _cluster(m)["authOptions"].update(secretName="mlflow-server")),
    "account of the reaper": (ACCOUNT, lambda m: _pod(m).update(serviceAccountName="lens-reaper")),
    "account by its old name": (ACCOUNT, lambda m: _worker(m).update(serviceAccount="lens-launcher")),
    "Redis with a password": (
        FIELD,
        lambda m: _cluster(m).update(gcsFaultToleranceOptions={"redisPassword": {"valueFrom": PASSWORD["valueFrom"]}}),
    ),
    "collector of a history": (
        FIELD,
        lambda m: _cluster(m).update(historyServerOptions={"collectorOptions": {"env": [PASSWORD]}}),
    ),
    "ingress with a certificate": (
        FIELD,
        lambda m: _head(m).update(enableIngress=True, ingressOptions={"tls": [{"secretName": "s3"}]}),
    ),
    "service of its own": (FIELD, lambda m: _head(m).update(headService={"metadata": {"name": "s3"}})),
    "label of MLflow": (
        LABEL,
        lambda m: _head(m)["template"]["metadata"]["labels"].update({"app.kubernetes.io/name": "mlflow"}),
    ),
    "label that lets out": (
        LABEL,
        lambda m: _head(m)["template"]["metadata"]["labels"].update({"lens-grpo/calls-api-server": "true"}),
    ),
    "another kind": (KIND, lambda m: m.update(kind="RayService", spec={"rayClusterConfig": _cluster(m)})),
}
"""Name -> what the refusal begins with, and the change of one of ours that is refused."""
OF_JOBS: dict[str, tuple[str, Callable[[Manifest], Any]]] = {
    "variable of the pod that submits": (
        VARIABLES,
        lambda m: m["spec"]["submitterPodTemplate"]["spec"]["containers"][0]["env"].append(PASSWORD),
    ),
    "somebody else's cluster": (FIELD, lambda m: m["spec"].update(clusterSelector={"ray.io/cluster": "other"})),
}


def refused() -> dict[str, tuple[str, Manifest]]:
    """Name -> what the refusal begins with, and the manifest."""
    job, cluster = of_kind("ray/base", "RayJob")["ladder"], of_kind("ray/base", "RayCluster")["lens"]
    found = {}
    for manifest, changes in ((job, CHANGES | OF_JOBS), (cluster, CHANGES)):
        for name, (message, change) in changes.items():
            changed = copy.deepcopy(manifest)
            change(changed)
            found[f"{manifest['kind']}, {name}"] = (message, changed)
    return found
