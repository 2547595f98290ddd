"""Network policies, on the examples of Kubernetes' own documentation and on the corners of its rules."""

from typing import Any

import pytest

from lens_core.kube.policies import Pod, lets_in, lets_out

DB = Pod({"role": "db"}, "default", {"kubernetes.io/metadata.name": "default"})
FRONTEND = Pod({"role": "frontend"}, "default", {"kubernetes.io/metadata.name": "default"})
OTHER = Pod({"role": "other"}, "default", {"kubernetes.io/metadata.name": "default"})
MY_PROJECT = Pod({"role": "other"}, "myproject", {"project": "myproject"})
STRANGER = Pod({"role": "frontend"}, "elsewhere", {})


def policy(spec: dict[str, Any], selector: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    chosen = {"matchLabels": {"role": "db"}} if selector is None else selector
    return [{"spec": {"podSelector": chosen, **spec}}]


# https://kubernetes.io/docs/concepts/services-networking/network-policies/#networkpolicy-resource
EXAMPLE = policy(
    {
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [
                    {"ipBlock": {"cidr": "172.17.0.0/16", "except": ["172.17.1.0/24"]}},
                    {"namespaceSelector": {"matchLabels": {"project": "myproject"}}},
                    {"podSelector": {"matchLabels": {"role": "frontend"}}},
                ],
                "ports": [{"protocol": "TCP", "port": 6379}],
            }
        ],
        "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/24"}}], "ports": [{"protocol": "TCP", "port": 5978}]}],
    }
)


@pytest.mark.parametrize(
    ("source", "port", "expected"),
    [(FRONTEND, 6379, True), (MY_PROJECT, 6379, True), (OTHER, 6379, False), (STRANGER, 6379, False),
     (FRONTEND, 6380, False)],
)  # fmt: skip
def test_example_of_the_documentation(source: Pod, port: int, expected: bool) -> None:
    assert lets_in(EXAMPLE, source, DB, port) is expected


def test_pod_that_no_policy_selects_is_free_and_addresses_are_no_pods() -> None:
    assert lets_out(EXAMPLE, FRONTEND, DB, 6379)
    assert not lets_out(EXAMPLE, DB, FRONTEND, 5978)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, False),  # default deny
        ({"ingress": [{}]}, True),  # allow all
        ({"ingress": [{"from": [], "ports": []}]}, True),
        ({"policyTypes": ["Egress"]}, True),  # says nothing of what comes in
        ({"ingress": [{"from": [{"podSelector": {}}]}]}, True),
        ({"ingress": [{"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"role": "x"}}}]}]}, False),
        ({"ingress": [{"ports": [{"port": 32000, "endPort": 32768}]}]}, False),
        ({"ingress": [{"ports": [{"port": 6000, "endPort": 6400}]}]}, True),
        ({"ingress": [{"ports": [{"port": 6379, "protocol": "UDP"}]}]}, False),
        ({"ingress": [{"ports": [{"protocol": "TCP"}]}]}, True),
        ({"ingress": [{"ports": [{"port": "redis"}]}]}, True),
    ],
)
def test_corners_of_ingress(spec: dict[str, Any], expected: bool) -> None:
    assert lets_in(policy(spec), FRONTEND, DB, 6379) is expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"operator": "In", "values": ["db", "cache"]}, True),
        ({"operator": "NotIn", "values": ["db"]}, False),
        ({"operator": "Exists"}, True),
        ({"operator": "DoesNotExist"}, False),
    ],
)
def test_expressions_select(expression: dict[str, Any], expected: bool) -> None:
    selector = {"matchExpressions": [{"key": "role", **expression}]}
    assert lets_in(policy({}, selector), FRONTEND, DB, 6379) is not expected


def test_what_one_policy_allows_no_other_takes_back() -> None:
    assert lets_in(policy({}) + EXAMPLE, FRONTEND, DB, 6379)
