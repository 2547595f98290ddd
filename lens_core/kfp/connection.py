"""A KFP endpoint: every call with a deadline, patient with what passes, and no other errors than LensError.

What passes: a server that restarts or is overloaded, a dropped connection, an answer that does not come. The generated
client of KFP's API is used as it is: `kfp.Client` prints, writes to the home folder, and waits for ever for a run that
was cancelled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from lens_core.config import checked_address
from lens_core.errors import LensError, first_line

if TYPE_CHECKING:
    from kfp_server_api import ApiClient, Configuration

T = TypeVar("T")

PATIENCE_S = 60.0
"""So long a call is tried again."""
_CONNECT_S = 5
PASSING = (408, 429, 500, 502, 503, 504)
PASSING_WHILE_CREATING = (408, 409, 429, 502, 503, 504)
"""500 says that the server could not make it; 409, that somebody else has just made it."""
_ELSEWHERE = (301, 302, 303, 307, 308)
"""A gateway sends those who are not logged in to a login page."""
_OWN_TOKEN = ("KF_PIPELINES_SA_TOKEN_PATH", "/var/run/secrets/kubeflow/pipelines/token")
"""Where `kfp.client` looks, whose import takes a second."""
_MOST_CHARACTERS = 300
"""Of what a server says about its errors."""


@dataclass(frozen=True)
class Access:
    """Where the API is, and as whom it is asked.

    Without a token or a cookie, a pod's own token for KFP is used where there is one.
    """

    endpoint: str
    token: str | None = field(default=None, repr=False)
    cookie: str | None = field(default=None, repr=False)
    """NAME=VALUE, as a browser sends it."""
    namespace: str | None = None
    """Of a Kubeflow of several users; None: an installation without."""


class Connection:
    """A connection.

    Args:
        patience_s: how long a call is tried again.
        timeout_s: how long an answer may be silent.

    Raises:
        LensError: if the address or a credential cannot be used.
    """

    def __init__(self, access: Access, patience_s: float = PATIENCE_S, timeout_s: float = 30) -> None:
        try:
            import kfp_server_api as kfp
        except ImportError as error:
            raise LensError("KFP's client is not installed: pip install 'lens-grpo[kfp]'") from error

        self.address = _checked_address(access.endpoint)
        self.namespace = access.namespace
        self.patience_s = patience_s
        self.limits = {"_request_timeout": (_CONNECT_S, timeout_s)}
        """What each call of the generated client is given."""
        self._has_answered = False
        token, cookie = _checked(access.token, "token"), _checked(access.cookie, "cookie")
        if cookie is not None and "=" not in cookie:
            raise LensError("the cookie must read NAME=VALUE, such as authservice_session=...")
        self._secrets = [each for each in (token, cookie, *(cookie or "").split("=", 1)[1:]) if each]
        configuration = kfp.Configuration(host=self.address)
        configuration.retries = False  # `call` has its own, and a redirection is a login page
        configuration.api_key_prefix["authorization"] = "Bearer"
        configuration.ssl_ca_cert = os.environ.get("SSL_CERT_FILE")
        sent = [name for name, secret in (("the token", token), ("the cookie", cookie)) if secret is not None]
        self._credentials = sent or _use_own_token(configuration)
        if token is not None:
            configuration.api_key["authorization"] = token
        self.api: ApiClient = kfp.ApiClient(configuration, cookie=cookie)

    def call(self, what: str, request: Callable[[], T], passing: tuple[int, ...] = PASSING) -> T:
        """The answer to `request`; `what` names in errors what is asked for."""
        from kfp_server_api import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return Retrying(
                stop=stop_after_delay(self.patience_s),
                wait=wait_exponential_jitter(multiplier=0.2, max=10, jitter=0.2),
                retry=retry_if_exception(lambda error: self._passes(error, passing)),
                reraise=True,
            )(lambda: self._answer(request))
        except ApiException as error:
            raise LensError(self._hidden(self._refusal(what, error))) from error
        except (HTTPError, OSError) as error:
            raise LensError(self._hidden(self._silence(error))) from error

    def version(self) -> str:
        """Of the server, as it says it; the generated client's model of this answer leaves the field out."""

        def ask() -> Any:
            return self.api.call_api(
                "/apis/v2beta1/healthz",
                "GET",
                header_params={"Accept": "application/json"},
                response_type="object",
                auth_settings=["Bearer"],
                _return_http_data_only=True,
                **self.limits,
            )

        return str(self.call("its version", ask).get("tag_name", "unknown"))

    def _answer(self, request: Callable[[], T]) -> T:
        from kfp_server_api import ApiException

        try:
            answer = request()
        except AttributeError as error:  # the generated client's own, about a failed TLS handshake, which has no body
            if isinstance(error.__context__, ApiException):
                raise OSError(" ".join(str(error.__context__.reason).split())) from error
            raise
        self._has_answered = True
        kind = self.api.last_response.getheader("Content-Type") or "no type"
        if "json" not in kind:
            raise OSError(f"it answers with {kind} instead of JSON")
        return answer

    def _passes(self, error: BaseException, passing: tuple[int, ...]) -> bool:
        from kfp_server_api import ApiException
        from urllib3.exceptions import ConnectTimeoutError, HTTPError, LocationValueError

        if isinstance(error, ApiException):
            self._has_answered = True
            return error.status in passing
        if isinstance(error, ConnectTimeoutError):  # refused connections and unknown names among them
            return self._has_answered
        return isinstance(error, HTTPError) and not isinstance(error, LocationValueError)

    def _silence(self, error: Exception) -> str:
        return (
            f"the KFP endpoint {self.address} does not answer as one ({type(error).__name__}: {first_line(error)}): "
            "check the address (with kubectl: port-forward -n kubeflow svc/ml-pipeline 8888)"
        )

    def _refusal(self, what: str, error: Any) -> str:
        said = _said(error.body)
        answer = f"{error.status} {error.reason}{_direction(error)}"
        if error.status in (*_ELSEWHERE, 401, 403):
            return f"the KFP endpoint {self.address} refused {what}: {answer}; {self._remedy(error.status)}"
        if error.status == 404:
            if said is None:
                return f"the KFP endpoint {self.address} does not answer as one ({answer}): check the address"
            return (
                f"the KFP endpoint {self.address} knows nothing of {what}; an id is the last part of its page's address"
            )
        return f"the KFP endpoint {self.address} refused {what}: {answer}{'' if said is None else f': {said}'}"

    def _remedy(self, status: int) -> str:
        if not self._credentials:
            return "no credential was sent: set KFP_TOKEN, or KFP_COOKIE to that of a browser that is logged in"
        sent = " and ".join(self._credentials)
        if status == 403:
            where = "; a Kubeflow of several users wants --namespace" if self.namespace is None else ""
            return f"what was sent ({sent}) does not give the right to do this{where}"
        return f"what was sent ({sent}) is not accepted, or not any longer"

    def _hidden(self, text: str) -> str:
        """A server, or the HTTP library, may say what it was given."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _checked_address(endpoint: str) -> str:
    checked_address(endpoint, "the address of the KFP endpoint", "set KFP_TOKEN")
    try:
        parts = urlsplit(endpoint)
    except ValueError as error:
        raise LensError(f"the KFP endpoint {endpoint} is no address ({error})") from error
    if parts.scheme not in ("http", "https") or not parts.netloc or " " in endpoint:
        raise LensError(f"the KFP endpoint {endpoint} is no address such as http://localhost:8888")
    return endpoint.rstrip("/")


def _checked(secret: str | None, name: str) -> str | None:
    """Without blanks around it; an empty one is none."""
    secret = None if secret is None else secret.strip()
    if secret and not (secret.isascii() and secret.isprintable()):
        raise LensError(f"the {name} holds characters that cannot be sent: look how it was copied")
    return secret if secret else None


def _use_own_token(configuration: Configuration) -> list[str]:
    """A pod's own, read anew for each call, for it is replaced within the hour; the name of what is sent."""
    path = os.environ.get(*_OWN_TOKEN)
    if not os.path.exists(path):
        return []
    from kfp.client import ServiceAccountTokenVolumeCredentials

    configuration.refresh_api_key_hook = ServiceAccountTokenVolumeCredentials(path).refresh_api_key_hook
    configuration.api_key["authorization"] = "read by the hook"
    return [f"the service account's token ({path})"]


def _direction(error: Any) -> str:
    """Where a redirection leads to, without what a login page is told."""
    if error.status not in _ELSEWHERE:
        return ""
    parts = urlsplit(error.headers.get("Location") or "")
    return f" to {parts.scheme}://{parts.netloc}{parts.path}" if parts.netloc else f" to {parts.path}"


def _said(body: str | None) -> str | None:
    """What the API server says of an error; None where it was not the API server that answered."""
    try:
        fields = json.loads(body or "")
        return " ".join(str(fields.get("message") or fields["error"]).split())[:_MOST_CHARACTERS]
    except (ValueError, KeyError, AttributeError, RecursionError):
        return None
