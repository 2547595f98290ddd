"""The entrypoint of a RayJob: runs the command, and ends it when its launcher is dead.

The launcher renews a Lease. When that has not happened for as long as the Lease holds, the command gets SIGTERM, on
which `lens train` writes a checkpoint; after a time of grace it is killed. Settings come from the environment
(lens_core.kube.rayjob). Exit codes: the command's, or 75 when the Lease went stale.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

from lens_core.errors import LensError
from lens_core.kube.api import Api, ApiError
from lens_core.kube.lease import RENEWALS, Patience
from lens_core.kube.rayjob import COMMAND, GRACE_S, LEASE, LEASE_S
from lens_core.processes import guarded
from lens_core.signals import handled

ABANDONED = 75
"""EX_TEMPFAIL: what was begun can be taken up again."""
_LOOK_S = 10.0
"""Longest time between two looks at the Lease."""


def main() -> int:
    try:
        command: list[str] = json.loads(os.environ[COMMAND])
        namespace, _, name = os.environ[LEASE].partition("/")
        lease_s, grace_s = float(os.environ[LEASE_S]), float(os.environ[GRACE_S])
    except (KeyError, ValueError) as error:
        return _refuse(f"{error} of the environment is missing or no good; the launcher sets it")
    try:
        api = Api(patience_s=lease_s / RENEWALS)
        _look(api, namespace, name)
    except ApiError as error:
        if error.status is not None:
            return _refuse(f"{error}; its service account must be allowed to get Leases")
    except LensError as error:
        return _refuse(str(error))
    with guarded():
        return _Watched(command, grace_s).run(api, namespace, name, lease_s)


def _refuse(message: str) -> int:
    print(f"lens watchdog: {message}", file=sys.stderr, flush=True)
    return 2


class _Watched:
    """The command, in a process of its own."""

    def __init__(self, command: list[str], grace_s: float) -> None:
        self._process = subprocess.Popen(command)
        self._grace_s = grace_s

    def run(self, api: Api, namespace: str, name: str, lease_s: float) -> int:
        with handled(lambda *_: self._process.terminate()):
            return self._wait(api, namespace, name, lease_s)

    def _wait(self, api: Api, namespace: str, name: str, lease_s: float) -> int:
        patience = Patience(lease_s)
        while True:
            try:
                return _exit_code(self._process.wait(min(_LOOK_S, lease_s / RENEWALS)))
            except subprocess.TimeoutExpired:
                pass
            try:
                lease = _look(api, namespace, name)
            except LensError as error:
                print(f"lens watchdog: {error}", flush=True)
                patience.could_not_look()
                continue
            if patience.is_over(lease, time.monotonic()):
                print(f"lens watchdog: the launcher is gone: Lease {name} not renewed for {lease_s:g} s", flush=True)
                self._end()
                return ABANDONED

    def _end(self) -> None:
        print(f"lens watchdog: the command has {self._grace_s:g} s for a checkpoint", flush=True)
        self._process.terminate()
        try:
            self._process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            print("lens watchdog: the command did not end, and is killed", flush=True)
            self._process.kill()
            self._process.wait()


def _look(api: Api, namespace: str, name: str) -> Any:
    """When the Lease was renewed; None where there is none. An unreachable server is a LensError here too."""
    lease = api.lease(namespace, name)
    return None if lease is None else lease.renewed


def _exit_code(code: int) -> int:
    """As a shell has it: 128 and the number of the signal."""
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main())
