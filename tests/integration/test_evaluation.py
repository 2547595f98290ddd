"""Evaluations from files to files: kill -9 and resumption, foreign folders, comparison, viewer."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lens_core import stages
from lens_core.cli.main import app
from lens_core.data.ladder import LEVELS, ladder
from lens_core.data.problem import Problem, write_problems
from lens_core.errors import LensError
from lens_core.evaluation.records import read_evaluation, read_results
from lens_core.progress import Progress, parse_marked
from tests.helpers.evaluation_life import configuration
from tests.helpers.fakes import save_tiny_policy

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of problems, no folder: 40 of them, two a batch."""
    path = tmp_path_factory.mktemp("data") / "problems.jsonl"
    write_problems(ladder(8, 0, LEVELS), path)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, base: Path, problems: Path) -> Path:
    """An undisturbed evaluation."""
    return stages.evaluate(configuration(), "tiny", problems, base, tmp_path_factory.mktemp("whole"))


def kill_after(done: int, base: Path, problems: Path, output: Path) -> int:
    """Start an evaluation in another process, and kill -9 it once it has told of `done` problems; its exit code."""
    script = ROOT / "tests/helpers/evaluation_life.py"
    command = [sys.executable, str(script), str(base), str(problems), str(output)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            progress = parse_marked(line)
            if progress is not None and progress.done >= done:
                process.kill()
                break
        return process.wait()


def test_killed_evaluation_goes_on_and_becomes_the_undisturbed_one(
    tmp_path: Path, base: Path, problems: Path, whole: Path
) -> None:
    assert kill_after(6, base, problems, tmp_path) == -9
    left = (tmp_path / "rollouts.jsonl").read_bytes()
    assert not (tmp_path / "passk.json").exists()
    seen: list[Progress] = []
    stages.evaluate(configuration(), "tiny", problems, base, tmp_path, on_progress=seen.append)
    assert seen[0].done == len(left.splitlines()) >= 6  # those are not drawn again
    assert seen[-1].done == 40
    assert (tmp_path / "rollouts.jsonl").read_bytes().startswith(left)
    for name in ("rollouts.jsonl", "passk.json", "viewer.html", "evaluation.json"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_second_evaluation_into_a_folder_is_refused_and_the_first_unharmed(
    tmp_path: Path, base: Path, problems: Path, whole: Path
) -> None:
    script = ROOT / "tests/helpers/evaluation_life.py"
    command = [sys.executable, str(script), str(base), str(problems), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        next(line for line in first.stdout if parse_marked(line) is not None)
        os.kill(first.pid, signal.SIGSTOP)  # it is in the middle of it, however fast
        with pytest.raises(LensError, match="is being written by another command: wait until it has ended, or choose"):
            stages.evaluate(configuration(), "tiny", problems, base, tmp_path)
        os.kill(first.pid, signal.SIGCONT)
        first.stdout.read()
    assert first.returncode == 0
    for name in ("rollouts.jsonl", "passk.json", "viewer.html", "evaluation.json"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_comparison_leaves_a_folder_of_somebody_else_alone(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(LensError, match="is not empty, and does not hold a comparison"):
        stages.compare_evaluations(whole, whole, tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_torn_line_costs_its_problem_alone(tmp_path: Path, base: Path, problems: Path, whole: Path) -> None:
    (tmp_path / "evaluation.json").write_bytes((whole / "evaluation.json").read_bytes())
    (tmp_path / "rollouts.jsonl").write_bytes((whole / "rollouts.jsonl").read_bytes()[:-30])
    seen: list[Progress] = []
    stages.evaluate(configuration(), "tiny", problems, base, tmp_path, on_progress=seen.append)
    assert [progress.done for progress in seen] == [39, 40]
    assert re.fullmatch(r"\d+% right, [\d,]+ tokens/s", seen[1].text)
    # A batch that was cut in two is decoded in other company: equal up to rounding.
    (old, new) = (read_results(folder / "rollouts.jsonl")[-1] for folder in (whole, tmp_path))
    assert [each.text for each in new.completions] == [each.text for each in old.completions]
    confidences = [each.confidence for each in old.completions]
    assert [each.confidence for each in new.completions] == pytest.approx(confidences, rel=1e-5)


def test_half_written_policy_is_refused_before_a_folder_is_claimed(
    problems: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = shutil.copytree(base, tmp_path / "policy")
    os.truncate(policy / "model.safetensors", 100)
    monkeypatch.chdir(tmp_path)
    words = [
        "evaluate",
        str(policy),
        "--data",
        str(problems),
        "--output",
        "evaluated",
        "--home",
        "home",
        "--recipe",
        "demo",
    ]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, LensError)
    assert "model.safetensors is damaged, or being written" in str(result.exception)
    assert not (tmp_path / "evaluated").exists()


def test_finished_evaluation_is_summed_up_again_and_not_drawn_again(
    tmp_path: Path, base: Path, problems: Path, whole: Path
) -> None:
    for name in ("evaluation.json", "rollouts.jsonl"):
        (tmp_path / name).write_bytes((whole / name).read_bytes())
    seen: list[Progress] = []
    config = configuration("evaluation.ks=[2,3]")
    stages.evaluate(config, "tiny", problems, base, tmp_path, on_progress=seen.append)
    assert [progress.done for progress in seen] == [40]
    assert read_evaluation(tmp_path)[0].overall.keys() == {2, 3}


def test_folder_of_another_evaluation_is_refused(base: Path, problems: Path, whole: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    other_policy = save_tiny_policy(tmp_path / "policy")
    weights = (other_policy / "model.safetensors").read_bytes()
    (other_policy / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    write_problems(ladder(1, 0, LEVELS), tmp_path / "other.jsonl")
    with pytest.raises(LensError, match="holds the evaluation of another model"):
        stages.evaluate(configuration(), "tiny", problems, other_policy, whole)
    with pytest.raises(LensError, match="holds the evaluation of other problems"):
        stages.evaluate(configuration(), "tiny", tmp_path / "other.jsonl", base, whole)
    with pytest.raises(LensError, match=r"of other settings \(seed 0\): choose another folder"):
        stages.evaluate(configuration("evaluation.seed=1"), "tiny", problems, base, whole)
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == before


def test_comparison_of_two_evaluations_writes_a_report(tmp_path: Path, base: Path, problems: Path, whole: Path) -> None:
    hot = stages.evaluate(configuration("evaluation.temperature=2.0"), "hot", problems, base, tmp_path / "hot")
    found, folder = stages.compare_evaluations(whole, hot, tmp_path / "comparison")
    assert {path.name for path in folder.iterdir()} == {"paired.json", "report.html", "plots"}
    assert found.differing == {"temperature": (1.0, 2.0)}
    assert found.wins + found.losses + found.ties == len(found.duels) == 40
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<h1>hot vs. tiny</h1>" in page
    assert "other settings: temperature" in page
    assert len(re.findall(r"<td[^>]*>tie</td>", page)) == found.ties
    assert "<script" not in page


def test_problems_without_levels_are_evaluated(tmp_path: Path, base: Path) -> None:
    path = tmp_path / "plain.jsonl"
    write_problems([Problem(id="a", prompt="1+1?", answer="2", source="s")], path)
    report, _ = read_evaluation(stages.evaluate(configuration(), "tiny", path, base, tmp_path / "out"))
    assert (report.problems, report.levels, report.slices) == (1, {}, {})
