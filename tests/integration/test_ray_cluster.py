"""A Ray cluster that runs already, with token authentication: reached as a client, and from a job within it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lens_core import stages
from lens_core.config import load_config
from tests.helpers.ray_head import Head
from tests.helpers.ray_training import assert_same_training

pytestmark = pytest.mark.integration

LENS = str(Path(sys.executable).with_name("lens"))
SETTINGS = [
    "train.steps=3",
    "train.prompts_per_step=2",
    "train.group_size=4",
    "train.max_new_tokens=12",
    "train.warmup_steps=0",
    "train.learning_rate=1e-3",
    "methods={m: {objective: nsr}}",
]
_PATIENCE_S = 300


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stages.prepare(load_config("demo", SETTINGS), tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def alone(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training in this process."""
    return stages.train(load_config("demo", SETTINGS), "m", data, base, tmp_path_factory.mktemp("alone"))


def training(base: Path, data: Path, output: Path) -> list[str]:
    command = [LENS, "train", "-c", "demo", "--workers", "1", "--method", "m", "--data", str(data), "--base", str(base)]
    command += ["-o", str(output), "--home", str(output.parent / "home")]
    return command + [word for setting in SETTINGS for word in ("--set", setting)]


@pytest.mark.long
def test_client_trains_on_a_cluster_with_tokens(
    head: Head, base: Path, data: Path, alone: Path, tmp_path: Path
) -> None:
    environment = {**head.environment, "RAY_ADDRESS": head.client}
    command = training(base, data, tmp_path / "policy")
    done = subprocess.run(command, env=environment, check=True, timeout=_PATIENCE_S, capture_output=True, text=True)
    assert_same_training(tmp_path / "policy", alone, 1e-4)
    assert re.search(r"^Ray's dashboard: http://[\d.]+:\d+$", done.stderr, re.MULTILINE)


@pytest.mark.long
def test_job_trains_on_its_cluster(head: Head, base: Path, data: Path, alone: Path, tmp_path: Path) -> None:
    submit = [str(Path(sys.executable).with_name("ray")), "job", "submit", "--address", head.jobs, "--"]
    command = [*submit, *training(base, data, tmp_path / "policy")]
    subprocess.run(command, env=head.environment, check=True, timeout=_PATIENCE_S)
    assert_same_training(tmp_path / "policy", alone, 1e-4)


@pytest.mark.long
def test_wrong_token_is_told_on_one_line(head: Head, base: Path, data: Path, tmp_path: Path) -> None:
    environment = {**head.environment, "RAY_ADDRESS": head.client, "RAY_AUTH_TOKEN": "f" * 32}
    del environment["RAY_AUTH_TOKEN_PATH"]
    command = training(base, data, tmp_path / "policy")
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_PATIENCE_S)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        f"lens: no Ray cluster at RAY_ADDRESS={head.client}: ray client connection timeout; check that it runs, and "
        "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH where it asks for a token"
    ]
