"""The API server, as far as a job needs it: every call with a deadline, patient with what passes, and no other errors
than LensError.

What passes: a server that restarts or is overloaded, a dropped connection, a token that has just been replaced, a quota
whose use has not been counted yet.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tenacity import RetryCallState, Retrying, stop_after_delay, wait_exponential_jitter

from lens_core.errors import LensError, first_line
from lens_core.kube.rayjob import GROUP, PLURAL, VERSION

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

logger = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE_S = 300.0
"""So long a call is tried again; an API server that is replaced is away for a minute or two."""
_TIMEOUTS_S = (5, 30)
"""To connect, and between two bytes of an answer."""
_PASSING = (408, 429, 500, 502, 503, 504)
_UNCOUNTED = "status unknown for quota"
"""Said with a 403 by a server that has not counted yet what a new quota, or a new kind in it, limits."""
_MOST_REFUSED = 3
"""So many times in a row a token may be refused, each time being read anew."""
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class ApiError(LensError):
    """An answer that no patience mends; `status` is HTTP's, or None where there was none in time."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Lease:
    """Who says that he is alive, when he last did, and how long that holds."""

    name: str
    holder: str
    renewed: datetime
    duration_s: int


class Api:
    """A connection as this pod's service account, or as KUBECONFIG says.

    Args:
        patience_s: how long a call is tried again.

    Raises:
        LensError: if there is no configuration to connect with.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._refused = 0
        self._client, self.namespace = _connect()

    def call(self, what: str, request: Callable[[ApiClient], T]) -> T:
        """The answer to `request`; `what` names it in errors.

        Raises:
            ApiError: with the status that is final, or None when patience is at an end.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer = Retrying(
                stop=stop_after_delay(self._patience_s),
                wait=wait_exponential_jitter(multiplier=0.2, max=10, jitter=0.2),
                retry=self._passes,
                reraise=True,
            )(lambda: request(self._client))
        except ApiException as error:
            raise ApiError(f"{what}: the API server answers {error.status} {_reason(error)}", error.status) from error
        except HTTPError as error:
            message = f"{what}: no answer from the API server for {self._patience_s:.0f} s: {first_line(error)}"
            raise ApiError(message, None) from error
        self._refused = 0
        return answer

    def _passes(self, attempt: RetryCallState) -> bool:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        error = None if attempt.outcome is None else attempt.outcome.exception()
        if isinstance(error, ApiException) and error.status == 401:
            self._refused += 1
            self._client, _ = _connect()
            return self._refused < _MOST_REFUSED
        if isinstance(error, ApiException):
            return error.status in _PASSING or (error.status == 403 and _UNCOUNTED in _reason(error))
        return isinstance(error, HTTPError)

    def read(self, what: str, path: str) -> dict[str, Any] | None:
        """Whatever lies at `path` of the API; None where there is nothing."""
        return _unless_missing(lambda: self._send(f"read {what}", "GET", path))

    def create(self, what: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Anything but a job; the answer of the API server."""
        return self._send(f"create {what}", "POST", path, body)

    def delete(self, what: str, path: str) -> None:
        """Anything but a job, if it is still there."""
        _unless_missing(lambda: self._send(f"delete {what}", "DELETE", path))

    def _send(self, what: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = self.call(
            what,
            lambda client: client.call_api(
                path,
                method,
                header_params={"Accept": "application/json", "Content-Type": "application/json"},
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=_TIMEOUTS_S,
            ),
        )
        return answer

    def create_job(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """A misspelt field is an error, and is not dropped in silence."""
        what = f"create RayJob {manifest['metadata']['name']}"
        namespace = manifest["metadata"]["namespace"]
        return self.call(
            what,
            lambda client: _custom(client).create_namespaced_custom_object(
                GROUP, VERSION, namespace, PLURAL, manifest, field_validation="Strict", _request_timeout=_TIMEOUTS_S
            ),
        )

    def job(self, namespace: str, name: str) -> dict[str, Any] | None:
        """None where there is none."""
        return _unless_missing(
            lambda: self.call(
                f"read RayJob {name}",
                lambda client: _custom(client).get_namespaced_custom_object(
                    GROUP, VERSION, namespace, PLURAL, name, _request_timeout=_TIMEOUTS_S
                ),
            )
        )

    def jobs(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        answer = self.call(
            "list RayJobs",
            lambda client: _custom(client).list_namespaced_custom_object(
                GROUP, VERSION, namespace, PLURAL, label_selector=selector, _request_timeout=_TIMEOUTS_S
            ),
        )
        found: list[dict[str, Any]] = answer["items"]
        return found

    def patch_job(self, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        return self.call(
            f"change RayJob {name}",
            lambda client: _custom(client).patch_namespaced_custom_object(
                GROUP, VERSION, namespace, PLURAL, name, patch, _request_timeout=_TIMEOUTS_S
            ),
        )

    def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """In the foreground: the job stays visible until all that it owned is gone. Another job of the name stays."""
        body = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        try:
            self.call(
                f"delete RayJob {name}",
                lambda client: _custom(client).delete_namespaced_custom_object(
                    GROUP, VERSION, namespace, PLURAL, name, body=body, _request_timeout=_TIMEOUTS_S
                ),
            )
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    def watch_job(self, namespace: str, name: str, version: str, seconds: int) -> Iterator[dict[str, Any] | None]:
        """Changes of a RayJob since `version`, None for its end; stops after `seconds`, or when anything goes wrong.

        Whoever watches looks at the job again after that, so that a version that is too old (410), a dropped connection
        and a restarted server are all one.
        """
        from kubernetes import watch
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        events = watch.Watch().stream(
            _custom(self._client).list_namespaced_custom_object,
            GROUP,
            VERSION,
            namespace,
            PLURAL,
            field_selector=f"metadata.name={name}",
            resource_version=version,
            timeout_seconds=seconds,
            _request_timeout=(_TIMEOUTS_S[0], seconds + _TIMEOUTS_S[0]),
        )
        try:
            with closing(events):
                for event in events:
                    yield None if event["type"] == "DELETED" else event["object"]
        except (ApiException, HTTPError, OSError, ValueError) as error:  # ValueError: half an event
            logger.info("the watch of RayJob %s broke off (%s) and begins again", name, first_line(error))

    def lease(self, namespace: str, name: str) -> Lease | None:
        """None where there is none."""
        from kubernetes.client import CoordinationV1Api

        return _unless_missing(
            lambda: _lease(
                self.call(
                    f"read Lease {name}",
                    lambda client: CoordinationV1Api(client).read_namespaced_lease(
                        name, namespace, _request_timeout=_TIMEOUTS_S
                    ),
                )
            )
        )

    def leases(self, namespace: str, selector: str) -> list[Lease]:
        from kubernetes.client import CoordinationV1Api

        answer = self.call(
            "list Leases",
            lambda client: CoordinationV1Api(client).list_namespaced_lease(
                namespace, label_selector=selector, _request_timeout=_TIMEOUTS_S
            ),
        )
        return [_lease(each) for each in answer.items]

    def create_lease(self, body: dict[str, Any]) -> None:
        from kubernetes.client import CoordinationV1Api

        self.call(
            f"create Lease {body['metadata']['name']}",
            lambda client: CoordinationV1Api(client).create_namespaced_lease(
                body["metadata"]["namespace"], body, _request_timeout=_TIMEOUTS_S
            ),
        )

    def patch_lease(self, namespace: str, name: str, spec: dict[str, Any]) -> Lease:
        """The Lease as it is after the change."""
        from kubernetes.client import CoordinationV1Api

        return _lease(
            self.call(
                f"renew Lease {name}",
                lambda client: CoordinationV1Api(client).patch_namespaced_lease(
                    name, namespace, {"spec": spec}, _request_timeout=_TIMEOUTS_S
                ),
            )
        )

    def pods(self, namespace: str, selector: str) -> list[Any]:
        from kubernetes.client import CoreV1Api

        answer = self.call(
            "list pods",
            lambda client: CoreV1Api(client).list_namespaced_pod(
                namespace, label_selector=selector, _request_timeout=_TIMEOUTS_S
            ),
        )
        found: list[Any] = answer.items
        return found

    def pod_uid(self, namespace: str, name: str) -> str | None:
        """None where there is no such pod."""
        from kubernetes.client import CoreV1Api

        pod = _unless_missing(
            lambda: self.call(
                f"read pod {name}",
                lambda client: CoreV1Api(client).read_namespaced_pod(name, namespace, _request_timeout=_TIMEOUTS_S),
            )
        )
        return None if pod is None else str(pod.metadata.uid)

    def log_stream(
        self,
        namespace: str,
        pod: str,
        since_s: int | None,
        quiet_s: float,
        container: str | None = None,
        follow: bool = True,
    ) -> Any:
        """A pod's log, as it is written or so far: a raw response to iterate over; lines begin with a time stamp.

        Args:
            container: whose log it is, in a pod that has several.
        """
        from kubernetes.client import CoreV1Api

        since = {} if since_s is None else {"since_seconds": since_s}
        whose = {} if container is None else {"container": container}
        return self.call(
            f"read the log of pod {pod}",
            lambda client: CoreV1Api(client).read_namespaced_pod_log(
                pod,
                namespace,
                follow=follow,
                timestamps=True,
                _preload_content=False,
                _request_timeout=(_TIMEOUTS_S[0], quiet_s),
                **since,
                **whose,
            ),
        )


def _connect() -> tuple[ApiClient, str]:
    """A client and the namespace that it is at home in."""
    try:
        from kubernetes import client, config
    except ImportError as error:
        raise LensError("the Kubernetes client is not installed: pip install 'lens-grpo[kube]'") from error
    configuration = client.Configuration()
    configuration.retries = False  # `Api.call` has its own
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
            config.load_incluster_config(configuration)
            namespace = _NAMESPACE_FILE.read_text(encoding="utf-8").strip()
        else:
            path = os.environ.get("KUBECONFIG")  # as it is now: the client remembers what it was when it was imported
            config.load_kube_config(path, client_configuration=configuration)
            _, context = config.list_kube_config_contexts(path)
            namespace = context["context"].get("namespace", "default")
    except (config.ConfigException, OSError) as error:
        raise LensError(f"no Kubernetes cluster to talk to: {first_line(error)}; set KUBECONFIG") from error
    return client.ApiClient(configuration), namespace


def _custom(client: ApiClient) -> Any:
    from kubernetes.client import CustomObjectsApi

    return CustomObjectsApi(client)


def _unless_missing(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _lease(lease: Any) -> Lease:
    spec = lease.spec
    return Lease(lease.metadata.name, spec.holder_identity, spec.renew_time, spec.lease_duration_seconds)


def _reason(error: Any) -> str:
    """What the server's Status says, else HTTP's reason."""
    try:
        return str(json.loads(error.body)["message"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return str(error.reason)
