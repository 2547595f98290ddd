"""`lens demo` at a reduced size: from nothing to a report, and again from the cache."""

import re
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.helpers.cli import REDUCED, Lens, tracked

pytestmark = pytest.mark.e2e


def test_demo_shows_progress_and_ends_with_table_report_and_mlflow(demo: tuple[Path, str]) -> None:
    home, output = demo
    for stage in ("prepare", "train grpo", "train lens", "evaluate base", "evaluate grpo", "evaluate lens", "compare"):
        assert re.search(rf"^\d+:\d\d +{stage} +(\d+)/\1\b", output, re.MULTILINE), f"{stage} did not end"
    for label in ("base", "grpo", "lens"):
        assert re.search(rf"│ {label} +│ +\d+\.\d \[\d+\.\d, \d+\.\d\]", output)
    report = re.search(r"^Report: +(.+)$", output, re.MULTILINE)
    assert report is not None
    page = Path(report[1]).read_text()
    assert re.search(r"<p>grpo and lens trained from ladder-base on \d+ problems, 2 steps of 4 prompts", page)
    assert re.search(r"Trained on Linux \w+ with \d+ CPUs, .*, finished \d{4}-\d\d-\d\d \d\d:\d\d UTC[.]", page)
    assert "Too few problems to tell lens from grpo: Pass@1 " in output
    assert "Too few problems to tell lens from grpo: Pass@1" in page.replace("\u00a0", " ")
    assert "One training seed says nothing about the methods" in output
    for fact in ("Command", "Wall clock", "Code", "Versions"):
        assert f'<th scope="row">{fact}</th>' in page
    assert "demo --home" in page
    assert Path(report[1]).with_suffix(".md").read_text().startswith("# LENS run demo-")
    assert f"ui --backend-store-uri sqlite:///{home / 'mlflow.db'}" in output


def test_demo_nests_every_stage_in_one_finished_mlflow_run(demo: tuple[Path, str]) -> None:
    runs = tracked(demo[0])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    stages = {run.info.run_name: run for run in runs if run is not parent}
    assert set(stages) == {
        "prepare",
        "train grpo",
        "train lens",
        "evaluate base",
        "evaluate grpo",
        "evaluate lens",
        "compare",
    }
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in stages.values()} == {parent.info.run_id}
    assert len(stages["prepare"].data.tags["data.train.sha256"]) == 64
    assert stages["train lens"].data.params["train.steps"] == "2"
    assert "lens/groups/negative" in stages["train lens"].data.metrics
    assert stages["train lens"].data.tags["checkpoint"].startswith("file://")
    assert "lens/pass_at_4" in parent.data.metrics


def test_demo_report_is_an_artifact_of_the_run(demo: tuple[Path, str]) -> None:
    client = MlflowClient(tracking_uri=f"sqlite:///{demo[0] / 'mlflow.db'}")
    (parent,) = [run for run in tracked(demo[0]) if "mlflow.parentRunId" not in run.data.tags]
    assert {"report.html", "comparison.json", "plots"} <= {
        item.path for item in client.list_artifacts(parent.info.run_id)
    }


def test_demo_again_reuses_every_step_and_says_the_same(demo: tuple[Path, str], lens: Lens) -> None:
    home, first = demo
    before = len(tracked(home))
    again = lens("demo", "--home", str(home), overrides=REDUCED)
    assert again.returncode == 0, again.stderr
    table = first[first.index("Pass@k, %") :]
    assert again.stdout[again.stdout.index("Pass@k, %") :] == table
    assert len(tracked(home)) == before
    for step in ("prepare-data", "base-policy", "train", "evaluate", "evaluate-2", "compare"):
        assert re.search(rf"{step} +1/1 +reused from an earlier run", again.stdout), f"{step} was not reused"
