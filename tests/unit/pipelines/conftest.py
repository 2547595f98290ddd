"""Pipelines as they are compiled, with every setting of a cluster."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lens_core.kube.settings import ClusterConfig, load_cluster
from lens_pipelines.catalogue import build_pipeline
from lens_pipelines.site import Site

FOLDER = Path(__file__).parent


class Compiled:
    """The two documents of an IR, and what tests ask of them.

    Attributes:
        text: all of it.
        spec: the pipeline.
        platform: what Kubernetes is told beyond that, by executor.
    """

    def __init__(self, path: Path) -> None:
        self.text = path.read_text()
        documents = list(yaml.safe_load_all(self.text))
        self.spec: dict[str, Any] = documents[0]
        platforms = documents[1]["platforms"]["kubernetes"]["deploymentSpec"] if len(documents) > 1 else {}
        self.platform: dict[str, Any] = platforms.get("executors", {})

    @property
    def tasks(self) -> dict[str, Any]:
        """Steps by component, of the pipeline and of what is nested in it."""
        components = self.spec["components"]
        dags = [self.spec["root"]["dag"], *(each["dag"] for each in components.values() if "dag" in each)]
        return {
            task["componentRef"]["name"].removeprefix("comp-"): task
            for dag in dags
            for task in dag["tasks"].values()
            if "executorLabel" in components[task["componentRef"]["name"]]
        }

    def container(self, component: str) -> dict[str, Any]:
        return dict(self.spec["deploymentSpec"]["executors"][f"exec-{component}"]["container"])


@pytest.fixture(scope="session")
def cluster() -> ClusterConfig:
    return load_cluster(FOLDER / "cluster.yaml")


@pytest.fixture(scope="session")
def compiled(cluster: ClusterConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Compiled]:
    """`lens`, `sweep` and `evaluate`; `lens-rayjobs` and `sweep-rayjobs`."""
    from kfp import compiler

    folder = tmp_path_factory.mktemp("ir")
    wanted = {"lens": False, "sweep": False, "evaluate": False, "lens-rayjobs": True, "sweep-rayjobs": True}
    for name, rayjobs in wanted.items():
        definition = build_pipeline(name.removesuffix("-rayjobs"), Site(cluster, rayjobs))
        compiler.Compiler().compile(definition, str(folder / f"{name}.yaml"))
    return {name: Compiled(folder / f"{name}.yaml") for name in wanted}
