"""What Argo makes of the retry policy of a compiled step.

KFP 2.5 to 2.17 hands `maxRetryCount`, `backoffDuration`, `backoffFactor` and `backoffMaxDuration` on as Argo's `limit`,
`duration`, `factor` and `maxDuration` (backend/src/v2/compiler/argocompiler/container.go), and sets no `retryPolicy`,
which then is OnFailure. The rules are those of `processNodeRetries` in Argo's workflow/controller/operator.go.
"""

from dataclasses import dataclass
from typing import Any, Literal

Phase = Literal["Failed", "Error"]
"""Failed: a container left with another code than 0, or the kubelet evicted the pod. Error: the pod was deleted (a
drained node, a lost one, a preemption), or a container of Argo's own failed."""


@dataclass(frozen=True)
class Attempt:
    """One pod of a step; times are seconds from the first pod's start.

    Attributes:
        ends_by_s: when Argo kills it; None: never.
    """

    starts_s: float
    ends_by_s: float | None = None


FIRST = Attempt(0.0)


def next_attempt(policy: dict[str, Any], earlier: int, failed_s: float, phase: Phase = "Failed") -> Attempt | None:
    """The pod after one that ended in `phase` at `failed_s`, and `earlier` others; None: the step has failed."""
    until_s = _seconds(policy.get("backoffMaxDuration", "0s"))  # KFP's default of the template's parameter
    starts_s = failed_s + _seconds(policy["backoffDuration"]) * policy["backoffFactor"] ** earlier
    if starts_s > until_s or phase == "Error" or earlier >= policy["maxRetryCount"]:
        return None
    return Attempt(starts_s, until_s)


def _seconds(duration: str) -> float:
    """As in the IR: protobuf's JSON of a Duration."""
    return float(duration.removesuffix("s"))
