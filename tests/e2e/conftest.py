"""The CLI as a person uses it: a process of its own, a home of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Lens = Callable[..., "subprocess.CompletedProcess[str]"]
REDUCED = (
    "train.steps=2",
    "train.warmup_steps=0",
    "train.prompts_per_step=4",
    "train.group_size=8",
    "data.train.per_level=20",
    "data.test.per_level=4",
    "evaluation.n=4",
    "evaluation.ks=[1, 4]",
)
"""The demo at a size for tests: the same steps, fewer of everything."""


def command(*arguments: str, overrides: tuple[str, ...] = ()) -> list[str]:
    options = [part for override in overrides for part in ("--set", override)]
    return [str(Path(sys.executable).with_name("lens")), *arguments, *options]


@pytest.fixture(scope="session")
def lens() -> Lens:
    def run(*arguments: str, overrides: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command(*arguments, overrides=overrides),
            capture_output=True,
            text=True,
            timeout=240,
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
