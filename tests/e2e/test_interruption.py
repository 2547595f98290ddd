"""Ctrl-C in the middle of `lens demo`: what had ended is kept, and what had not is said to be killed."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.helpers.cli import REDUCED, command, tracked

pytestmark = [pytest.mark.e2e, pytest.mark.long]


def test_interrupted_demo_keeps_what_had_ended(tmp_path: Path) -> None:
    overrides = (*REDUCED, "train.steps=500", 'methods={"lens": {}}')
    process = subprocess.Popen(
        command("demo", "--home", str(tmp_path), overrides=overrides),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches a terminal's whole process group
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if re.search(r"train lens +[1-9]", line):
            os.killpg(process.pid, signal.SIGINT)
            break
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 130
    assert "interrupted; finished steps are kept, and the same command resumes after them" in errors
    status = {run.info.run_name: run.info.status for run in tracked(tmp_path)}
    assert status["prepare"] == "FINISHED"
    assert status["train lens"] == "KILLED"
    entries = len(list((tmp_path / "cache" / "kfp").iterdir()))
    assert entries >= 2  # at least the data and the base policy are there for the next run
    assert json.loads(next((tmp_path / "cache" / "kfp").iterdir()).read_text())
