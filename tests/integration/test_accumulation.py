"""Several ranks and several micro-batches a step: micro-batches without gradient cost no other one its own.

What DDP and FSDP hold back under `no_sync` is reduced in the backward pass of a step's last micro-batch. If that one
does not go through the wrapped policy, the gradient of the others is lost, or differs from rank to rank.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.accumulation import EVERY, SOME, Choices

pytestmark = [pytest.mark.integration, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]


def measured(folder: Path, *options: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [str(ROOT / "tests/helpers/accumulation.py"), str(folder), *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    result = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=850)
    assert result.returncode == 0, result.stderr[-3000:]
    return [
        json.loads(line.removeprefix("RESULT ")) for line in result.stdout.splitlines() if line.startswith("RESULT ")
    ]


@pytest.mark.parametrize(
    ("choices", "options"),
    [
        pytest.param(SOME, (), id="some-ddp"),
        pytest.param(SOME, ("sharded",), id="some-fsdp2"),
        pytest.param(EVERY, ("every",), id="every-ddp"),
        pytest.param(EVERY, ("every", "sharded"), id="every-fsdp2"),
    ],
)
def test_gradient_is_stock_trls_whichever_micro_batches_carry_it(
    choices: Choices, options: tuple[str, ...], tmp_path: Path
) -> None:
    found = measured(tmp_path, *options)
    assert len(found) == sum(map(len, choices.values()))
    for each in found:
        assert (each["norm"] > 1e-3) == bool(each["kept"]), each  # there is something to lose
        assert each["apart"] == 0, each
        assert each["off"] < 1e-6, each
        assert each["stock"] < 1e-6, each
