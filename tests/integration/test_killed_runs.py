"""Runs whose process is killed: none is "running" for ever."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from lens_core.tracking import EXPERIMENT, Tracking, list_runs, new_run, parent_run
from lens_core.tracking.stale import SILENT_S, close_stale

pytestmark = pytest.mark.integration

LIFE = """
import sys, time
from lens_core.tracking import Tracking, stage_run, whole_run
tracking = Tracking(sys.argv[1], "life")
with whole_run(tracking), stage_run(tracking, "train lens"):
    print("trains", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def life(uri: str) -> Iterator["subprocess.Popen[str]"]:
    """A process in the middle of a stage."""
    process = subprocess.Popen([sys.executable, "-c", LIFE, uri], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "trains\n"
    yield process
    process.kill()
    process.wait()


def stored(uri: str) -> dict[str, Run]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    return {run.info.run_name: run for run in client.search_runs([experiment])}


def test_sigterm_ends_stage_and_pipeline_run_as_killed(uri: str, life: "subprocess.Popen[str]") -> None:
    life.send_signal(signal.SIGTERM)
    assert life.wait(60) != 0
    assert {name: run.info.status for name, run in stored(uri).items()} == {"life": "KILLED", "train lens": "KILLED"}


def test_kill_9_is_found_by_the_next_look_and_no_living_run_is_touched(uri: str, life: "subprocess.Popen[str]") -> None:
    assert {row.status for row in list_runs(uri, 10)} == {"RUNNING"}
    life.kill()
    life.wait()
    ours = new_run(Tracking(uri, "life"), "evaluate lens")
    assert {row.name: row.status for row in list_runs(uri, 10)} == {
        "life": "KILLED",
        "train lens": "KILLED",
        "evaluate lens": "RUNNING",
    }
    assert stored(uri)["train lens"].data.tags["lens.closed"] == f"its process {life.pid} on this machine was gone"
    ours.end("FINISHED")


def test_run_on_another_machine_is_closed_once_it_has_been_silent_for_an_hour(uri: str) -> None:
    tracking = Tracking(uri, "pods")
    parent = parent_run(tracking)
    for name, silent_s in (("fresh", SILENT_S - 60), ("silent", SILENT_S + 60)):
        run = new_run(tracking, name)
        run.tags({"lens.process": f"another-{socket.gethostname()} {os.getpid()} 1.0"})
        run.metrics({"system/heartbeat_s": time.time() - silent_s})
        backdate(uri, run.run_id)
    closed = close_stale(parent.client, parent.experiment_id)
    found = stored(uri)
    assert closed == [found["silent"].info.run_id]
    assert {name: run.info.status for name, run in found.items()} == {
        "pods": "RUNNING",  # one of its stages lives
        "fresh": "RUNNING",
        "silent": "KILLED",
    }


def backdate(uri: str, run_id: str) -> None:
    """Let the run have begun two hours ago."""
    import sqlite3

    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE runs SET start_time = start_time - 7200000 WHERE run_uuid = ?", (run_id,))
