"""An MLflow server that goes away and comes back: nobody waits for it, and nothing is lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient

from lens_core.errors import LensError
from lens_core.tracking import MetricsSender, StageRun, last_step
from tests.helpers.ports import free_port

pytestmark = pytest.mark.integration


class Server:
    """A real MLflow server on a port of its own, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        store = ["--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db"]
        self._process = subprocess.Popen([*command, *store], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                         start_new_session=True)  # fmt: skip
        deadline = time.monotonic() + 180
        while True:
            try:
                requests.get(f"{self.url}/health", timeout=1).raise_for_status()
                return
            except requests.RequestException:
                assert time.monotonic() < deadline, "the MLflow server did not start"
                assert self._process.poll() is None, "the MLflow server ended"
                time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # the retries under test are ours
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop()


def new_run(server: Server) -> StageRun:
    client = MlflowClient(tracking_uri=server.url)
    return StageRun(client, client.create_run("0").info.run_id)


def test_metrics_arrive_in_order_once_the_server_is_back(server: Server) -> None:
    run = new_run(server)
    sender = MetricsSender(run)
    sender.put(1, {"loss": 0.1, "elapsed_s": 1.0})
    while last_step(run) < 1:
        time.sleep(0.05)
    server.stop()
    started = time.monotonic()
    for step in (2, 3, 4):
        sender.put(step, {"loss": step / 10, "elapsed_s": float(step)})
    assert time.monotonic() - started < 1  # the training does not wait
    server.start()
    sender.close()
    history = run.client.get_metric_history(run.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    assert last_step(run) == 4


def test_metrics_whose_answer_was_lost_are_there_once(server: Server) -> None:
    run, lost = new_run(server), []

    class AnswerLost:
        def metrics(self, values: Mapping[str, float], step: int = 0, *, at_s: float) -> None:
            run.metrics(values, step, at_s=at_s)
            if not lost:
                lost.append(step)
                raise ConnectionError

    sender = MetricsSender(AnswerLost())
    sender.put(1, {"loss": 0.1})
    sender.close()
    assert lost == [1]
    assert [point.value for point in run.client.get_metric_history(run.run_id, "loss")] == [0.1]


def test_server_that_stays_away_is_named_in_the_end_with_the_remedy(server: Server) -> None:
    sender = MetricsSender(new_run(server))
    server.stop()
    sender.put(1, {"loss": 0.1})
    with pytest.raises(LensError, match="with --resume sends them once the server is back"):
        sender.close(patience_s=2)
    sender._thread.join(10)
    assert not sender._thread.is_alive()
