"""Groups that straddle ranks: two processes train what one does, each with a whole policy or with half of it; and one
process whose policy is sharded, which happens on one device too.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


def train(folder: Path, ranks: int, rows: int, *options: str) -> Path:
    folder.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    arguments = [str(ROOT / "tests/helpers/ranks.py"), str(folder), str(rows), *options]
    # A thread for each: processes that share two cores wait for each other's threads otherwise.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    result = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("ranks") / "one", ranks=1, rows=12)


@pytest.mark.parametrize(
    ("ranks", "options"), [(2, ()), pytest.param(2, ("sharded",), marks=pytest.mark.long), (1, ("sharded",))]
)
def test_ranks_with_straddling_groups_and_shards_train_what_one_whole_process_does(
    ranks: int, options: tuple[str, ...], one: Path, tmp_path: Path
) -> None:
    # 12 rows in groups of 4: on two ranks of 6 rows, rows 4 to 7 are one group.
    two = train(tmp_path / "two", ranks, 12 // ranks, *options)
    assert (one / "advantages.txt").read_text() == (two / "advantages.txt").read_text()
    assert_same_weights(one, two)
    assert_same_weights(two, two / "resumed")  # from its second of three steps
    shards = [path.name for path in (two / "checkpoint-2").glob("*_fsdp_0/*.distcp")]
    assert len(shards) == (ranks if options else 0)


def assert_same_weights(folder: Path, other: Path) -> None:
    weights, others = (load_file(each / "model.safetensors") for each in (folder, other))
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        assert (weight - others[name]).abs().max() < 1e-6, name
