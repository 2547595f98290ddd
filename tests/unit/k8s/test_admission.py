"""The admission policy of the cluster: whether it knows every way to a Secret, and every Secret of ours.

What its expressions come to, only an API server can tell: tests/kube/test_admission.py.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.admission import admitted, launched, refused
from tests.helpers.crds import errors
from tests.helpers.manifests import PLATFORMS, Manifest, of_kind, pod_templates, with_components

WITH_POLICY = ("overlays/gpu", "overlays/production")


def policy() -> Manifest:
    return of_kind("overlays/gpu", "ValidatingAdmissionPolicy")["lens-rayjobs"]["spec"]


def listed(name: str) -> set[str]:
    """Words of an expression's lists of keys, of all expressions that go over `name`."""
    expressions = [each["expression"] for each in policy()["validations"]]
    found = [re.findall(rf"\b{re.escape(name)}\.all\(key, key in \[([^\]]*)\]", each) for each in expressions]
    return {word for lists in found for text in lists for word in re.findall(r"'([\w.]+)'", text)}


def fields(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all fields of a CRD's schema."""
    for name, each in schema.get("properties", {}).items():
        yield (*path, name)
        yield from fields(each, (*path, name))
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            yield from fields(schema[inner], path)


def is_known(path: tuple[str, ...]) -> bool:
    """Whether the policy looks at a field that may name a Secret or an account, or refuses one around it."""
    if path[1] == "submitterPodTemplate":
        return is_known_in_pod(path[3:])
    assert path[1] == "rayClusterSpec", path
    if path[2] not in listed("variables.cluster"):
        return True
    if path[2] in ("headGroupSpec", "workerGroupSpecs"):
        return path[3] not in listed("g") or (path[3] == "template" and is_known_in_pod(path[5:]))
    return path[2:] == ("authOptions", "secretName") or (path[2] == "autoscalerOptions" and is_variable(path[3:]))


def is_known_in_pod(path: tuple[str, ...]) -> bool:
    if path[0] == "volumes":
        return path[1] not in listed("v")
    if path[0] in ("containers", "initContainers", "ephemeralContainers"):
        return is_variable(path[1:])
    return path[0] in ("serviceAccountName", "serviceAccount", "imagePullSecrets")


def is_variable(path: tuple[str, ...]) -> bool:
    return path[:3] == ("env", "valueFrom", "secretKeyRef") or path[0] == "envFrom"


def spec_of_a_rayjob(crds: Path) -> Any:
    crd = yaml.load((crds / "ray.io_rayjobs.yaml").read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    schema = next(each for each in crd["spec"]["versions"] if each["name"] == "v1")["schema"]["openAPIV3Schema"]
    return schema["properties"]["spec"]


def test_what_the_server_fills_in_is_let_in(crds: Path) -> None:
    """A policy sees a job with the defaults of its CRD."""
    cluster = spec_of_a_rayjob(crds)["properties"]["rayClusterSpec"]["properties"]
    groups = [cluster["headGroupSpec"], cluster["workerGroupSpecs"]["items"]]
    filled = {name for group in groups for name, each in group["properties"].items() if "default" in each}
    assert "numOfHosts" in filled <= listed("g")
    assert {name for name, each in cluster.items() if "default" in each} <= listed("variables.cluster")


def test_policy_knows_every_way_to_a_secret(crds: Path) -> None:
    """That KubeRay's own description of a RayJob has; a RayCluster is a part of it."""
    ways = [path for path in fields(spec_of_a_rayjob(crds), ("spec",))
            if re.search("secret|serviceaccount(name)?$", path[-1], re.IGNORECASE)]  # fmt: skip
    assert len(ways) > 50
    assert [".".join(path) for path in ways if not is_known(path)] == []


@pytest.mark.parametrize("folder", WITH_POLICY)
def test_what_is_listed_is_what_our_jobs_need(folder: str) -> None:
    spec = of_kind(folder, "ValidatingAdmissionPolicy")["lens-rayjobs"]["spec"]
    assert [each["name"] for each in spec["variables"][:3]] == [
        "secrets",
        "claims",
        "accounts",
    ]  # as the README patches them
    data = {each["name"]: set(yaml.safe_load(each["expression"])) for each in spec["variables"][:3]}
    jobs = [launched(folder), *of_kind("ray/base", "RayJob").values(), *of_kind("ray/base", "RayCluster").values()]
    pods = [template["spec"] for job in jobs for template in pod_templates(job)]
    variables = [each["valueFrom"]["secretKeyRef"]["name"] for pod in pods for container in pod["containers"]
                 for each in container["env"] if "valueFrom" in each]  # fmt: skip
    pulled = [each["name"] for pod in pods for each in pod.get("imagePullSecrets", [])]
    claims = [each["persistentVolumeClaim"]["claimName"] for pod in pods for each in pod["volumes"]
              if "persistentVolumeClaim" in each]  # fmt: skip
    assert {*variables, *pulled} <= data["secrets"] <= {"mlflow-client", "hub", "registry"}
    assert set(claims) == data["claims"]
    assert {pod["serviceAccountName"] for pod in pods if "serviceAccountName" in pod} == data["accounts"]


def test_labels_that_others_go_by_are_refused() -> None:
    """All that services and network policies select by, but for what KubeRay and Kubernetes set and what is ours."""
    selectors = [each["spec"]["selector"] for folder in PLATFORMS for each in of_kind(folder, "Service").values()]
    policies = [each["spec"] for folder in PLATFORMS for each in of_kind(folder, "NetworkPolicy").values()]
    selectors += [each["podSelector"].get("matchLabels", {}) for each in policies]
    keys = {key for selector in selectors for key in selector}
    expression = policy()["validations"][-1]["expression"]
    refused_keys = set(re.findall(r"'([\w./-]+)'", expression))
    assert keys - {"ray.io/is-ray-node", "ray.io/node-type", "app.kubernetes.io/managed-by"} == refused_keys


def test_policy_holds_in_the_namespace_and_refuses() -> None:
    binding = of_kind("overlays/gpu", "ValidatingAdmissionPolicyBinding")["lens-rayjobs"]["spec"]
    assert binding["policyName"] in of_kind("overlays/gpu", "ValidatingAdmissionPolicy")
    assert binding["validationActions"] == ["Deny"]
    assert "paramKind" not in policy()  # an API server may lose what it names
    assert binding["matchResources"]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "lens"}
    assert policy()["failurePolicy"] == "Fail"
    (rule,) = policy()["matchConstraints"]["resourceRules"]
    assert (rule["apiGroups"], rule["operations"], rule["resources"]) == (["ray.io"], ["CREATE", "UPDATE"], ["*"])


def test_component_is_for_every_overlay(tmp_path: Path) -> None:
    assert of_kind("overlays/local", "ValidatingAdmissionPolicy") == {}
    build = with_components(tmp_path, "overlays/local", "admission")
    assert of_kind(build, "ValidatingAdmissionPolicy").keys() == {"lens-rayjobs"}


def test_cases_of_the_cluster_tests_are_good_but_for_the_policy(crds: Path) -> None:
    """Else an API server would refuse them for something else."""
    for name, manifest in admitted().items():
        assert errors(manifest, crds) == [], name
    for name, (_, manifest) in refused().items():
        if manifest["kind"] != "RayService":
            assert errors(manifest, crds) == [], name
