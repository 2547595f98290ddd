"""What a command says after Ctrl-C is true of that command."""

import sys
from pathlib import Path
from typing import Any

import pytest

from lens_core import stages
from lens_core.cli import main


def ctrl_c(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("stage", "arguments", "said"),
    [
        (
            "train",
            ["train", "--recipe", "demo", "--data", "d", "--base", "b", "-o", "o"],
            "add --resume to the same command",
        ),
        ("evaluate", ["evaluate", "b", "--recipe", "demo", "--data", "d"], "the same command resumes with the others"),
        ("prepare", ["data", "prepare", "-o", "o"], "nothing was written"),
        ("compare_evaluations", ["compare", "a", "b"], "lens: interrupted\n"),
    ],
)
def test_interrupted_command_says_how_to_resume(
    stage: str,
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stages, stage, ctrl_c)
    monkeypatch.setattr(sys, "argv", ["lens", "--quiet", *arguments])
    with pytest.raises(SystemExit) as left:
        main.main()
    assert left.value.code == 130
    err = capsys.readouterr().err
    assert said in err
    assert "the same command goes on" not in err
