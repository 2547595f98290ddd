"""A Ray cluster to work on: the one that RAY_ADDRESS or a job names, else one of this machine's own."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import util
from pathlib import Path
from typing import Any

from lens_core.errors import LensError, first_line
from lens_core.processes import deaf_children, guarded
from lens_core.signals import ENDING, kept

PACKAGES = ("lens_core",)
"""Shipped to the nodes of a cluster that runs already; what they depend on is in the cluster's image."""


@contextmanager
def ray_cluster(cpus: int | None = None) -> Iterator[None]:
    """Connect to Ray for the block, and disconnect after it; a cluster started here ends with it, and has no dashboard.

    An address comes from RAY_ADDRESS (`ray://head:10001`, or `auto`), which the jobs API sets too; Ray itself reads the
    token of a cluster that asks for one (RAY_AUTH_MODE=token, RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH).

    Args:
        cpus: that a cluster of this machine's own is to have; None: as many as the machine.

    Raises:
        LensError: if Ray is not installed, or the cluster is not reached.
    """
    try:
        import ray
    except ImportError as error:
        raise LensError("Ray is not installed: pip install 'lens-grpo[ray]'") from error
    if ray.is_initialized():  # by the caller, who also ends it
        yield
        return
    with kept(), _connected(cpus):  # Ray leaves its own handler of SIGTERM behind, also where it fails
        yield


@contextmanager
def _connected(cpus: int | None) -> Iterator[None]:
    import ray

    address = os.environ.get("RAY_ADDRESS")
    warnings.filterwarnings("ignore", message="Ray Client connection timed out")  # said by our own error
    handled = [each for each in ENDING if callable(signal.getsignal(each))]
    is_ours = address is None
    with guarded() if is_ours else nullcontext():
        where: dict[str, Any] = {"address": address}
        if is_ours:
            where = {"address": "local", "num_cpus": cpus, "include_dashboard": False, "job_config": _job_config()}
        else:
            where["runtime_env"] = {"py_modules": [str(_folder(name)) for name in PACKAGES]}
        try:
            # Ray puts a handler of its own in their place.
            with kept(handled), deaf_children() if is_ours else nullcontext():
                context = ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray's own kinds have no common base, and some of its failures are a bare Exception
            if is_ours:
                raise LensError(
                    f"no Ray cluster on this machine: {type(error).__name__}: {first_line(error)}; its logs are in "
                    "/tmp/ray/session_latest/logs; a full /tmp or /dev/shm keeps it from starting, and so does a proxy "
                    "for localhost; a training without --workers needs no Ray"
                ) from error
            raise LensError(
                f"no Ray cluster at RAY_ADDRESS={address}: {first_line(error)}; check that it runs, and RAY_AUTH_TOKEN "
                "or RAY_AUTH_TOKEN_PATH where it asks for a token"
            ) from error
        if context.dashboard_url:
            print(f"Ray's dashboard: http://{context.dashboard_url}", file=sys.stderr)
        try:
            yield
        finally:
            ray.shutdown()


def _job_config() -> Any:
    """Ray puts the working directory in front of what workers import; here only where the driver imports from it."""
    from ray.job_config import JobConfig

    class OwnPath(JobConfig):
        _py_driver_sys_path: list[str]

        def _serialize(self) -> str:
            self._py_driver_sys_path = [folder for folder in self._py_driver_sys_path if folder in sys.path]
            return super()._serialize()

    return OwnPath()


def _folder(package: str) -> Path:
    spec = util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations)))
