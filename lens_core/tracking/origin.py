"""Where a run comes from: the code, the machine's packages, and the process that does its work."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

from lens_core.credentials import masked

PROCESS_TAG = "lens.process"


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
    return {"mlflow.source.git.commit": commit, "lens.git_dirty": str(bool(dirty)).lower()}


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
