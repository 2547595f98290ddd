"""A Ray cluster in a process of its own, with token authentication and on ports of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from ray.job_submission import JobSubmissionClient

from tests.helpers.ports import free_port

TOKEN = "0123456789abcdef0123456789abcdef"
_PORTS = (
    "port",
    "ray-client-server-port",
    "dashboard-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "metrics-export-port",
)
_PATIENCE_S = 120


@dataclass(frozen=True)
class Head:
    client: str
    """Address for a Ray client."""
    jobs: str
    """Address of the dashboard, which takes jobs."""
    environment: dict[str, str]
    """With the token."""


@contextmanager
def ray_head() -> Iterator[Head]:
    """A cluster of two CPUs that takes jobs and clients, for the block."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: sockets lie below it
    (folder / "token").write_text(TOKEN)
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    ports = {name: free_port() for name in _PORTS}
    options = [f"--{name}={port}" for name, port in ports.items()]
    options += ["--num-cpus=2", f"--temp-dir={folder}", "--disable-usage-stats", "--object-store-memory=100000000"]
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", *options]
    jobs = f"http://127.0.0.1:{ports['dashboard-port']}"
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            _wait(process, jobs, folder / "log")
            yield Head(f"ray://127.0.0.1:{ports['ray-client-server-port']}", jobs, environment)
        finally:
            process.terminate()
            process.wait(60)
            shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], jobs: str, log: Path) -> None:
    """Until it takes jobs, which is a while after it answers."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        assert process.poll() is None, log.read_text()
        try:
            client = JobSubmissionClient(jobs, headers={"Authorization": f"Bearer {TOKEN}"})
            client.submit_job(entrypoint="true")
            return
        except (ConnectionError, RuntimeError, requests.RequestException):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
