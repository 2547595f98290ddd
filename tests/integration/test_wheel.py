"""What is installed, in a project that has packages `components` and `pipelines` of its own."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers.fakes import save_tiny_policy

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
SMALL = ("data.train.per_level=2", "data.test.per_level=1", "evaluation.n=2", "evaluation.ks=[1]")
SHORT = ("evaluation.max_new_tokens=8", "evaluation.traces=0")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the setuptools that torch brings."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build leaves files beside what it builds, and takes those of an earlier one
    for each in ("lens_core", "components", "pipelines"):
        shutil.copytree(ROOT / each, source / each, ignore=shutil.ignore_patterns("__pycache__"))
    for each in ("lens_components", "lens_pipelines", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / each, source / each, follow_symlinks=False)
    build = [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "--no-build-isolation", "-w", str(folder)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.glob("lens_grpo-*.whl")
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("components", "pipelines"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("OWNER = 'the user'\n")
    return tmp_path


def in_project(project: Path, wheel: Path, *arguments: str) -> str:
    """What Python prints with the project's packages first, and this package out of the wheel."""
    installed = project / "installed"
    if not installed.exists():
        zipfile.ZipFile(wheel).extractall(installed)
    environment = {**os.environ, "PYTHONPATH": f".{os.pathsep}{installed}"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_claims_no_names_that_others_have(wheel: Path) -> None:
    names = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    (metadata,) = (name for name in names if name.endswith(".dist-info"))
    assert names - {metadata} == {"lens_core", "lens_components", "lens_pipelines"}


def test_users_own_packages_are_found_beside_ours(project: Path, wheel: Path) -> None:
    code = "import components, pipelines, lens_components; print(components.OWNER, lens_components.__file__)"
    owner, ours = in_project(project, wheel, "-c", code).rsplit(maxsplit=1)
    assert owner == "the user"
    assert Path(ours) == project / "installed/lens_components/__init__.py"


def test_pipelines_are_compiled_in_such_a_project(project: Path, wheel: Path) -> None:
    in_project(project, wheel, "-m", "lens_core.cli", "pipeline", "compile", "--output", "compiled")
    assert {each.name for each in (project / "compiled").iterdir()} == {
        "lens-pipeline.yaml",
        "sweep-pipeline.yaml",
        "evaluate-pipeline.yaml",
    }


@pytest.mark.long
def test_pipeline_runs_in_such_a_project(project: Path, wheel: Path) -> None:
    overrides = (f"base={save_tiny_policy(project / 'mine')}", *SMALL, *SHORT)
    options = [
        "--recipe",
        "demo",
        "--pipeline",
        "evaluate",
        "--json",
        *(part for each in overrides for part in ("--set", each)),
    ]
    printed = in_project(project, wheel, "-m", "lens_core.cli", "pipeline", "run", *options)
    (report,) = json.loads(printed.splitlines()[-1])["evaluations"]
    # One problem on each of 5 levels, 2 answers to each.
    assert (report["model"], report["problems"], report["n"]) == ("mine", 5, 2)
