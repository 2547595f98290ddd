"""The README's commands, as a new reader would try them: one after the other, in one folder, at a reduced size."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lens_core.cli.main import app
from tests.helpers.cli import REDUCED
from tests.helpers.docs import ROOT, calls, command_lines
from tests.helpers.fakes import save_tiny_policy

pytestmark = pytest.mark.e2e

README = ROOT / "README.md"
ELSEWHERE = {
    r"demo|base train": "tests/e2e/test_demo.py and tests/unit/training/test_base.py",
    r"pipeline run": "minutes or more; the same pipeline runs in tests/e2e/test_demo.py",
    r"sweep|study|.*--workers": "Ray; tests/integration/test_sweep.py, test_study.py, test_ray_train.py",
    r"pipeline (submit|status|schedule)": "needs a Kubeflow endpoint; tests/integration/test_kfp_client.py",
    r"doctor --cluster": "needs a cluster; tests/unit/cli/test_namespace.py",
    r"k8s": "needs a cluster; tests/integration/test_kube_launcher.py",
    r"register": "a policy of two steps beats nobody; tests/integration/test_models_and_traces.py",
    r"ui": "serves until Ctrl-C; tests/e2e/test_browser.py",
}
"""Commands that are not run here, by how they begin. That their options exist is tested in tests/unit/test_docs.py."""
SMALLER = {
    "train": [f"--set={each}" for each in REDUCED if each.startswith("train.")],
    "evaluate": ["--set=evaluation.max_new_tokens=8", "--set=evaluation.traces=4"],
}
"""What is added to a command so that it takes seconds."""
NAMES = [["data", "prepare"], ["evaluate"]]
"""What the text calls a command, which is not a call of it."""


def commands() -> list[list[str]]:
    """Arguments of the README's calls of lens: those of its blocks in their order, then whole ones in its text."""
    lines = [line.text for line in command_lines() if line.page == README.name and "k8s launch" not in line.text]
    found = [call for line in lines for call in calls(line)]
    return [call for call in found if call not in NAMES]


def here(call: list[str]) -> bool:
    return not any(re.match(rf"({start})\b", " ".join(call)) for start in ELSEWHERE)


def run(call: list[str]) -> None:
    done = CliRunner().invoke(app, call, env={"COLUMNS": "140"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, f"lens {shlex.join(call)}: {done.output}"


@pytest.fixture
def _reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader's folder: a policy and a configuration of their own, and GSM8K's training file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LENS_HOME", str(tmp_path / ".lens"))
    save_tiny_policy(tmp_path / "my-model")
    rows = [f'{{"question": "Compute {n}+{n}.", "answer": "Twice {n}.\\n#### {2 * n}"}}\n' for n in range(40)]
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "train.jsonl").write_text("".join(rows))
    (tmp_path / "my-run.yaml").write_text("extends: demo\nname: my-run\n")


@pytest.mark.usefixtures("_reader")
def test_commands_of_the_readme_work_one_after_the_other() -> None:
    tried = [call for call in commands() if here(call)]
    assert len(tried) >= 12
    for call in tried:
        run([*call, *SMALLER.get(call[0], [])])


def test_targets_of_the_readme_are_known_to_make() -> None:
    text = README.read_text(encoding="utf-8")
    targets = re.findall(r"(?:^|`)make ([a-z0-9-]+)", text, re.MULTILINE)
    assert {"demo", "test", "lint"} <= set(targets)
    done = subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_benchmarks_of_the_readme_exist_with_their_options() -> None:
    called = re.findall(r"`python -m\s+benchmarks[.](\w+)([^`]*)`", README.read_text(encoding="utf-8"))
    assert len(called) >= 3
    for name, arguments in called:
        source = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
        for option in re.findall(r"--[a-z-]+", arguments):
            assert f'"{option}"' in source, f"{name} {option}"
