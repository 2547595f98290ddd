"""Rights at the API server that the code makes use of, and who has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lens_core.kube.api import Api
from lens_core.kube.rayjob import GROUP, PLURAL


@dataclass(frozen=True)
class Right:
    """To do `verb` to `resource`, such as `pods/log`, of an API group."""

    verb: str
    group: str
    resource: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


_LEASES = ("coordination.k8s.io", "leases")
LAUNCHER = (
    *(Right(verb, GROUP, PLURAL) for verb in ("create", "get", "watch", "patch", "delete")),
    *(Right(verb, *_LEASES) for verb in ("create", "patch")),
    Right("list", "", "pods"),
    Right("get", "", "pods/log"),
)
"""Of whoever calls `lens k8s launch`: a person, or the account of a pipeline's steps."""
JOB = (Right("get", *_LEASES),)
"""Of the head of a job, whose watchdog looks at the launcher's Lease."""


def lacking(api: Api, namespace: str, rights: Iterable[Right], account: str | None = None) -> list[Right]:
    """Those of `rights` that a service account of `namespace`, or we ourselves, do not have there.

    Args:
        account: name of the service account; None: we.

    Raises:
        ApiError: if we may not ask; about ourselves we always may.
    """
    return [right for right in rights if not _is_allowed(api, namespace, right, account)]


def _is_allowed(api: Api, namespace: str, right: Right, account: str | None) -> bool:
    resource, _, sub = right.resource.partition("/")
    asked = {"namespace": namespace, "verb": right.verb, "group": right.group, "resource": resource, "subresource": sub}
    kind, spec, where = "SelfSubjectAccessReview", {"resourceAttributes": asked}, ""
    if account is not None:
        kind, where = "LocalSubjectAccessReview", f"/namespaces/{namespace}"
        spec |= _identity(account, namespace)
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"namespace": namespace} if account else {},
        "spec": spec,
    }
    answer = api.create(kind, f"/apis/authorization.k8s.io/v1{where}/{kind.lower()}s", body)
    return bool(answer["status"]["allowed"])


def _identity(account: str, namespace: str) -> dict[str, Any]:
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    return {"user": f"system:serviceaccount:{namespace}:{account}", "groups": groups}
