"""Cluster settings: what cannot work is refused on one line, before anything is sent."""

from pathlib import Path
from typing import Any

import pytest

from lens_core.config import parse
from lens_core.errors import LensError
from lens_core.kube.settings import ClusterConfig, load_cluster


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": {"gpu_product": "H100"}}, "needs gpus"),
        ({"workers": {"replicas": 3, "max_replicas": 2}}, "max_replicas 2 is below replicas 3"),
        ({"env": {"MLFLOW_TRACKING_PASSWORD": "x"}}, "MLFLOW_TRACKING_PASSWORD looks like a secret"),
        ({"env": {"HOME": "/root"}}, "HOME is set by the launcher"),
        ({"env": {"A-B": "x"}}, "'A-B' is no name"),
        ({"secrets": {"RAY_AUTH_TOKEN": {"name": "s", "key": "k"}}}, "RAY_AUTH_TOKEN is set by"),
        ({"env": {"A": "x"}, "secrets": {"A": {"name": "s", "key": "k"}}}, "A stands in env and in secrets"),
        ({"token_auth": False, "token_secret": "t"}, "token_secret belongs to token_auth"),
        ({"submission": "HTTPMode"}, "HTTPMode with token_auth needs token_secret"),
        ({"submission": "SidecarMode"}, "'K8sJobMode' or 'HTTPMode'"),
        ({"queue": "q", "workers": {"max_replicas": 2}}, "exclude each other"),
        ({"pre_running_s": 100, "active_s": 99}, "pre_running_s 100 exceeds active_s 99"),
        ({"head": {"memory": "8 GB"}}, "head.memory"),
        ({"head": {"cpus": "0"}}, "head.cpus"),
        ({"imagePullSecrets": ["p"]}, "imagePullSecrets"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(LensError, match=message):
        parse(ClusterConfig, {"image": "lens:1", **settings}, "cluster.yaml")


def test_load_cluster_applies_overrides(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("image: lens:1\nworkers: {gpus: 8}\n")
    settings = load_cluster(file, ["workers.replicas=4", "queue=gpus"])
    assert settings.workers is not None
    assert (settings.workers.replicas, settings.workers.gpus, settings.queue) == (4, 8, "gpus")


@pytest.mark.parametrize(
    ("text", "message"), [(None, "cannot be read"), ("[1]", "must hold a mapping"), ("a: [", "no valid YAML")]
)
def test_load_cluster_names_the_file(text: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(LensError, match=f"cluster.yaml.*{message}"):
        load_cluster(file)
