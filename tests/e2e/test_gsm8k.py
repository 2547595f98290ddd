"""The pipeline on real problems: GSM8K rows, which carry no levels, and which an arithmetic policy cannot solve."""

import json
from pathlib import Path

import pytest

from tests.helpers.cli import REDUCED, Lens

pytestmark = pytest.mark.e2e


def test_pipeline_runs_on_gsm8k_rows(shared_data: Path, lens: Lens, tmp_path: Path) -> None:
    def source(split: str, limit: int) -> str:
        return f"{{kind: gsm8k, path: {shared_data / 'gsm8k' / split}.jsonl, limit: {limit}}}"

    overrides = (
        *(override for override in REDUCED if not override.startswith("data.")),
        f"data.train={source('train', 16)}",
        f"data.test={source('test', 6)}",
        "name=gsm8k",
    )
    done = lens("pipeline", "run", "--home", str(tmp_path), overrides=overrides)
    assert done.returncode == 0, done.stderr
    assert "level" not in done.stdout[done.stdout.index("Pass@k") :]
    (folder,) = (tmp_path / "runs").iterdir()
    evaluations = json.loads((folder / "comparison.json").read_text())["evaluations"]
    assert [evaluation["model"] for evaluation in evaluations] == ["base", "grpo", "lens"]
    assert all(evaluation["problems"] == 6 and evaluation["levels"] == {} for evaluation in evaluations)


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
