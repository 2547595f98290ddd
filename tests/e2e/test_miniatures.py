"""Every recipe in miniature, from `data prepare` to the model card; what decides which code runs is the recipe's."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lens_core.config import RunConfig, load_config, recipe_names
from lens_core.rollout.engine import load_policy
from lens_core.training.metrics_file import read_metrics
from tests.helpers.cli import LensHere, lens_here, tracked
from tests.helpers.curves import curve
from tests.helpers.recipes import PAPERS, stages_of

pytestmark = [pytest.mark.e2e, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def lens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> LensHere:
    return lens_here(tmp_path, monkeypatch, capsys)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


def killed(*arguments: str) -> None:
    """`lens` in a process that is killed right after the training's first checkpoint."""
    command = [sys.executable, "-m", "tests.helpers.dying_lens", *arguments]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    assert ended.returncode == -signal.SIGKILL, ended.stderr[-2000:]


def miniature(recipe: str, lens: LensHere) -> RunConfig:
    """`tiny.yaml` and its data, with checkpoints to be resumed from, whether the recipe has them or not."""
    lens("recipe", "shrink", recipe, "-o", "tiny.yaml", "--set", "train.checkpoint_every=2")
    lens("data", "prepare", "-c", "tiny.yaml", "-o", "data")
    return load_config("tiny.yaml")


@pytest.mark.parametrize("recipe", recipe_names())
def test_recipe_goes_from_data_to_model_card(recipe: str, lens: LensHere, tmp_path: Path) -> None:
    config = miniature(recipe, lens)
    method, *others = config.methods
    train = ["train", "-c", "tiny.yaml", "--data", "data", "--method", method]
    lens(*train, "-o", "whole")
    killed(*train, "-o", "policy")
    lens(*train, "-o", "policy", "--resume")
    assert curve(tmp_path / "policy") == curve(tmp_path / "whole")
    taken, asked = len(curve(tmp_path / "policy")), config.train_for(method)
    assert taken == asked.steps or (taken > 2 and asked.max_tokens is not None)
    for other in others:
        lens("train", "-c", "tiny.yaml", "--data", "data", "--method", other, "-o", f"policies/{other}")

    for label, policy in (("base", "policy/base"), ("trained", "policy")):
        lens("evaluate", policy, "-c", "tiny.yaml", "--data", "data", "-o", f"evaluations/{label}", "--label", label)
    compared = json.loads(lens("--json", "compare", "evaluations/base", "evaluations/trained", "-o", "comparison"))
    assert compared["answer"].startswith("Too few problems to tell trained from base: Pass@1")
    register = ["register", "policy", "--evaluation", "evaluations/trained", "--against", "evaluations/base"]
    found = json.loads(lens("--json", *register, "--name", "own", code=1))
    assert found["text"].startswith("Not registered. Too few problems")
    card = (tmp_path / found["card"]).read_text(encoding="utf-8")
    assert recipe in card
    runs = tracked(tmp_path / "home")
    assert {run.info.status for run in runs if run.info.run_name != f"train {method}"} == {"FINISHED"}
    if "study" in stages_of(recipe):
        studied = json.loads(lens("--json", "study", "-c", "tiny.yaml", "-o", "study"))
        assert studied["failed"] == {}
        assert studied["tokens"].keys() == config.methods.keys()
    if "sweep" in stages_of(recipe):
        swept = json.loads(lens("--json", "sweep", "-c", "tiny.yaml", "-o", "sweep"))
        assert len(swept["trials"]) == 3
        load_config(swept["best_config"])


@pytest.mark.parametrize("recipe", PAPERS)
@pytest.mark.parametrize("kind", ["DDP", "FSDP2"])
def test_paper_recipe_trains_on_two_ranks(kind: str, recipe: str, lens: LensHere, tmp_path: Path) -> None:
    """vLLM on a CPU serves one process, and is left out."""
    config = miniature(recipe, lens)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lens_core.cli"]
    if kind == "FSDP2":
        sharding = str(ROOT / "lens_core/recipes/accelerate/fsdp2.yaml")
        launch = ["-m", "accelerate.commands.launch", "--config_file", sharding, "--num_processes", "2"]
        launch += ["-m", "tests.helpers.sharded_lens"]
    train = ["train", "-c", "tiny.yaml", "--data", "data", "--base", "tiny/base", "--set", "train.vllm=null"]
    for rest in ([], ["--resume", "--set", f"train.steps={config.train.steps + 4}"]):
        command = [sys.executable, *launch, *train, "-m", "lens", "-o", "policy", *rest]
        ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
        assert ended.returncode == 0, ended.stderr[-3000:]
    steps = read_metrics(tmp_path / "policy")
    assert [each["step"] for each in steps] == list(range(1, config.train.steps + 5))
    assert all(each["grad_norm"] > 0 for each in steps)
    policy, _ = load_policy(tmp_path / "policy")
    assert all(weight.isfinite().all() for weight in policy.parameters())


@pytest.mark.parametrize("recipe", PAPERS)
def test_paper_recipe_runs_as_a_pipeline(recipe: str, lens: LensHere, tmp_path: Path) -> None:
    lens("recipe", "shrink", recipe, "-o", "tiny.yaml")
    command = [sys.executable, "-m", "lens_core.cli", "--json", "pipeline", "run", "-c", "tiny.yaml"]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=800)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert {run.info.status for run in tracked(tmp_path / "home")} == {"FINISHED"}
    assert len(list((tmp_path / "home/runs").glob("*/report.html"))) == 1
