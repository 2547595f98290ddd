"""Whether network policies let one pod speak to another, as Kubernetes reads them.

https://kubernetes.io/docs/concepts/services-networking/network-policies: a pod that no policy selects is free; one that
is selected may do what any of its policies allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Pod:
    """As policies see one: its labels, its namespace, and the labels of that."""

    labels: Labels
    namespace: str
    namespace_labels: Labels


def lets_out(policies: Iterable[Mapping[str, Any]], source: Pod, target: Pod, port: int) -> bool:
    """Whether the policies of the source's namespace let it reach a TCP port of `target`."""
    return _allows(policies, "Egress", source, target, port)


def lets_in(policies: Iterable[Mapping[str, Any]], source: Pod, target: Pod, port: int) -> bool:
    """Whether the policies of the target's namespace let `source` reach a TCP port of it."""
    return _allows(policies, "Ingress", target, source, port)


def _allows(policies: Iterable[Mapping[str, Any]], direction: str, pod: Pod, peer: Pod, port: int) -> bool:
    specs = [each["spec"] for each in policies if _is_subject(each["spec"], pod, direction)]
    key, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    rules = [rule for spec in specs for rule in spec.get(key) or ()]
    return not specs or any(_names(rule.get(peers), pod, peer) and _has_port(rule, port) for rule in rules)


def _is_subject(spec: Mapping[str, Any], pod: Pod, direction: str) -> bool:
    implied = ["Ingress", "Egress"] if "egress" in spec else ["Ingress"]
    return direction in spec.get("policyTypes", implied) and _selects(spec.get("podSelector", {}), pod.labels)


def _names(peers: Iterable[Mapping[str, Any]] | None, pod: Pod, peer: Pod) -> bool:
    """Whether a rule's list of peers has `peer`; an empty one has everybody. Addresses of pods are not looked at."""
    return not peers or any("ipBlock" not in each and _is_peer(each, pod, peer) for each in peers)


def _is_peer(rule: Mapping[str, Any], pod: Pod, peer: Pod) -> bool:
    of_namespace = rule.get("namespaceSelector")
    if of_namespace is None:
        is_there = peer.namespace == pod.namespace
    else:
        is_there = _selects(of_namespace, peer.namespace_labels)
    return is_there and _selects(rule.get("podSelector") or {}, peer.labels)


def _has_port(rule: Mapping[str, Any], port: int) -> bool:
    """Ports by name, which only the pod's containers know, count as open."""
    ports = [each for each in rule.get("ports") or () if each.get("protocol", "TCP") == "TCP"]
    return not rule.get("ports") or any(
        not isinstance(first := each.get("port", port), int) or first <= port <= each.get("endPort", first)
        for each in ports
    )


def _selects(selector: Mapping[str, Any], labels: Labels) -> bool:
    wanted = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items() and all(
        _meets(each, labels) for each in selector.get("matchExpressions") or ()
    )


def _meets(expression: Mapping[str, Any], labels: Labels) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    return {
        "Exists": value is not None,
        "DoesNotExist": value is None,
        "In": value in values,
        "NotIn": value not in values,
    }[expression["operator"]]
