"""A Ray cluster that runs already, with token authentication: reached as a client, and from a job within it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import tenacity

from lens_core import stages
from lens_core.config import load_config
from tests.helpers.fakes import save_tiny_policy
from tests.helpers.ports import free_port
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
_PATIENCE_S = 120


@dataclass(frozen=True)
class Cluster:
    client: str
    jobs: str
    environment: dict[str, str]
    """With the token."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: sockets lie below it
    token = "0123456789abcdef0123456789abcdef"
    (folder / "token").write_text(token)
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    names = (
        "port",
        "ray-client-server-port",
        "dashboard-port",
        "dashboard-agent-listen-port",
        "dashboard-agent-grpc-port",
    )
    ports = {name: free_port() for name in names}
    options = [word for name, port in ports.items() for word in (f"--{name}", str(port))]
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus", "2", *options]
    log = (folder / "log").open("w")
    head = subprocess.Popen(
        [*ray, "--temp-dir", str(folder), "--disable-usage-stats"], env=environment, stdout=log, stderr=log
    )
    jobs = f"http://127.0.0.1:{ports['dashboard-port']}"

    @tenacity.retry(wait=tenacity.wait_fixed(0.2), stop=tenacity.stop_after_delay(_PATIENCE_S), reraise=True)
    def ready() -> None:
        headers = {"Authorization": f"Bearer {token}"}
        requests.get(f"{jobs}/api/version", headers=headers, timeout=5).raise_for_status()
        requests.get(
            f"http://127.0.0.1:{ports['dashboard-agent-listen-port']}/api/local_raylet_healthz",
            headers=headers,
            timeout=5,
        ).raise_for_status()

    try:
        ready()
        yield Cluster(f"ray://127.0.0.1:{ports['ray-client-server-port']}", jobs, environment)
    finally:
        head.terminate()
        head.wait(60)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_policy(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stages.prepare(load_config("demo", SETTINGS), tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def alone(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training in this process."""
    return stages.train(load_config("demo", SETTINGS), "m", data, base, tmp_path_factory.mktemp("alone"))


def training(base: Path, data: Path, output: Path) -> list[str]:
    command = [LENS, "train", "--workers", "1", "--method", "m", "--data", str(data), "--base", str(base)]
    command += ["-o", str(output), "--home", str(output.parent / "home")]
    return command + [word for setting in SETTINGS for word in ("--set", setting)]


def test_client_trains_on_a_cluster_with_tokens(
    cluster: Cluster, base: Path, data: Path, alone: Path, tmp_path: Path
) -> None:
    environment = {**cluster.environment, "RAY_ADDRESS": cluster.client}
    subprocess.run(training(base, data, tmp_path / "policy"), env=environment, check=True, timeout=_PATIENCE_S)
    assert_same_training(tmp_path / "policy", alone, 1e-4)


def test_job_trains_on_its_cluster(cluster: Cluster, base: Path, data: Path, alone: Path, tmp_path: Path) -> None:
    submit = [str(Path(sys.executable).with_name("ray")), "job", "submit", "--address", cluster.jobs, "--"]
    command = [*submit, *training(base, data, tmp_path / "policy")]
    subprocess.run(command, env=cluster.environment, check=True, timeout=_PATIENCE_S)
    assert_same_training(tmp_path / "policy", alone, 1e-4)


def test_wrong_token_is_told_on_one_line(cluster: Cluster, base: Path, data: Path, tmp_path: Path) -> None:
    environment = {**cluster.environment, "RAY_ADDRESS": cluster.client, "RAY_AUTH_TOKEN": "f" * 32}
    del environment["RAY_AUTH_TOKEN_PATH"]
    command = training(base, data, tmp_path / "policy")
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_PATIENCE_S)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        f"lens: no Ray cluster at RAY_ADDRESS={cluster.client}: ray client connection timeout; check that it runs, and "
        "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH where it asks for a token"
    ]
