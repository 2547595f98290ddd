"""benchmarks.gpu, in small on a CPU, and what a bare machine needs for it."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import measure, shown, table

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
WHEELS = runpy.run_path(str(ROOT / "scripts/gpu-wheels"))


def test_benchmark_needs_no_more_than_what_a_bare_machine_has_and_the_wheels(tmp_path: Path) -> None:
    packages = WHEELS["closure"]([*WHEELS["THERE"], *WHEELS["WANTED"]])
    output = tmp_path / "exactness.json"
    benchmark = ["benchmarks.gpu_parts", "exactness", "tiny", str(output)]
    command = [sys.executable, "-m", "tests.helpers.bare", ",".join(packages), *benchmark]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    figures = json.loads(output.read_text(encoding="utf-8"))
    stock = figures.pop("bf16 gradient: stock TRL to float32")
    assert 1e-4 < stock < 0.1
    assert len(figures) == 5
    assert all(distance < 1.5 * stock for distance in figures.values())
    without_trl = [sys.executable, "-m", "tests.helpers.bare", ",".join(packages - {"trl"}), *benchmark]
    refused = subprocess.run(without_trl, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert "No module named 'trl'" in refused.stderr  # what is left out is not there


@pytest.mark.long
def test_every_part_runs_and_ends_in_a_table(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--output", str(tmp_path / "gpu.json"), "--minutes", "20"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=800)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found == json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert all(each.startswith("done") for each in found["parts"].values())
    assert found["figures"]["resume: greatest difference of gradient norms"] == 0
    assert found["figures"]["FSDP2: greatest difference of gradient norms"] < 1e-4
    assert table(found) in ended.stdout


def test_time_that_is_up_is_said(tmp_path: Path) -> None:
    found = measure(["exactness"], tmp_path / "gpu.json", deadline=0.0)
    assert found["parts"] == {"exactness": "no time was left, 0 s"}
    assert "| part `exactness` | no time was left, 0 s |" in table(found)
    assert json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8")) == found


def test_pairs_are_shown_with_their_range() -> None:
    assert shown([1.0, 2.0, 4.0]) == "2.00 (1.00 to 4.00, 3 pairs)"
    assert shown(12.345) == "12.3"
