"""An HTTP server that speaks as much of the Kubernetes API as a launcher needs, with the faults that real ones have.

It keeps RayJobs, Leases and pods, streams watches and logs, knows optimistic versions, owner references, foreground
deletion and tokens that expire. Connections are real, and so is the client that talks to it.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Manifest = dict[str, Any]
Key = tuple[str, str, str]
"""Plural, namespace, name."""
KINDS = {"rayjobs": "RayJob", "leases": "Lease", "pods": "Pod"}
PATH = re.compile(r"/(?:api/v1|apis/[\w.]+/v1)/namespaces/([\w-]+)/(\w+)(?:/([\w.-]+))?(/log)?")


@dataclass
class Fault:
    """What happens to the next `times` requests of `method` whose path and query hold `within`."""

    method: str
    within: str
    action: Callable[[_Handler], None]
    times: int = 1
    after: bool = False
    """The request is carried out first, and its answer is what suffers."""


def answer(status: int, message: str = "an injected fault") -> Callable[[_Handler], None]:
    return lambda handler: handler.fail(status, "InjectedFault", message)


def hang_up(handler: _Handler) -> None:
    """The connection ends without an answer."""
    handler.close_connection = True
    handler.connection.shutdown(2)


def slow(seconds: float) -> Callable[[_Handler], None]:
    """The answer comes late, and then says that the server had too much to do."""

    def act(handler: _Handler) -> None:
        time.sleep(seconds)
        answer(504)(handler)

    return act


@dataclass
class Event:
    version: int
    type: str
    plural: str
    object: Manifest


@dataclass
class KubeServer:
    """State and faults; `running()` serves them.

    Attributes:
        token: what requests must carry; None: anything goes.
        oldest: versions below this are gone (410), as after a compaction.
        operated: whether somebody else ends what is being deleted; otherwise that happens at once.
        requests: method and path of each.
        deletions: name and body of each deletion.
        cut_watches: so many watches break off in the middle of their next event.
    """

    token: str | None = None
    oldest: int = 0
    operated: bool = False
    validate: Callable[[Manifest], list[str]] = lambda manifest: []
    objects: dict[Key, Manifest] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    logs: dict[str, list[str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    deletions: list[tuple[str, Manifest]] = field(default_factory=list)
    others: dict[str, Manifest] = field(default_factory=dict)
    """What there is of other kinds, and of the API's own lists, by path."""
    lets_us: bool = True
    """Whether whoever asks may do everything; accounts may what the roles among `others` say."""
    cut_watches: int = 0
    cut_logs: int = 0
    version: int = 0
    changed: threading.Condition = field(default_factory=lambda: threading.Condition(threading.RLock()))
    port: int = 0
    _server: ThreadingHTTPServer | None = None

    # --- what tests and operators do ---

    @contextmanager
    def running(self) -> Iterator[KubeServer]:
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def start(self) -> None:
        """On the port of an earlier start, where there was one."""
        handler = type("Handler", (_Handler,), {"kube": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Watches end with it, as when an API server is restarted."""
        assert self._server is not None
        server, self._server = self._server, None
        server.shutdown()
        server.server_close()
        with self.changed:
            self.changed.notify_all()

    @property
    def is_serving(self) -> bool:
        return self._server is not None

    def write_kubeconfig(self, folder: Path, namespace: str = "lens") -> Path:
        """With a token that is read from a file, as a pod's is; `folder/token` holds it."""
        (folder / "token").write_text("" if self.token is None else self.token)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
            "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "test", "user": {"tokenFile": str(folder / "token")} if self.token else {}}],
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    def get(self, plural: str, name: str, namespace: str = "lens") -> Manifest | None:
        with self.changed:
            return copy.deepcopy(self.objects.get((plural, namespace, name)))

    def put(self, plural: str, manifest: Manifest, namespace: str = "lens") -> Manifest:
        """Create or replace, past all validation."""
        with self.changed:
            key = (plural, namespace, manifest["metadata"]["name"])
            stored = copy.deepcopy(manifest)
            metadata = stored["metadata"]
            metadata.setdefault("uid", str(uuid.uuid4()))
            metadata.setdefault("creationTimestamp", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
            metadata["namespace"] = namespace
            kind = "MODIFIED" if key in self.objects else "ADDED"
            self.objects[key] = stored
            self._record(kind, plural, stored)
            return copy.deepcopy(stored)

    def set_status(self, name: str, **status: Any) -> None:
        """Put fields into a RayJob's status; None takes one away."""
        with self.changed:
            rayjob = self.objects["rayjobs", "lens", name]
            rayjob["status"] = merge_patch(rayjob.get("status", {}), status)
            self._record("MODIFIED", "rayjobs", rayjob)

    def remove(self, plural: str, name: str, namespace: str = "lens") -> None:
        """At once, and with it what it owned."""
        with self.changed:
            gone = self.objects.pop((plural, namespace, name), None)
            if gone is None:
                return
            self._record("DELETED", plural, gone)
            uid = gone["metadata"]["uid"]
            for (kind, _, owned), each in list(self.objects.items()):
                if uid in {owner["uid"] for owner in each["metadata"].get("ownerReferences", [])}:
                    self.remove(kind, owned, namespace)

    def compact(self) -> None:
        """Forget all versions up to now: a watch from one of them is answered with 410."""
        with self.changed:
            self.version += 1
            self.oldest = self.version

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 20) -> Any:
        """What `condition` says once that is true; it is looked at after each change."""
        deadline = time.monotonic() + timeout_s
        with self.changed:
            while not (found := condition()):
                left = deadline - time.monotonic()
                assert left > 0, "the state that was waited for did not come"
                self.changed.wait(min(left, 0.1))
            return found

    def wait_for_job(self) -> str:
        """Name of the one RayJob, once it is there and watched."""
        self.wait_for(lambda: any("watch=True" in request for request in self.requests))
        (name,) = [name for plural, _, name in self.objects if plural == "rayjobs"]
        return name

    def write_log(self, pod: str, *lines: str) -> None:
        with self.changed:
            now = datetime.now(UTC)
            stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
            self.logs.setdefault(pod, []).extend(f"{stamp} {line}" for line in lines)
            self.changed.notify_all()

    def submitter(self, job: str, phase: str, number: int = 0) -> str:
        """Create, or bring into `phase`, a pod that submits `job`; its name."""
        name = f"{job}-{number}"
        existing = self.get("pods", name)
        new: Manifest = {"metadata": {"name": name, "labels": {"job-name": job}}, "spec": {"containers": []}}
        self.put("pods", {**(new if existing is None else existing), "status": {"phase": phase}})
        return name

    # --- what requests do ---

    def _record(self, kind: str, plural: str, manifest: Manifest) -> None:
        self.version += 1
        manifest["metadata"]["resourceVersion"] = str(self.version)
        self.events.append(Event(self.version, kind, plural, copy.deepcopy(manifest)))
        self.changed.notify_all()

    def fault_for(self, method: str, path: str, after: bool) -> Fault | None:
        with self.changed:
            for fault in self.faults:
                if fault.times and fault.after is after and fault.method == method and fault.within in path:
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    kube: KubeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Tests print nothing of their own."""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.kube.changed:
            self.kube.requests.append(f"{method} {self.path}")
            self.kube.changed.notify_all()
        fault = self.kube.fault_for(method, self.path, after=False)
        if fault is not None:
            fault.action(self)
            return
        if self.kube.token is not None and self.headers.get("Authorization") != f"Bearer {self.kube.token}":
            self.fail(401, "Unauthorized", "Unauthorized")
            return
        after = self.kube.fault_for(method, self.path, after=True)
        if after is not None:
            self._after = after
        try:
            self._route(method, json.loads(body) if body else {})
        except (BrokenPipeError, ConnectionResetError):  # the client has gone
            self.close_connection = True

    _after: Fault | None = None

    def _route(self, method: str, body: Manifest) -> None:
        url = urlsplit(self.path)
        match = PATH.fullmatch(url.path)
        if url.path.endswith("accessreviews"):
            allowed = self.kube.lets_us if "user" not in body["spec"] else is_allowed(self.kube.others, body["spec"])
            self._answer(201, body | {"status": {"allowed": allowed}})
            return
        if match is None or match[2] not in KINDS:
            self._other(url.path, parse_qs(url.query))
            return
        namespace, plural, name, is_log = match.groups()
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        key = (plural, namespace, name)
        if is_log:
            self._log(key, query)
        elif method == "POST":
            self._create(plural, namespace, body, query)
        elif name is None:
            self._watch(plural, namespace, query) if query.get("watch") == "True" else self._list(*key[:2], query)
        elif key not in self.kube.objects:
            self.fail(404, "NotFound", f'{plural} "{name}" not found')
        elif method == "GET":
            self._answer(200, self.kube.objects[key])
        elif method == "PATCH":
            self._patch(key, body)
        else:
            self._delete(key, body)

    def _other(self, path: str, query: dict[str, list[str]]) -> None:
        """One object, or a list of those below a path that ends in a plural."""
        others = self.kube.others
        below = [each for key, each in others.items() if key.rpartition("/")[0] == path]
        if path in others:
            self._answer(200, others[path])
        elif path.count("/") < 6 or path.rpartition("/")[2] not in ("endpointslices", "networkpolicies"):
            self.fail(404, "NotFound", f"the server has no {path}")
        else:
            chosen = {"labelSelector": query.get("labelSelector", [""])[-1]}
            self._answer(200, {"items": [each for each in below if _is_selected(each, chosen)]})

    def _create(self, plural: str, namespace: str, body: Manifest, query: dict[str, str]) -> None:
        kube = self.kube
        name = body["metadata"]["name"]
        problems = kube.validate(body) if plural == "rayjobs" and query.get("fieldValidation") == "Strict" else []
        with kube.changed:
            if problems:
                self.fail(400, "BadRequest", f"strict decoding error: {problems[0]}")
            elif (plural, namespace, name) in kube.objects:
                self.fail(409, "AlreadyExists", f'{plural} "{name}" already exists')
            else:
                self._answer(201, kube.put(plural, body, namespace))

    def _patch(self, key: Key, body: Manifest) -> None:
        with self.kube.changed:
            patched = merge_patch(self.kube.objects[key], body)
            self._answer(200, self.kube.put(key[0], patched, key[1]))

    def _delete(self, key: Key, body: Manifest) -> None:
        kube = self.kube
        with kube.changed:
            stored = kube.objects[key]
            wanted = body.get("preconditions", {}).get("uid")
            if wanted is not None and wanted != stored["metadata"]["uid"]:
                self.fail(409, "Conflict", f"the UID in the precondition ({wanted}) does not match")
                return
            kube.deletions.append((key[2], body))
            stored["metadata"]["deletionTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            kube._record("MODIFIED", key[0], stored)
            if not kube.operated:
                kube.remove(key[0], key[2], key[1])
            self._answer(200, stored)

    def _list(self, plural: str, namespace: str, query: dict[str, str]) -> None:
        with self.kube.changed:
            items = [
                each
                for (kind, home, _), each in self.kube.objects.items()
                if (kind, home) == (plural, namespace) and _is_selected(each, query)
            ]
            metadata = {"resourceVersion": str(self.kube.version)}
            self._answer(200, {"kind": f"{KINDS[plural]}List", "metadata": metadata, "items": items})

    def _watch(self, plural: str, namespace: str, query: dict[str, str]) -> None:
        kube = self.kube
        seen, ends = int(query["resourceVersion"]), time.monotonic() + float(query["timeoutSeconds"])
        self._begin_stream()
        if seen < kube.oldest:
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            self._chunk(json.dumps({"type": "ERROR", "object": status}) + "\n")
            self._end_stream()
            return
        while time.monotonic() < ends and kube.is_serving:
            with kube.changed:
                fresh = [each for each in kube.events if each.version > seen and each.plural == plural]
                if not fresh:
                    kube.changed.wait(0.1)
            for event in fresh:
                seen = event.version
                if event.object["metadata"]["namespace"] == namespace and _is_selected(event.object, query):
                    line = json.dumps({"type": event.type, "object": event.object}) + "\n"
                    if kube.cut_watches:
                        kube.cut_watches -= 1
                        self._chunk(line[: len(line) // 2])
                        hang_up(self)
                        return
                    self._chunk(line)
        if kube.is_serving:
            self._end_stream()
        else:
            hang_up(self)

    def _log(self, key: Key, query: dict[str, str]) -> None:
        kube, pod = self.kube, key[2]
        stored = kube.objects.get(key)
        if stored is not None and len(stored["spec"]["containers"]) > 1 and "container" not in query:
            self.fail(400, "BadRequest", f"a container name must be specified for pod {pod}")
            return
        begins = ""
        if "sinceSeconds" in query:
            moment = datetime.fromtimestamp(time.time() - int(query["sinceSeconds"]), UTC)
            begins = moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
        self._begin_stream()
        sent = 0
        while kube.is_serving:
            with kube.changed:
                lines = [line for line in kube.logs.get(pod, []) if line.partition(" ")[0] >= begins]
                stored = kube.objects.get(key)
                has_ended = stored is None or stored["status"]["phase"] != "Running" or query["follow"] == "False"
                if len(lines) == sent and not has_ended:
                    kube.changed.wait(0.1)
                    continue
            for line in lines[sent:]:
                sent += 1
                self._chunk(line + "\n")
                if kube.cut_logs:
                    kube.cut_logs -= 1
                    hang_up(self)
                    return
            if has_ended:
                self._end_stream()
                return
        hang_up(self)

    # --- HTTP ---

    def fail(self, status: int, reason: str, message: str) -> None:
        body = {"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": message}
        self._answer(status, body)

    def _answer(self, status: int, body: Manifest) -> None:
        if self._after is not None:
            fault, self._after = self._after, None
            fault.action(self)
            return
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")


_PATHS = {
    "Namespace": "/api/v1/namespaces/{name}",
    "Profile": "/apis/kubeflow.org/v1/profiles/{name}",
    "StorageClass": "/apis/storage.k8s.io/v1/storageclasses/{name}",
    **{
        kind: "/api/v1/namespaces/{namespace}/" + plural + "/{name}"
        for kind, plural in {
            "PersistentVolumeClaim": "persistentvolumeclaims",
            "Secret": "secrets",
            "Service": "services",
            "ServiceAccount": "serviceaccounts",
        }.items()
    },
    **{
        kind: "/apis/{apiVersion}/namespaces/{namespace}/" + plural + "/{name}"
        for kind, plural in {
            "EndpointSlice": "endpointslices",
            "LocalQueue": "localqueues",
            "NetworkPolicy": "networkpolicies",
            "Role": "roles",
            "RoleBinding": "rolebindings",
        }.items()
    },
}


def path_of(manifest: Manifest) -> str | None:
    """Where the API server keeps it; None for kinds that nobody asks for here."""
    place = _PATHS.get(manifest["kind"])
    return None if place is None else place.format(**{"namespace": "", **manifest, **manifest["metadata"]})


def is_allowed(others: dict[str, Manifest], spec: Manifest) -> bool:
    """Whether a RoleBinding gives the service account of an access review what it asks for."""
    asked = spec["resourceAttributes"]
    resource = "/".join(each for each in (asked["resource"], asked["subresource"]) if each)
    home = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{asked['namespace']}"
    return any(
        resource in rule["resources"] and asked["group"] in rule["apiGroups"] and asked["verb"] in rule["verbs"]
        for path, binding in others.items()
        if path.startswith(f"{home}/rolebindings/")
        and spec["user"] in {f"system:serviceaccount:{s['namespace']}:{s['name']}" for s in binding["subjects"]}
        for rule in others[f"{home}/roles/{binding['roleRef']['name']}"]["rules"]
    )


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def _is_selected(manifest: Manifest, query: dict[str, str]) -> bool:
    metadata = manifest["metadata"]
    labels = dict(each.split("=") for each in query.get("labelSelector", "").split(",") if each)
    field = query.get("fieldSelector", "").removeprefix("metadata.name=")
    return labels.items() <= metadata.get("labels", {}).items() and field in ("", metadata["name"])
