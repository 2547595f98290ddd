"""What this machine lacks for lens, and how to mend it."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lens_core.config import checked_address
from lens_core.credentials import masked_address
from lens_core.errors import LensError, first_line
from lens_core.kfp.versions import OLDEST, is_older
from lens_core.tracking import checked_uri, describe_store

_DISK_GB, _MEMORY_GB = 5, 4
"""What the demo needs, with something to spare."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "missing", "broken"]
    """`missing`: some commands need it; `broken`: nothing is sure to work until it is mended."""
    found: str
    remedy: str = ""


def examine(home: Path, tracking_uri: str, kfp_endpoint: str | None) -> list[Check]:
    """All checks, each within seconds; one that fails itself is broken, and the others go on."""
    checks: dict[str, Callable[[], Check | list[Check]]] = {
        "Python": _python,
        "packages": lambda: _packages("packages", None),
        "GPU": _gpu,
        "memory": _memory,
        "disk": lambda: _disk(home),
        "Ray": lambda: _packages("Ray", "ray"),
        "Ray cluster": lambda: _ray_cluster(os.environ.get("RAY_ADDRESS")),
        "vLLM": lambda: _packages("vLLM", "vllm"),
        "MLflow": lambda: _mlflow(tracking_uri),
        "KFP": lambda: _packages("KFP", "kfp"),
        "KFP endpoint": lambda: [] if kfp_endpoint is None else _kfp(kfp_endpoint),
    }
    found = [_looked(name, look) for name, look in checks.items()]
    return [check for each in found for check in (each if isinstance(each, list) else [each])]


def _looked(name: str, look: Callable[[], Check | list[Check]]) -> Check | list[Check]:
    try:
        return look()
    except Exception as error:  # whatever a library raises about a machine that is not in order
        return Check(name, "broken", f"{type(error).__name__}: {first_line(error)}", "please report it")


def _python() -> Check:
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    try:
        wanted = metadata.metadata("lens-grpo")["Requires-Python"]
    except metadata.PackageNotFoundError:  # a checkout can be run without being installed; `packages` says so
        return Check("Python", "ok", found)
    if not SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
        return Check("Python", "broken", found, f"install Python {wanted} and make the environment again")
    return Check("Python", "ok", found)


def _packages(name: str, extra: str | None) -> Check:
    """Whether what the package asks for is installed in a version that it knows; an `extra` may be missing."""
    try:
        declared = metadata.requires("lens-grpo")
    except metadata.PackageNotFoundError:
        return Check(name, "broken", "lens-grpo itself is not installed here", "pip install -e . in its checkout")
    wanted = _requirements(declared, extra)
    faults = [fault for fault in map(_fault, wanted) if fault is not None]
    if not faults:
        return Check(name, "ok", ", ".join(f"{each.name} {_version(each.name)}" for each in wanted[:6]))
    if extra is not None and not any(_version(each.name) for each in wanted):
        return Check(name, "missing", "not installed", f"pip install 'lens-grpo[{extra}]'")
    target = "lens-grpo" if extra is None else f"lens-grpo[{extra}]"
    return Check(name, "broken" if extra is None else "missing", "; ".join(faults), f"pip install '{target}'")


