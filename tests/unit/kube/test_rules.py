"""KubeRay's rules beyond the schema, one broken at a time."""

from collections.abc import Callable
from typing import Any

import pytest

from lens_core.errors import LensError
from lens_core.kube.rayjob import Job, manifest
from lens_core.kube.rules import check
from lens_core.kube.settings import ClusterConfig


def body(**settings: Any) -> dict[str, Any]:
    cluster = ClusterConfig.model_validate({"image": "lens:1", "workers": {"replicas": 2}, **settings})
    return manifest(Job("r", "train", 0, ("lens",), cluster, "lens"))


def spec(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda rayjob: rayjob["spec"].update(fields)


def cluster(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda rayjob: rayjob["spec"]["rayClusterSpec"].update(fields)


def workers(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda rayjob: rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"][0].update(fields)


def head(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda rayjob: rayjob["spec"]["rayClusterSpec"]["headGroupSpec"].update(fields)


def name(text: str) -> Callable[[dict[str, Any]], None]:
    return lambda rayjob: rayjob["metadata"].update(name=text)


def no_cluster(rayjob: dict[str, Any]) -> None:
    del rayjob["spec"]["rayClusterSpec"]


SCALED = cluster(enableInTreeAutoscaling=True, autoscalerOptions={"version": "v2"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (name("a" * 48), "48 characters.*at most 47"),
        (name("1-job"), "DNS-1035"),
        (name("Job"), "DNS-1035"),
        (name("job-"), "DNS-1035"),
        (no_cluster, "the head group has no container"),
        (spec(suspend=True, shutdownAfterJobFinishes=False), "suspend needs shutdownAfterJobFinishes"),
        (spec(activeDeadlineSeconds=0), "activeDeadlineSeconds must be above 0"),
        (spec(preRunningDeadlineSeconds=-1), "preRunningDeadlineSeconds must be above 0"),
        (spec(backoffLimit=-1), "backoffLimit must not be negative"),
        (spec(ttlSecondsAfterFinished=-1), "ttlSecondsAfterFinished must not be negative"),
        (spec(shutdownAfterJobFinishes=False), "ttlSecondsAfterFinished needs shutdownAfterJobFinishes"),
        (cluster(rayVersion="2.51.2"), "2.52.0 or newer, not 2.51.2"),
        (cluster(rayVersion=None), "2.52.0 or newer, not None"),
        (cluster(rayVersion="latest"), "2.52.0 or newer, not latest"),
        (head(template={"spec": {"containers": []}}), "the head group has no container"),
        (workers(minReplicas=None), "needs minReplicas and maxReplicas"),
        (workers(minReplicas=3), "0 <= minReplicas <= maxReplicas, not 3 and 2"),
    ],
)
def test_broken_rule_is_named(change: Callable[[dict[str, Any]], None], message: str) -> None:
    rayjob = body()
    check(rayjob)
    change(rayjob)
    with pytest.raises(LensError, match=message):
        check(rayjob)


@pytest.mark.parametrize(
    ("change", "message"),
    [(spec(suspend=False), "needs suspend: true"), (SCALED, "and enableInTreeAutoscaling exclude")],
)
def test_queue_has_rules_of_its_own(change: Callable[[dict[str, Any]], None], message: str) -> None:
    rayjob = body(queue="gpus")
    check(rayjob)
    change(rayjob)
    with pytest.raises(LensError, match=message):
        check(rayjob)


@pytest.mark.parametrize("version", ["2.52.0", "2.100.0", "3.0.0", "2.52.0-rc1"])
def test_token_auth_knows_newer_versions(version: str) -> None:
    rayjob = body()
    rayjob["spec"]["rayClusterSpec"]["rayVersion"] = version
    check(rayjob)


def test_all_broken_rules_are_named_at_once() -> None:
    rayjob = body()
    rayjob["spec"].update(activeDeadlineSeconds=0, backoffLimit=-1)
    with pytest.raises(LensError, match=r"activeDeadlineSeconds.*; .*backoffLimit"):
        check(rayjob)


def test_cluster_of_its_own_is_checked_by_the_same_rules() -> None:
    manifest = {"kind": "RayCluster", "metadata": {"name": "c"}, "spec": body()["spec"]["rayClusterSpec"]}
    check(manifest)
    manifest["metadata"] = {"name": "c" * 54}
    manifest["spec"]["rayVersion"] = "2.9.0"
    with pytest.raises(LensError, match=r"54 characters.*at most 53; .*2\.52\.0 or newer"):
        check(manifest)


def test_other_kinds_are_refused() -> None:
    with pytest.raises(LensError, match="p is a Pod"):
        check({"kind": "Pod", "metadata": {"name": "p"}})
