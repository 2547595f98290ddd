"""Groups that straddle ranks: two processes train what one does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


def train(folder: Path, ranks: int, rows: int) -> Path:
    folder.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    arguments = [str(ROOT / "tests/integration/ranks.py"), str(folder), str(rows)]
    # A thread for each: processes that share two cores wait for each other's threads otherwise.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    result = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


def test_two_ranks_with_straddling_groups_train_what_one_does(tmp_path: Path) -> None:
    # 12 rows in groups of 4: on two ranks of 6 rows, rows 4 to 7 are one group.
    one = train(tmp_path / "one", ranks=1, rows=12)
    two = train(tmp_path / "two", ranks=2, rows=6)
    assert (one / "advantages.txt").read_text() == (two / "advantages.txt").read_text()
    weights, split = load_file(one / "weights"), load_file(two / "weights")
    assert weights.keys() == split.keys()
    for name, weight in weights.items():
        assert (weight - split[name]).abs().max() < 1e-6, name
