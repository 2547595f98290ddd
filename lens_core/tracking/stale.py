"""Runs whose process was killed before it could say so: no run stays "running" for ever.

Every command that opens a store closes those of its own machine whose process is gone, and those of other machines
that have been silent for an hour. A run that was only silent, behind a server that was away say, is none the worse for
it: it ends with its own status in the end.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

from lens_core.tracking.origin import PROCESS_TAG, host
from lens_core.tracking.store import HEARTBEAT, PARENT_TAG, RUN_TAG, equals, find_experiment, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SILENT_S = 3600.0


@cache
def close_stale_once(uri: str) -> None:
    """`close_stale`, by the first call of this process for the store at `uri`."""
    client = open_store(uri)
    experiment = find_experiment(client)
    if experiment is not None:
        close_stale(client, experiment)


def close_stale(client: MlflowClient, experiment: str) -> list[str]:
    """End as KILLED what runs no more (a pipeline run with a failed stage as FAILED), and return the ids of it."""
    query = f"attributes.status = 'RUNNING' and tags.`{RUN_TAG}` != ''"
    running = client.search_runs([experiment], query, max_results=1000)
    trees: dict[str, list[Run]] = {}
    closed = []
    for run in running:
        name = run.data.tags[RUN_TAG]
        if name not in trees:
            trees[name] = client.search_runs([experiment], equals(f"tags.{RUN_TAG}", name), max_results=1000)
        reason = _why_stale(run, trees[name])
        if reason is not None:
            children = [each for each in trees[name] if each.data.tags.get(PARENT_TAG) == run.info.run_id]
            status = "FAILED" if any(child.info.status == "FAILED" for child in children) else "KILLED"
            client.set_tag(run.info.run_id, "lens.closed", reason)
            client.set_terminated(run.info.run_id, status, end_time=int(1000 * _last_sign(run)))
            closed.append(run.info.run_id)
    return closed


def _why_stale(run: Run, tree: list[Run]) -> str | None:
    where, pid, started = run.data.tags.get(PROCESS_TAG, "elsewhere 0 0").rsplit(" ", 2)
    if where == host():
        return None if _lives(int(pid), float(started)) else f"its process {pid} on this machine was gone"
    signs = [_last_sign(run)] if HEARTBEAT in run.data.metrics else [_last_sign(each) for each in tree]
    silent_s = time.time() - max(signs)
    return f"nothing was heard of it for {silent_s / 60:.0f} minutes" if silent_s > SILENT_S else None


def _lives(pid: int, started: float) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        # A zombie has ended; one that started at another time has only got the same number.
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) < 1
    except psutil.NoSuchProcess:
        return False


def _last_sign(run: Run) -> float:
    """Seconds since 1970."""
    end = 0 if run.info.end_time is None else run.info.end_time / 1000
    return max(run.info.start_time / 1000, end, run.data.metrics.get(HEARTBEAT, 0.0))
