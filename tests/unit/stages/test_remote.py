"""How many processes a RayJob trains with, and where it must leave its policy."""

from pathlib import Path
from typing import Any

import pytest

from lens_core.config import load_config
from lens_core.errors import LensError
from lens_core.kube.settings import ClusterConfig
from lens_core.stages.remote import train_as_rayjob, trainers


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 0),  # the head, without Ray
        ({"head": {"gpus": 8}}, 8),
        ({"workers": {"replicas": 3}}, 3),
        ({"workers": {"replicas": 3, "gpus": 4}}, 12),
    ],
)
def test_trainers_are_as_many_as_gpus_or_pods(settings: dict[str, Any], expected: int) -> None:
    assert trainers(load_config("demo"), ClusterConfig.model_validate({"image": "lens:1", **settings})) == expected


def test_rollout_workers_have_gpus_of_their_own() -> None:
    cluster = ClusterConfig.model_validate({"image": "lens:1", "workers": {"replicas": 2, "gpus": 4}})
    assert trainers(load_config("demo", ["train.rollouts={workers: 3}"]), cluster) == 5  # 2 x 4 - 3
    assert trainers(load_config("demo", ["train.rollouts={workers: 3, gpus_each: 0.5}"]), cluster) == 6  # - 1.5


def test_policy_must_come_back_by_a_volume_of_the_job(tmp_path: Path) -> None:
    volumes = [{"claim": "c", "path": "/data"}, {"claim": "r", "path": str(tmp_path), "read_only": True}]
    cluster = ClusterConfig.model_validate({"image": "lens:1", "volumes": volumes})
    for shared in (Path("/database/runs"), tmp_path):
        with pytest.raises(LensError, match="lies on no volume of the job"):
            train_as_rayjob(load_config("demo"), "lens", tmp_path, tmp_path, tmp_path, shared, "r", cluster, {})