def _requirements(declared: Sequence[str] | None, extra: str | None) -> list[Requirement]:
    """Those of the package itself, or those that `extra` adds."""
    parsed = [Requirement(each) for each in declared or ()]
    if extra is None:
        return [each for each in parsed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return [each for each in parsed if each.marker is not None and each.marker.evaluate({"extra": extra})]


def _fault(wanted: Requirement) -> str | None:
    found = _version(wanted.name)
    if found is None:
        return f"{wanted.name} is not installed"
    return (
        None
        if wanted.specifier.contains(found, prereleases=True)
        else f"{wanted.name} {found} is not {wanted.specifier}"
    )


def _version(package: str) -> str | None:
    """Of the package, or of its build for CPUs."""
    for name in (package, f"{package}-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _gpu() -> Check:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        if _version("nvidia-ml-py") is None:
            remedy = "pip install nvidia-ml-py, and MLflow shows how busy the GPUs are"
            return Check("GPU", "missing", ", ".join(names) + ", not watched", remedy)
        return Check("GPU", "ok", ", ".join(names))
    if shutil.which("nvidia-smi") is not None:
        remedy = "install a CUDA build of torch that the driver knows (https://pytorch.org/get-started)"
        return Check("GPU", "missing", f"torch {torch.__version__} does not see this machine's NVIDIA GPU", remedy)
    return Check("GPU", "ok", "none: lens runs on the CPU, which is enough for the demo and the ladder")


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    if memory.available < _MEMORY_GB * 1e9:
        return Check("memory", "missing", found, f"close something: the demo takes up to {_MEMORY_GB} GB")
    return Check("memory", "ok", found)


def _disk(home: Path) -> Check:
    place = home.absolute()
    while not os.path.exists(place):  # False, too, where we may not look
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{free / 1e9:.1f} GB free at {place}"
    if not os.access(place, os.W_OK):
        return Check("disk", "broken", f"{place} cannot be written to", "choose another --home (LENS_HOME)")
    if free < _DISK_GB * 1e9:
        return Check("disk", "broken", found, f"make room for {_DISK_GB} GB, or choose another --home (LENS_HOME)")
    return Check("disk", "ok", found)


def _ray_cluster(address: str | None) -> list[Check]:
    """The cluster that RAY_ADDRESS names; without one Ray starts one on this machine."""
    if address is None:
        return []
    shown = masked_address(address)
    try:
        parsed = urlparse(address if "//" in address else f"//{address}")
        if parsed.hostname is None or parsed.port is None:  # `auto`, `local`
            return [Check("Ray cluster", "ok", f"RAY_ADDRESS={shown}")]
        socket.create_connection((parsed.hostname, parsed.port), timeout=5).close()
    except (OSError, ValueError) as error:  # ValueError: no address at all
        remedy = "start it (`ray start --head`), or unset RAY_ADDRESS to use this machine alone"
        return [Check("Ray cluster", "broken", f"{shown} does not answer ({first_line(error)})", remedy)]
    return [Check("Ray cluster", "ok", f"{shown} answers")]


def _mlflow(uri: str) -> Check:
    try:
        return Check("MLflow", "ok", f"{checked_uri(uri)}: {describe_store(uri)}")
    except ImportError as error:
        return Check("MLflow", "broken", f"mlflow cannot be imported ({first_line(error)})", "pip install mlflow")
    except LensError as error:
        remedy = "start the server, correct --tracking-uri (MLFLOW_TRACKING_URI), or leave it out for a store in --home"
        return Check("MLflow", "broken", str(error), remedy)


def _kfp(endpoint: str) -> Check:
    """A login page, which a gateway shows without a credential, is no answer."""
    import requests

    try:
        checked_address(endpoint, "the address of the KFP endpoint", "set KFP_TOKEN")
    except LensError as error:
        return Check("KFP endpoint", "broken", str(error), "set KFP_ENDPOINT to an address alone")
    token, cookie = os.environ.get("KFP_TOKEN"), os.environ.get("KFP_COOKIE")
    headers = {} if token is None else {"Authorization": f"Bearer {token.strip()}"}
    headers |= {} if cookie is None else {"Cookie": cookie.strip()}
    try:
        address = f"{endpoint.rstrip('/')}/apis/v2beta1/healthz"
        answer = requests.get(address, headers=headers, timeout=5, allow_redirects=False)
        answer.raise_for_status()
        version = str(answer.json().get("tag_name", "unknown"))
    except (requests.RequestException, ValueError, AttributeError) as error:  # ValueError: a token that cannot be sent
        remedy = (
            "check the address (with kubectl: port-forward -n kubeflow svc/ml-pipeline 8888), KFP_TOKEN and KFP_COOKIE"
        )
        return Check("KFP endpoint", "broken", f"{endpoint} does not answer as one ({type(error).__name__})", remedy)
    found = f"{endpoint} answers, version {version}"
    if is_older(version, OLDEST):
        wanted = ".".join(map(str, OLDEST))
        remedy = f"install KFP {wanted} or newer (docs/cluster.md#which-kubeflow-pipelines)"
        return Check("KFP endpoint", "broken", f"{found}, which is too old", remedy)
    return Check("KFP endpoint", "ok", found)
