"""The pipelines by KFP's own local runner, each step in a process of its own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kfp import dsl, local
from mlflow import MlflowClient

from lens_components.image import IMAGE
from lens_components.register.component import register
from lens_core import stages
from lens_core.config import load_config
from lens_core.errors import LensError
from tests.helpers.fakes import save_tiny_policy
from tests.helpers.pipelines import run, tracked
from tests.helpers.results import evaluation_in, policy_in
from tests.helpers.sweeps import design

pytestmark = pytest.mark.integration


def test_evaluation_pipeline_measures_the_policy_that_the_configuration_names(tmp_path: Path) -> None:
    base = save_tiny_policy(tmp_path / "mine")
    found = run("evaluate", design(base), tmp_path)
    report = json.loads((found.folder / stages.PASSK_FILE).read_text())
    assert found.comparison() == {"evaluations": [report]}
    # 2 problems on each of 5 levels, 2 answers to each.
    assert (report["model"], report["problems"], report["n"], set(report["overall"])) == ("mine", 10, 2, {"1", "2"})
    assert len((found.folder / stages.ROLLOUTS_FILE).read_text().splitlines()) == 10
    assert found.report == found.folder / stages.VIEWER_FILE
    assert tracked(tmp_path) == dict.fromkeys(("prepare", "evaluate mine", found.name), "FINISHED")


def test_pipeline_with_a_sweep_needs_one_in_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(LensError, match="demo has no `sweep` section"):
        run("sweep", load_config("demo"), tmp_path)
    assert not (tmp_path / "home").exists()


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def hand_in(folder: str, evaluation: dsl.Output[dsl.Artifact], policy: dsl.Output[dsl.Model]) -> None:
    """What a branch of the LENS pipeline gives, out of `folder`."""
    import shutil

    shutil.copytree(f"{folder}/evaluation", evaluation.path)
    shutil.copytree(f"{folder}/policy", policy.path)


class Outputs(NamedTuple):
    registration: dsl.Artifact


@dsl.pipeline(name="gate")
def gate(config: str, folders: list[str], tracking_uri: str, registered_model: str) -> Outputs:
    with dsl.ParallelFor(folders) as folder:
        branch = hand_in(folder=folder)
    registered = register(
        config=config,
        run="gate",
        tracking_uri=tracking_uri,
        registered_model=registered_model,
        upload_weights=True,
        evaluations=dsl.Collected(branch.outputs["evaluation"]),
        policies=dsl.Collected(branch.outputs["policy"]),
    )
    return Outputs(registered.outputs["registration"])


@pytest.mark.filterwarnings("ignore:You may be attemping to run a task that uses custom or non-Python")
def test_best_of_a_pipeline_becomes_champion_only_if_it_beats_the_one_before(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "kfp"))

    def registration(round_: str, right: Mapping[str, tuple[int, ...]], name: str = "lens-gate") -> dict[str, Any]:
        """Of methods with so many right answers of 4 to each problem."""
        folders = []
        for method, answers in right.items():
            folder = tmp_path / round_ / method
            folder.mkdir(parents=True)
            evaluation_in(folder / "evaluation", method, answers)
            policy_in(folder / "policy")
            (folder / "policy" / stages.TRAINING_FILE).write_text(json.dumps({"method": method}))
            folders.append(str(folder))
        config = load_config("demo").model_dump_json()
        done = gate(config=config, folders=folders, tracking_uri=uri, registered_model=name)
        path = Path(done.outputs["registration"].path) / "registration.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    # Means of 1/4 and 1/2: the second is the best, and has nothing to beat.
    assert registration("first", {"grpo": (1, 1, 1), "lens": (2, 2, 2)})["version"] == "1"
    # The best has a mean of 7/12, but the interval of its differences (1/2, 1/2, -3/4) holds 0.
    held = registration("second", {"grpo": (1, 1, 1), "lens": (4, 4, 0)})
    assert held["version"] is None
    assert not held["gate"]["passed"]
    assert registration("third", {"lens": (3, 1, 1)}, name="") == {}
    (version,) = MlflowClient(tracking_uri=uri).search_model_versions("name='lens-gate'")
    champion = MlflowClient(tracking_uri=uri).get_model_version_by_alias("lens-gate", "champion")
    assert (str(champion.version), champion.tags["method"]) == (str(version.version), "lens")
