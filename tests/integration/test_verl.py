"""verl needs other versions of some packages than we do: it is installed apart, and tested in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.grading_graders import verl
from lens_core.verify import Outcome
from tests.helpers.prerequisites import missing

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
VERL = Path(os.environ.get("LENS_VERL", Path(sys.prefix) / "verl"))


def in_verl(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not VERL.is_dir():
        missing("verl", "run `make test`, or set LENS_VERL to the folder it is installed in")
    paths = os.pathsep.join([str(VERL), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths, "VERL_USE_EXTERNAL_PLUGINS": "none"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.long
def test_estimator_works_inside_verl() -> None:
    result = in_verl("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/integration/verl_inside.py")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]


LATE = """
from verl.trainer.ppo import ray_trainer
from verl.trainer.ppo.v1 import utils
plain = ray_trainer.compute_advantage
import lens_core.integrations.verl
assert ray_trainer.compute_advantage.__wrapped__ is utils.compute_advantage.__wrapped__ is plain
"""


@pytest.mark.long
def test_trainers_imported_before_it_lend_the_batch_too() -> None:
    result = in_verl("-c", LATE)
    assert result.returncode == 0, result.stderr[-2000:]


def test_missing_verl_is_named_with_the_remedy() -> None:
    code = "import sys; sys.modules['verl'] = None; import lens_core.integrations.verl"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stderr.splitlines()[-1].startswith("lens_core.errors.LensError: verl 0.9 cannot be imported (")


def test_graders_judge_pairs_for_the_benchmark() -> None:
    if not VERL.is_dir():
        missing("verl", "run `make test`, or set LENS_VERL to the folder it is installed in")
    judged = verl([("\\boxed{7}", "7"), ("\\boxed{8}", "$7$")])
    assert {"verl's math_reward", "verl's math_dapo"} <= judged.keys()
    assert all(each.outcomes == [Outcome.CORRECT, Outcome.WRONG] for each in judged.values())
