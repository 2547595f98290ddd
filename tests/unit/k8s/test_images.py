"""What can be said of the images without building them; `make check-images` runs one."""

import re
import tomllib
from pathlib import Path

import pytest

from lens_components.image import IMAGE
from tests.helpers.manifests import ROOT, containers, pod_templates, rendered

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
DOCKERFILES = sorted((ROOT / "images").glob("*/Dockerfile"))


def test_manifests_use_the_images_of_this_version() -> None:
    manifests = rendered("overlays/local") + rendered("ray/base")
    images = {each["image"] for m in manifests for t in pod_templates(m) for each in containers(t["spec"])}
    assert {image for image in images if image.startswith("lens-")} == {
        f"lens-grpo:{VERSION}",
        f"lens-mlflow:{VERSION}",
    }


def test_steps_of_pipelines_run_in_the_image_of_this_version() -> None:
    assert f"lens-grpo:{VERSION}" == IMAGE


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_image_runs_as_the_user_of_the_pods(dockerfile: Path) -> None:
    text = dockerfile.read_text("utf-8")
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["1000:1000"]
    assert "org.opencontainers.image.revision" in text


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_image_copies_only_what_its_context_holds(dockerfile: Path) -> None:
    """.dockerignore lets nothing else into the build."""
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile.read_text("utf-8"), re.MULTILINE)
    let_in = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
        assert f"!{name}" in let_in


def test_image_installs_every_package_of_the_project() -> None:
    found = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]["find"]
    text = (ROOT / "images/lens/Dockerfile").read_text("utf-8")
    for package in (pattern.removesuffix("*") for pattern in found["include"]):
        assert re.search(rf"^COPY {package} {package}$|\bln -s \w+ {package}\b", text, re.MULTILINE), package
