"""verl needs other versions of some packages than we do: it is installed apart, and tested in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
VERL = Path(os.environ.get("LENS_VERL", Path(sys.prefix) / "verl"))


def test_estimator_works_inside_verl() -> None:
    if not VERL.is_dir() and "CI" not in os.environ:
        pytest.skip("needs verl: run `make test`, or set LENS_VERL to the folder it is installed in")
    paths = os.pathsep.join([str(VERL), str(ROOT)])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/integration/verl_inside.py"]
    result = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]


def test_missing_verl_is_named_with_the_remedy() -> None:
    code = "import sys; sys.modules['verl'] = None; import lens_core.integrations.verl"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stderr.splitlines()[-1].startswith("lens_core.errors.LensError: verl 0.9 cannot be imported (")
