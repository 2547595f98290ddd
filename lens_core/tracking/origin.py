"""Where a run comes from: the code, the machine's packages, and the process that does its work."""

from __future__ import annotations

import os
import platform
import shlex
import socket
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from lens_core.credentials import masked

PROCESS_TAG, COMMAND_TAG, COMMIT_TAG, DIRTY_TAG = (
    "lens.process",
    "lens.command",
    "mlflow.source.git.commit",
    "lens.git_dirty",
)
_VERSIONS = ("torch", "transformers", "trl")
"""Packages whose versions decide over a run's numbers."""


def own_version() -> str:
    """Ours; of a checkout that is not installed, or was shipped to a Ray cluster, it says so."""
    try:
        return metadata.version("lens-grpo")
    except metadata.PackageNotFoundError:
        return "not installed"


def origin_tags() -> dict[str, str]:
    """Tags that say what ran: user, source and git commit as MLflow's UI shows them, our version, dirty flag, image."""
    from mlflow.tracking.context.registry import resolve_tags

    tags = {"mlflow.source.name": "lens-grpo", "lens.version": own_version(), **_code(), **process_tag()}
    if "LENS_IMAGE" in os.environ:
        tags["lens.image"] = os.environ["LENS_IMAGE"]
    return {key: masked(value) for key, value in resolve_tags(tags).items()}


@cache
def _code() -> dict[str, str]:
    """Commit of the checkout that this package lies in, and whether it was changed since; nothing where it is none."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {}
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git here, or not one's own checkout
        return {}
    commit, _, dirty = found.partition("-")
    return {COMMIT_TAG: commit, DIRTY_TAG: str(bool(dirty)).lower()}


def code_in_words() -> str:
    """`lens-grpo 0.3.0, commit 17ec4ae0b1c2, changed since`"""
    tags = _code()
    commit = f", commit {tags[COMMIT_TAG][:12]}" if tags else ""
    return f"lens-grpo {own_version()}{commit}{', changed since' if tags.get(DIRTY_TAG) == 'true' else ''}"


def versions() -> str:
    """`Python 3.11.2, torch 2.9.0, transformers 5.1.0, trl 1.16.0`"""
    return ", ".join(
        [f"Python {platform.python_version()}", *(f"{each} {metadata.version(each)}" for each in _VERSIONS)]
    )


def command_line() -> str:
    """What this process was called with, secrets masked: `lens demo --set train.steps=20`."""
    return masked(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))


def process_tag() -> dict[str, str]:
    """The process that does a run's work: host, process id, its start in seconds since 1970 (see `stale`)."""
    import psutil

    return {PROCESS_TAG: f"{host()} {os.getpid()} {psutil.Process().create_time():.2f}"}


@cache
def host() -> str:
    """This machine, or this container of it: process ids mean something here and nowhere else."""
    namespace = Path("/proc/self/ns/pid")
    return socket.gethostname() + (f"-{namespace.stat().st_ino}" if namespace.exists() else "")


@cache
def environment() -> str:
    """Every installed package with its version, as a requirements file for pip."""
    pins = {f"{each.name}=={each.version}" for each in metadata.distributions()}
    head = f"# Python {platform.python_version()}, {platform.platform()}\n"
    return head + "".join(f"{pin}\n" for pin in sorted(pins, key=str.lower))
