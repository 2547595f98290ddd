"""The end of a test run, in two processes as `make test` has them: what did not run, why, and what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


def test_end_of_a_run_counts_skips_and_what_takes_long(tmp_path: Path) -> None:
    tests = ["tests/unit/kube/test_rayjob.py", "tests/e2e/test_gsm8k.py"]
    chosen = ["-k", "crd or pipeline_runs", "-m", "not long", "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    environment["LENS_CRDS"] = str(tmp_path / "nowhere")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", *tests, *chosen],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert any(
        line.startswith("skipped ") and line.endswith("folder with ray.io_rayjobs.yaml and ray.io_rayclusters.yaml")
        for line in lines
    ), done.stdout
    assert "left out 1 that takes long: make test-long" in lines
