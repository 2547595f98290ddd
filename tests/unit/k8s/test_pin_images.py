"""Production runs images by digest: what a tag stands for can change, and then other bytes would run under our name."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.helpers.manifests import ROOT, containers, pod_templates, rendered

PRODUCTION = ROOT / "k8s/overlays/production"
ASKED = (
    "registry.example.com/lens-grpo:0.1.0",
    "registry.example.com/lens-mlflow:0.1.0",
    "postgres:17.6-bookworm",
    "registry.example.com/lens-grpo:0.1.0-cuda",
)


def digest(image: str) -> str:
    return f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    return shutil.copytree(PRODUCTION, tmp_path / "production")


def run(overlay: Path, tools: Path) -> "subprocess.CompletedProcess[str]":
    """With `tools` alone on the path."""
    command = [sys.executable, str(ROOT / "scripts/pin-images"), str(overlay)]
    return subprocess.run(command, env={"PATH": str(tools)}, capture_output=True, text=True)


def registry(folder: Path, *known: str) -> Path:
    """A folder with a `skopeo` that knows these images."""
    folder.mkdir()
    answers = {f"docker://{image}": digest(image) for image in known}
    code = f"#!{sys.executable}\nimport sys\nprint({answers!r}.get(sys.argv[-1]) or sys.exit('manifest unknown'))\n"
    (folder / "skopeo").write_text(code)
    os.chmod(folder / "skopeo", 0o755)
    return folder


def test_production_names_every_image_by_digest() -> None:
    manifests = rendered("overlays/production")
    images = {each["image"] for m in manifests for t in pod_templates(m) for each in containers(t["spec"])}
    images.add(yaml.safe_load((PRODUCTION / "cluster.yaml").read_text("utf-8"))["image"])
    assert {image.partition("@")[0] for image in images} == set(ASKED)
    assert [image for image in images if not re.search(r"@sha256:[0-9a-f]{64}$", image)] == []


def test_command_writes_what_the_registry_says(overlay: Path, tmp_path: Path) -> None:
    done = run(overlay, registry(tmp_path / "tools", *ASKED))
    assert done.returncode == 0, done.stderr
    images = yaml.safe_load((overlay / "kustomization.yaml").read_text("utf-8"))["images"]
    found = {f"{each.get('newName', each['name'])}:{each['newTag']}": each["digest"] for each in images}
    found |= [yaml.safe_load((overlay / "cluster.yaml").read_text("utf-8"))["image"].split("@")]
    assert found == {image: digest(image) for image in ASKED}
    before, after = ((each / "kustomization.yaml").read_text("utf-8") for each in (PRODUCTION, overlay))
    assert re.sub(r"sha256:\w+", "", before) == re.sub(r"sha256:\w+", "", after), "comments and all else stay"


def test_image_that_no_registry_has_changes_nothing(overlay: Path, tmp_path: Path) -> None:
    done = run(overlay, registry(tmp_path / "tools", *ASKED[:3]))
    assert done.returncode == 1
    assert done.stderr == f"pin-images: skopeo has no digest for {ASKED[3]}: manifest unknown\n"
    for name in ("kustomization.yaml", "cluster.yaml"):
        assert (overlay / name).read_bytes() == (PRODUCTION / name).read_bytes()


def test_without_a_tool_the_remedy_is_said(overlay: Path, tmp_path: Path) -> None:
    done = run(overlay, tmp_path)
    assert done.stderr == "pin-images: none of skopeo, crane and docker is there to ask a registry: install one\n"
