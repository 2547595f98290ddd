"""What a namespace lacks for the jobs and pipeline steps of a cluster file, and the command that mends it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lens_core.cli.doctor import Check
from lens_core.errors import LensError
from lens_core.kube.api import Api, ApiError
from lens_core.kube.policies import Pod, lets_in, lets_out
from lens_core.kube.probe import probe
from lens_core.kube.rights import JOB, LAUNCHER, Right, lacking
from lens_core.kube.settings import ClusterConfig, Volume, load_cluster

_PATIENCE_S = 10.0
PROBE_S = 120.0
"""So long a pod is waited for: the image may have to be pulled."""
_STEPS = ("default-editor", "pipeline-runner")
"""Accounts that Kubeflow runs steps as: in a profile, and in its own namespace."""
_PAGE = "docs/namespace.md"
_INSTALL_KUBERAY = (
    "kubectl create namespace ray-system; kubectl create --namespace ray-system "
    "-k 'github.com/ray-project/kuberay/ray-operator/config/default?ref=v1.7.0'"
)
_INSTALL_KUEUE = (
    "helm install kueue oci://registry.k8s.io/kueue/charts/kueue --namespace kueue-system --create-namespace"
)
_PULLS = (".dockerconfigjson", ".dockercfg")
_RAYS_PODS = ({"ray.io/is-ray-node": "yes", "ray.io/node-type": kind} for kind in ("head", "worker"))
PODS = {"Ray's pods": tuple(_RAYS_PODS), "steps": ({"pipelines.kubeflow.org/v2_component": "true"},)}
"""Labels of the pods that speak to MLflow."""


def examine_namespace(file: Path, namespace: str | None = None, probe_s: float = PROBE_S) -> list[Check]:
    """All checks; one that may not be made is `missing`, and the others go on. What is made for them is removed.

    Args:
        file: settings of the cluster.
        namespace: None: that of the settings, or the kubeconfig's.
        probe_s: how long a pod may take to start.

    Raises:
        LensError: if the file is not valid.
    """
    settings = load_cluster(file)
    try:
        api = Api(_PATIENCE_S)
        place = Place(api, namespace or settings.namespace or api.namespace, settings, file)
        if place.labels is None:
            return [place.absent()]
    except LensError as error:
        remedy = "set KUBECONFIG, and look with: kubectl auth whoami"
        return [Check("cluster", "broken", str(error), remedy)]
    looks: dict[str, Callable[[], Check | Iterable[Check]]] = {
        "namespace": place.namespace,
        "KubeRay": place.kuberay,
        "rights": place.rights,
        f"account {settings.service_account}": place.account,
        "steps' account": place.steps,
        **{f"volume {each.claim}": partial(place.volume, each) for each in settings.volumes},
        **{f"secret {name}": partial(place.secret, name) for name in place.secrets},
        "queue": place.queue,
        "MLflow": place.mlflow,
    }
    checks = [check for name, look in looks.items() for check in place.looked(name, look)]
    if any(check.status == "broken" and check.name.startswith(("volume", "secret")) for check in checks):
        return checks  # no pod would start
    return [*checks, *place.looked("a pod", lambda: place.pod(probe_s))]


@dataclass(frozen=True)
class Place:
    """A namespace, as the settings want to use it."""

    api: Api
    name: str
    settings: ClusterConfig
    file: Path

    def looked(self, name: str, look: Callable[[], Check | Iterable[Check]]) -> list[Check]:
        try:
            found = look()
            return [found] if isinstance(found, Check) else list(found)
        except ApiError as error:
            return [Check(name, "missing", f"not looked at: {error}", f"let somebody with the right run {self.again}")]

    @property
    def again(self) -> str:
        return shlex.join(["lens", "doctor", "--cluster", str(self.file), "--namespace", self.name])

    @property
    def apply(self) -> str:
        """The command that makes what kustomize makes: of the folder of the settings, if it is one of kustomize's."""
        folder = self.file.parent
        if (folder / "kustomization.yaml").exists():
            return shlex.join(["kubectl", "apply", "-k", str(folder)])
        return f"kubectl apply -k FOLDER, with a kustomization as {_PAGE} shows it"

    def read(self, what: str, plural: str, name: str, group: str = "v1") -> dict[str, Any] | None:
        """An object of the namespace."""
        return self.api.read(what, f"{_root(group)}/namespaces/{self.name}/{plural}/{name}")

    # --- the namespace itself ---

    @cached_property
    def object(self) -> dict[str, Any] | None:
        return self.api.read(f"namespace {self.name}", f"/api/v1/namespaces/{self.name}")

    @property
    def labels(self) -> dict[str, str] | None:
        """None: there is no such namespace."""
        return None if self.object is None else self.object["metadata"].get("labels", {})

    def absent(self) -> Check:
        remedy = f"a Profile first ({_PAGE})" if self.has_profiles else self.apply
        return Check("namespace", "broken", f"there is no namespace {self.name}", remedy)

    def namespace(self) -> Check:
        """Kubeflow takes no namespace for a profile that has another owner, or none."""
        assert self.object is not None
        owner = self.object["metadata"].get("annotations", {}).get("owner")
        if not self.has_profiles or self.name == "kubeflow":
            return Check("namespace", "ok", self.name)
        profile = self.api.read(f"profile {self.name}", f"/apis/kubeflow.org/v1/profiles/{self.name}")
        if profile is None:
            found = f"{self.name} is not the namespace of a Kubeflow profile: pipelines do not run there"
            return Check("namespace", "missing", found, f"a Profile ({_PAGE})")
        wanted = profile["spec"]["owner"]["name"]
        if owner != wanted:
            found = f"the annotation owner of {self.name} is {owner}, the profile's is {wanted}: Kubeflow refuses it"
            annotate = ["kubectl", "annotate", "--overwrite", "namespace", self.name, f"owner={wanted}"]
            return Check("namespace", "broken", found, shlex.join(annotate))
        return Check("namespace", "ok", f"{self.name}, of {owner}")

    @cached_property
    def has_profiles(self) -> bool:
        return self._serves("kubeflow.org/v1", "profiles")

    def _serves(self, group: str, plural: str) -> bool:
        found = self.api.read(f"the API {group}", f"/apis/{group}")
        return found is not None and plural in {each["name"] for each in found["resources"]}

    # --- who may do what ---

    def kuberay(self) -> Check:
        if self._serves("ray.io/v1", "rayjobs"):
            return Check("KubeRay", "ok", "its RayJobs are known")
        return Check("KubeRay", "broken", "the cluster knows no RayJobs", _INSTALL_KUBERAY)

    def rights(self) -> Check:
        missing = lacking(self.api, self.name, LAUNCHER)
        if not missing:
            return Check("rights", "ok", "you may launch jobs")
        bind = self._bind("lens-launcher-of-USER", "lens-launcher", "--user=USER  # USER: kubectl auth whoami")
        return Check("rights", "broken", f"you may not {_listed(missing)}", bind)

    def account(self) -> Check:
        name = self.settings.service_account
        if self.read(f"account {name}", "serviceaccounts", name) is None:
            return Check(f"account {name}", "broken", f"{self.name} has no such account", self.apply)
        return self._may(f"account {name}", name, "lens-job", JOB)

    def steps(self) -> Iterator[Check]:
        """Nothing where Kubeflow runs no steps."""
        for name in self.step_accounts:
            yield self._may(f"steps' account {name}", name, "lens-launcher", LAUNCHER)

    @cached_property
    def step_accounts(self) -> list[str]:
        """Those of `_STEPS` that are there."""
        return [name for name in _STEPS if self.read(f"account {name}", "serviceaccounts", name) is not None]

    def _may(self, check: str, account: str, role: str, rights: Iterable[Right]) -> Check:
        missing = lacking(self.api, self.name, rights, account)
        if not missing:
            return Check(check, "ok", f"may do what {role} may")
        if self.read(f"role {role}", "roles", role, "rbac.authorization.k8s.io/v1") is None:
            remedy = self.apply
        else:
            remedy = self._bind(f"{role}-of-{account}", role, f"--serviceaccount={self.name}:{account}")
        return Check(check, "broken", f"may not {_listed(missing)}", remedy)

    def _bind(self, name: str, role: str, whom: str) -> str:
        return f"kubectl create rolebinding {name} --namespace {self.name} --role={role} {whom}"

    # --- what pods find there ---

    def volume(self, volume: Volume) -> Check:
        name = f"volume {volume.claim}"
        claim = self.read(f"claim {volume.claim}", "persistentvolumeclaims", volume.claim)
        if claim is None:
            return Check(name, "broken", f"{self.name} has no such claim", self.apply)
        phase = claim.get("status", {}).get("phase", "Pending")
        if phase == "Bound":
            return Check(name, "ok", f"bound, {', '.join(claim['spec']['accessModes'])}")
        return self._unbound(claim, phase)

    def _unbound(self, claim: dict[str, Any], phase: str) -> Check:
        """Many storage classes wait for the first pod: that is in order."""
        name, storage = claim["metadata"]["name"], claim["spec"].get("storageClassName")
        check, fix = f"volume {name}", f"kubectl describe persistentvolumeclaim {name} --namespace {self.name}"
        if phase != "Pending":
            return Check(check, "broken", phase, fix)
        another = f"name one of `kubectl get storageclasses` in the kustomization, delete the claim, then {self.apply}"
        if storage is None:
            return Check(check, "broken", "names no storage class, and the cluster has no default", another)
        path = f"/apis/storage.k8s.io/v1/storageclasses/{storage}"
        found = self.api.read(f"storage class {storage}", path)
        if found is None:
            return Check(check, "broken", f"there is no storage class {storage}, and no volume of it", another)
        if found.get("volumeBindingMode") == "WaitForFirstConsumer":
            return Check(check, "ok", f"is bound with the first pod that uses it (storage class {storage})")
        return Check(check, "broken", f"no volume of storage class {storage} yet", fix)

    @cached_property
    def secrets(self) -> dict[str, list[str]]:
        """Name -> the keys that pods read, of all Secrets that the settings name."""
        found: dict[str, list[str]] = {name: [] for name in self.settings.image_pull_secrets}
        for each in self.settings.secrets.values():
            found.setdefault(each.name, []).append(each.key)
        if self.settings.token_secret is not None:
            found.setdefault(self.settings.token_secret, []).append("auth_token")
        return found

    def secret(self, name: str) -> Check:
        """Which keys it has; what is in them stays there."""
        check, wanted = f"secret {name}", self.secrets[name]
        found = self.read(f"Secret {name}", "secrets", name)
        if found is None:
            return Check(check, "broken", f"{self.name} has no such Secret", self._create_secret(name, wanted))
        keys = {key for key, value in (found.get("data") or {}).items() if value}
        missing = [key for key in wanted if key not in keys]
        if missing:
            patch = '{"stringData": {' + ", ".join(f'"{key}": "..."' for key in missing) + "}}"
            fix = ["kubectl", "patch", "secret", name, "--namespace", self.name, "--type=merge", f"--patch={patch}"]
            return Check(check, "broken", f"without {', '.join(missing)}, or empty there", shlex.join(fix))
        if not wanted and not keys.intersection(_PULLS):
            return Check(check, "broken", "is no pull secret", self._create_secret(name, wanted))
        return Check(check, "ok", f"has {', '.join(wanted or sorted(keys))}")

    def _create_secret(self, name: str, keys: list[str]) -> str:
        where = f"{name} --namespace {self.name}"
        if keys:
            values = " ".join(f"--from-literal={key}=..." for key in keys)
            return f"kubectl create secret generic {where} {values}"
        first = self.settings.image.partition("/")[0]
        is_server = "/" in self.settings.image and ("." in first or ":" in first)
        server = first if is_server else "https://index.docker.io/v1/"
        who = f"--docker-server={server} --docker-username=... --docker-password=..."
        return f"kubectl create secret docker-registry {where} {who}"

    def queue(self) -> Iterator[Check]:
        """Nothing where the settings name none."""
        name = self.settings.queue
        if name is None:
            return
        served = self.api.read("the API of Kueue", "/apis/kueue.x-k8s.io")
        if served is None:
            yield Check(f"queue {name}", "broken", "the cluster has no Kueue", _INSTALL_KUEUE)
            return
        group = served["preferredVersion"]["groupVersion"]
        queue = self.read(f"LocalQueue {name}", "localqueues", name, group)
        if queue is None:
            yield Check(f"queue {name}", "broken", f"{self.name} has no LocalQueue {name}", self.apply)
            return
        states = {each["type"]: each for each in queue.get("status", {}).get("conditions", [])}
        if states.get("Active", {}).get("status") == "False":
            fix = f"kubectl describe clusterqueue {queue['spec']['clusterQueue']}"
            yield Check(f"queue {name}", "broken", f"admits nothing: {states['Active'].get('message')}", fix)
        else:
            yield Check(f"queue {name}", "ok", f"of ClusterQueue {queue['spec']['clusterQueue']}")

    # --- MLflow ---

    def mlflow(self) -> Iterator[Check]:
        """Nothing where the settings name no server."""
        uri = self.settings.env.get("MLFLOW_TRACKING_URI")
        if uri is None or not uri.startswith("http"):
            return
        address = urlsplit(uri)
        service, home, is_sure = _service(str(address.hostname), self.name)
        found = self._in(home, f"Service {service}", f"services/{service}") if service else None
        if found is None and not is_sure:
            yield Check("MLflow", "ok", f"{uri} lies outside of the cluster, and is not looked at")
            return
        if found is None:
            fix = f"in {self.file}, with its namespace: MLFLOW_TRACKING_URI: http://mlflow.NAMESPACE.svc:5000"
            yield Check("MLflow", "broken", f"{uri}: {home} has no Service {service}", fix)
            return
        port = address.port or (443 if address.scheme == "https" else 80)
        ports = [each["port"] for each in found["spec"]["ports"]]
        if port not in ports:
            fix = f"in {self.file}: MLFLOW_TRACKING_URI: {address.scheme}://{address.hostname}:{ports[0]}"
            yield Check("MLflow", "broken", f"Service {service} of {home} listens at {ports[0]}, not at {port}", fix)
            return
        yield from self._behind(service, home, uri, found["spec"].get("selector") or {})

    def _behind(self, service: str, home: str, uri: str, selector: dict[str, str]) -> Iterator[Check]:
        chosen = f"endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{service}"
        slices = (self._in(home, "its endpoints", chosen, "discovery.k8s.io/v1") or {}).get("items", [])
        ready = [each for each in slices if any(map(_is_ready, each.get("endpoints") or ()))]
        if not ready:
            labels = ",".join(f"{key}={value}" for key, value in selector.items())
            fix = f"kubectl describe pods --namespace {home} --selector {labels}"
            yield Check("MLflow", "broken", f"{uri}: no pod of Service {service} is ready", fix)
            return
        blocked = self._blocked(home, selector, int(ready[0]["ports"][0]["port"]))
        yield blocked if blocked is not None else Check("MLflow", "ok", f"{uri}: Service {service} of {home}, ready")

    def _blocked(self, home: str, selector: dict[str, str], port: int) -> Check | None:
        """By a network policy; None: by none."""
        theirs = self.api.read(f"namespace {home}", f"/api/v1/namespaces/{home}") or {"metadata": {}}
        target = Pod(selector, home, theirs["metadata"].get("labels", {}))
        kinds = [each for each in PODS if each != "steps" or self.step_accounts]
        ours, at_home = (self._policies(each) for each in (self.name, home))
        for kind, labels in [(each, labels) for each in kinds for labels in PODS[each]]:
            source = Pod(labels, self.name, self.labels or {})
            if not lets_out(ours, source, target, port):
                found = f"no network policy of {self.name} lets {kind} out to it"
                fix = f"component mlflow-elsewhere, or pipelines ({_PAGE}), then {self.apply}"
                return Check("MLflow", "broken", found, fix)
            if not lets_in(at_home, source, target, port):
                found = f"no network policy of {home} lets {kind} of {self.name} in"
                fix = f"kubectl label namespace {self.name} lens-grpo/uses-mlflow=true"
                return Check("MLflow", "broken", found, fix if home != self.name else self.apply)
        return None

    def _policies(self, namespace: str) -> list[dict[str, Any]]:
        found = self._in(namespace, "network policies", "networkpolicies", "networking.k8s.io/v1")
        return [] if found is None else list(found["items"])

    def _in(self, namespace: str, what: str, rest: str, group: str = "v1") -> dict[str, Any] | None:
        return self.api.read(f"{what} of {namespace}", f"{_root(group)}/namespaces/{namespace}/{rest}")

    # --- a pod ---

    def pod(self, timeout_s: float) -> Check:
        """Volumes that cannot be written to are found no other way."""
        where = [each.path for each in self.settings.volumes if not each.read_only]
        wrong = probe(self.api, self.name, self.settings, timeout_s)
        if wrong is None:
            found = f"user {self.settings.run_as} writes to {', '.join(where)}" if where else "starts"
            return Check("a pod", "ok", found)
        if "ermission denied" in wrong:
            fix = shlex.join(["lens", "k8s", "launch", "--cluster", str(self.file), "--run", "volume", "--", "true"])
            return Check("a pod", "broken", f"user {self.settings.run_as} may not write: {wrong}", fix)
        return Check("a pod", "broken", f"does not run: {wrong}", f"kubectl get events --namespace {self.name}")


def _is_ready(endpoint: dict[str, Any]) -> bool:
    """Where nothing is said of it, Kubernetes takes it for ready."""
    return endpoint.get("conditions", {}).get("ready") is not False


def _root(group: str) -> str:
    return "/api/v1" if group == "v1" else f"/apis/{group}"


def _listed(rights: Iterable[Right]) -> str:
    return ", ".join(map(str, rights))


def _service(host: str, namespace: str) -> tuple[str, str, bool]:
    """Name and namespace of the Service that `host` can mean in `namespace`, and whether it can mean nothing else.

    `mlflow` -> ("mlflow", namespace, True); `mlflow.lens.svc` -> ("mlflow", "lens", True); `mlflow.lens` may as well
    be a host on the internet; `mlflow.example.com` is one, and has no name here.
    """
    name, *rest = host.split(".")
    if not rest:
        return name, namespace, True
    if len(rest) == 1:
        return name, rest[0], False
    return (name, rest[0], True) if rest[1] == "svc" else ("", "", False)
