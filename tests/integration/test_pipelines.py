"""The pipelines by KFP's own local runner, each step in a process of its own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kfp import dsl, local
from mlflow import MlflowClient
from typer.testing import CliRunner

from lens_components.configure.component import configure
from lens_components.image import IMAGE
from lens_components.register.component import register
from lens_core import stages
from lens_core.cli.main import app
from lens_core.config import load_config, values_by_hand
from lens_core.errors import LensError
from lens_core.kfp.launch import LocalRun
from lens_core.tracking import EXPERIMENT
from tests.helpers.fakes import save_tiny_policy
from tests.helpers.pipelines import run, tracked
from tests.helpers.results import evaluation_in, policy_in
from tests.helpers.sweeps import design

pytestmark = pytest.mark.integration


@pytest.mark.long
def test_evaluation_pipeline_measures_the_policy_that_the_configuration_names(tmp_path: Path) -> None:
    """Through `lens pipeline run`, which the demo's tests do not call."""
    base = save_tiny_policy(tmp_path / "mine")
    (tmp_path / "run.yaml").write_text(design(base).model_dump_json())
    options = ["--config", tmp_path / "run.yaml", "--home", tmp_path / "home"]
    options += ["--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    done = CliRunner().invoke(app, ["pipeline", "run", "--pipeline", "evaluate", *map(str, options)])
    assert done.exit_code == 0, done.output
    assert "Pass@k" in done.output
    (folder,) = (tmp_path / "home/runs").iterdir()
    found = LocalRun(folder.name, folder)
    report = json.loads((found.folder / stages.PASSK_FILE).read_text())
    assert found.comparison() == {"evaluations": [report]}
    # 2 problems on each of 5 levels, 2 answers to each.
    assert (report["model"], report["problems"], report["n"]) == ("mine", 10, 2)
    assert set(report["by_k"]["pass_at"]) == {"1", "2"}
    assert len((found.folder / stages.ROLLOUTS_FILE).read_text().splitlines()) == 10
    assert found.report == found.folder / stages.VIEWER_FILE
    assert tracked(tmp_path) == dict.fromkeys(("prepare", "evaluate mine", found.name), "FINISHED")


def test_pipeline_with_a_sweep_needs_one_in_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(LensError, match="demo has no `sweep` section"):
        run("sweep", load_config("demo"), tmp_path)
    assert not (tmp_path / "home").exists()


def test_first_step_of_a_changed_run_tells_the_others_and_mlflow(tmp_path: Path) -> None:
    """By KFP's own executor, as in a pod."""
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "kfp"))
    uri, config = f"sqlite:///{tmp_path}/mlflow.db", load_config("demo")
    given = {"config": config.model_dump_json(), "run": "demo-1", "tracking_uri": uri}
    kept = configure(overrides=values_by_hand(config), **given)
    assert (kept.outputs["config"], kept.outputs["run"]) == (given["config"], "demo-1")
    assert not (tmp_path / "mlflow.db").exists()
    changed = configure(overrides=["train.steps=60", "methods.lens.alpha=0.5"], **given)
    settled = type(config).model_validate_json(changed.outputs["config"])
    assert (settled.train.steps, settled.methods["lens"].parameters) == (60, {"alpha": 0.5})
    client = MlflowClient(tracking_uri=uri)
    (parent,) = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert parent.info.run_name == changed.outputs["run"] == f"demo-1-{settled.digest()[:8]}"
    assert parent.data.tags["lens.overrides"] == "train.steps=60 methods.lens.alpha=0.5"
    with pytest.raises(RuntimeError):
        configure(overrides=["train.stepz=1"], **given)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def hand_in(folder: str, evaluation: dsl.Output[dsl.Artifact], policy: dsl.Output[dsl.Model]) -> None:
    """What a branch of the LENS pipeline gives, out of `folder`."""
    import shutil

    shutil.copytree(f"{folder}/evaluation", evaluation.path)
    shutil.copytree(f"{folder}/policy", policy.path)


class Outputs(NamedTuple):
    registration: dsl.Artifact


@dsl.pipeline(name="gate")
def gate(config: str, base: str, folders: list[str], tracking_uri: str, registered_model: str) -> Outputs:
    before = hand_in(folder=base)
    with dsl.ParallelFor(folders) as folder:
        branch = hand_in(folder=folder)
    registered = register(
        config=config,
        run="gate",
        tracking_uri=tracking_uri,
        registered_model=registered_model,
        upload_weights=True,
        base_evaluation=before.outputs["evaluation"],
        evaluations=dsl.Collected(branch.outputs["evaluation"]),
        policies=dsl.Collected(branch.outputs["policy"]),
    )
    return Outputs(registered.outputs["registration"])


def branches(folder: Path, right: Mapping[str, tuple[int, ...]]) -> list[Path]:
    """A folder for each method with what it hands in: so many right answers of 4 to each problem."""
    made = []
    for method, answers in right.items():
        made.append(folder / method)
        made[-1].mkdir(parents=True)
        policy = policy_in(made[-1] / "policy")
        evaluation_in(made[-1] / "evaluation", method, answers, policy=policy)
        (made[-1] / "policy" / stages.TRAINING_FILE).write_text(json.dumps({"method": method}))
    return made


@pytest.mark.filterwarnings("ignore:You may be attemping to run a task that uses custom or non-Python")
def test_best_of_a_pipeline_becomes_champion_only_if_it_beats_the_one_before(tmp_path: Path) -> None:
    uri, config = f"sqlite:///{tmp_path}/mlflow.db", load_config("demo").model_dump_json()
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "kfp"))
    # Means of 1/4 and 1/2: the second is the best, and beats the base, which solved nothing.
    (base,) = branches(tmp_path / "before", {"base": (0, 0, 0) * 10})
    first = branches(tmp_path / "first", {"grpo": (1, 1, 1) * 10, "lens": (2, 2, 2) * 10})
    done = gate(
        config=config, base=str(base), folders=list(map(str, first)), tracking_uri=uri, registered_model="lens-gate"
    )
    written = Path(done.outputs["registration"].path) / "registration.json"
    assert json.loads(written.read_text())["version"] == "1"

    def registration(round_: str, right: Mapping[str, tuple[int, ...]], name: str) -> dict[str, Any]:
        """By the component's own function, with what KFP would give it."""
        folders = branches(tmp_path / round_, right)
        output = tmp_path / round_ / "registration"
        register.python_func(
            config=config,
            run="gate",
            tracking_uri=uri,
            registered_model=name,
            upload_weights=True,
            base_evaluation=dsl.Artifact(uri=str(base / "evaluation")),
            evaluations=[dsl.Artifact(uri=str(folder / "evaluation")) for folder in folders],
            policies=[dsl.Model(uri=str(folder / "policy")) for folder in folders],
            registration=dsl.Artifact(uri=str(output)),
            card=dsl.Markdown(uri=str(tmp_path / round_ / "card.md")),
        )
        path = output / "registration.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    # The best has a mean of 2/3, but the interval of its differences (1/2, 1/2, -1/2) holds 0.
    held = registration("second", {"grpo": (1, 1, 1) * 10, "lens": (4, 4, 0) * 10}, "lens-gate")
    assert held["version"] is None
    assert not held["gate"]["passed"]
    assert registration("third", {"lens": (3, 1, 1)}, "") == {}
    (version,) = MlflowClient(tracking_uri=uri).search_model_versions("name='lens-gate'")
    champion = MlflowClient(tracking_uri=uri).get_model_version_by_alias("lens-gate", "champion")
    assert (str(champion.version), champion.tags["method"]) == (str(version.version), "lens")
