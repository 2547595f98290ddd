"""The pipeline on real problems: GSM8K rows, which carry no levels, and which an arithmetic policy cannot solve."""

import json
from pathlib import Path

import pytest

from lens_core import stages
from lens_core.cli.tables import print_tables
from lens_core.config import load_config
from lens_core.evaluation.records import read_evaluation
from tests.helpers.cli import REDUCED, Lens

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def overrides(shared_data: Path) -> tuple[str, ...]:
    def source(split: str, limit: int) -> str:
        return f"{{kind: gsm8k, path: {shared_data / 'gsm8k' / split}.jsonl, limit: {limit}}}"

    sizes = (override for override in REDUCED if not override.startswith("data."))
    return *sizes, f"data.train={source('train', 16)}", f"data.test={source('test', 6)}", "name=gsm8k"


def assert_compared(comparison: Path) -> None:
    evaluations = json.loads(comparison.read_text())["evaluations"]
    assert [evaluation["model"] for evaluation in evaluations] == ["base", "grpo", "lens"]
    assert all(evaluation["problems"] == 6 and evaluation["levels"] == {} for evaluation in evaluations)


def test_stages_work_on_gsm8k_rows(
    overrides: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config("demo", overrides)
    data, base = stages.prepare(config, tmp_path / "data"), stages.base(config, tmp_path / "base")
    policies = [stages.train(config, method, data, base, tmp_path / method) for method in ("grpo", "lens")]
    evaluations = [
        stages.evaluate(config, label, data, policy, tmp_path / f"{label}-evaluation")
        for label, policy in zip(("base", "grpo", "lens"), (base, *policies), strict=True)
    ]
    output = stages.compare(config, data, evaluations, policies, tmp_path / "comparison")
    assert_compared(output / "comparison.json")
    print_tables([read_evaluation(evaluation)[0] for evaluation in evaluations])
    table = capsys.readouterr().out
    assert "Pass@k" in table
    assert "level" not in table


@pytest.mark.long
def test_pipeline_runs_on_gsm8k_rows(overrides: tuple[str, ...], lens: Lens, tmp_path: Path) -> None:
    """Nine processes, one after the other; the registry's step among them, which the demo leaves out."""
    done = lens("pipeline", "run", "--recipe", "demo", "--home", str(tmp_path), overrides=overrides)
    assert done.returncode == 0, done.stderr
    assert "level" not in done.stdout[done.stdout.index("Pass@k") :]
    (folder,) = (tmp_path / "runs").iterdir()
    assert_compared(folder / "comparison.json")


def test_data_prepare_writes_real_problems(shared_data: Path, lens: Lens, tmp_path: Path) -> None:
    path = shared_data / "olympiadbench" / "test.jsonl"
    overrides = (f"data.train={{kind: olympiadbench, path: {path}}}", "data.test=null")
    done = lens("data", "prepare", "--output", str(tmp_path), overrides=overrides)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "data.json").read_text())
    gone = summary["duplicates_removed"] + summary["overlap_removed"] + sum(summary["left_out"].values())
    assert summary["train"] + summary["test"] + gone == 675
    assert summary["left_out"] == {"the answer has a tolerance, which the verifier does not know": 1}
    removed = (tmp_path / "removed.jsonl").read_text().splitlines()
    assert len(removed) == summary["overlap_removed"] == summary["near_removed"] > 0  # parts of one problem
