"""kubectl, on the cluster that KUBECONFIG names."""

import subprocess

import yaml

from tests.helpers.manifests import KUBECTL, Manifest

NAMESPACE = "lens-kube-tests"
"""Not the one that the manifests name: what still points there fails."""


def kubectl(*arguments: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([KUBECTL, *arguments], input=stdin, capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, done.stderr
    return done


def text(manifests: list[Manifest]) -> str:
    return yaml.safe_dump_all(manifests)
