"""The CLI as a person uses it: a process of its own, a home of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.cli import REDUCED, Lens, command


@pytest.fixture(scope="session")
def lens() -> Lens:
    def run(*arguments: str, overrides: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command(*arguments, overrides=overrides),
            capture_output=True,
            text=True,
            timeout=800,
            env={**os.environ, "COLUMNS": "140"},
        )

    return run


@pytest.fixture(scope="session")
def demo(lens: Lens, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Home and output of a finished demo."""
    home = tmp_path_factory.mktemp("demo") / "home"
    done = lens("demo", "--home", str(home), overrides=REDUCED)
    assert done.returncode == 0, done.stderr
    return home, done.stdout
