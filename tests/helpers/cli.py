"""The CLI as a person uses it, with a home of its own: in a process of its own, or in this one."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from lens_core.cli import main
from lens_core.tracking import EXPERIMENT

LensHere = Callable[..., str]
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


def lens_here(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> LensHere:
    """Runs a command in this process and in `folder`, where its home is, and gives what it printed. `code`: its end."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LENS_HOME", str(folder / "home"))

    def call(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["lens", "--quiet", *arguments])
        with pytest.raises(SystemExit) as left:
            main.main()
        said = capsys.readouterr()
        assert (left.value.code or 0) == code, said.err
        return said.out

    return call


def tracked(home: Path) -> list[Run]:
    """The runs in the store of a home folder."""
    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")
    return list(client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id]))
