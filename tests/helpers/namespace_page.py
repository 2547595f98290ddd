"""docs/namespace.md, carried out: its commands in a folder that looks like a checkout."""

import os
import subprocess
from pathlib import Path

from tests.helpers.docs import ROOT, blocks
from tests.helpers.manifests import KUBECTL

PAGE = ROOT / "docs/namespace.md"
MAKE, APPLY, VOLUME, RUN, SUBMIT, PROFILE = blocks(PAGE, "bash")
VALUES = {"MLFLOW_PASSWORD": "a-password", "HF_TOKEN": "hf_a-token"}


def checkout(folder: Path) -> Path:
    """`folder`, with what the page takes from a checkout and from a home."""
    (folder / "k8s").symlink_to(ROOT / "k8s")
    (folder / "home/.docker").mkdir(parents=True)
    (folder / "home/.docker/config.json").write_text('{"auths": {}}')
    return folder


def team_of_the_page(place: Path) -> Path:
    """Folder `team-a`, as the page has it made in the checkout `place`."""
    done = shell(MAKE + APPLY.partition("kubectl apply")[0], checkout(place))
    assert done.returncode == 0, done.stderr
    return place / "team-a"


def shell(commands: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a reader types, stopped at the first error; kubectl and lens are those of this environment."""
    path = f"{KUBECTL.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "HOME": str(folder / "home"), "PATH": path, **VALUES, **variables}
    return subprocess.run(["bash", "-ec", commands], cwd=folder, env=environment, capture_output=True, text=True)
