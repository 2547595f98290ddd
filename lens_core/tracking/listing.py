"""Runs as plain values, for lists and comparisons in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lens_core.errors import LensError
from lens_core.tracking.stale import close_stale
from lens_core.tracking.store import (
    PARENT_TAG,
    PIPELINE,
    RUN_TAG,
    STAGE_TAG,
    equals,
    find_experiment,
    open_store,
    refusals_named,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_MOST = 1000


@dataclass(frozen=True)
class RunRow:
    """A run of ours."""

    id: str
    run: str
    """The pipeline run that it belongs to."""
    name: str
    depth: int
    """0: a pipeline run; 1: a stage; 2: a trial."""
    status: str
    method: str | None
    started_s: float
    ended_s: float | None
    """Both in seconds since 1970; None: it runs."""
    params: Mapping[str, str]
    metrics: Mapping[str, float]

    @property
    def pass_at_1(self) -> float | None:
        return self.metrics.get("pass_at_1")


def list_runs(uri: str, pipelines: int) -> list[RunRow]:
    """The newest `pipelines` pipeline runs, each followed by what is nested in it, oldest first.

    Runs whose process is gone are closed before (see `stale`).
    """
    client = open_store(uri)
    with refusals_named(uri):
        experiment = find_experiment(client)
        if experiment is None:
            return []
        close_stale(client, experiment)
        query = equals(f"tags.{STAGE_TAG}", PIPELINE)
        heads = client.search_runs([experiment], query, max_results=pipelines, order_by=["attributes.start_time DESC"])
        return [row for head in heads for row in _tree(client, experiment, head)]


def charts_page(address: str, uri: str) -> str:
    """The page of MLflow's UI that shows the charts of our runs.

    Args:
        address: where the UI is served.
        uri: of the store.
    """
    experiment = find_experiment(open_store(uri))
    page = "" if experiment is None else f"/#/experiments/{experiment}/runs?compareRunsMode=CHART"
    return address.rstrip("/") + page


def find_run(uri: str, name: str) -> RunRow:
    """The run with the id `name` or one that begins so, or the newest called `name`: `demo`, `demo/train lens`.

    Raises:
        LensError: if there is none, or an id's beginning fits several.
    """
    rows = list_runs(uri, _MOST)
    by_id = [row for row in rows if row.id.startswith(name)]
    if len(by_id) > 1 and len(name) > 1:
        raise LensError(f"{name} is the beginning of {len(by_id)} runs' ids: give more of it")
    called = [row for row in rows if name in (f"{row.run}/{row.name}", row.run if row.depth == 0 else None)]
    found = [*by_id, *sorted(called, key=lambda row: row.started_s, reverse=True)]
    if not found:
        raise LensError(f"there is no run {name}: `lens runs` lists names and ids; a stage is RUN/STAGE")
    return found[0]


def differing(a: Mapping[str, str], b: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Key -> the values of both, where they differ; None where one has no such key."""
    return {key: (a.get(key), b.get(key)) for key in sorted({*a, *b}) if a.get(key) != b.get(key)}


def _tree(client: MlflowClient, experiment: str, head: Run) -> list[RunRow]:
    query = equals(f"tags.{RUN_TAG}", head.data.tags[RUN_TAG])
    inside = client.search_runs([experiment], query, max_results=_MOST, order_by=["attributes.start_time ASC"])
    return _below(head, [run for run in inside if run.info.run_id != head.info.run_id], 0)


def _below(run: Run, others: Sequence[Run], depth: int) -> list[RunRow]:
    children = [each for each in others if each.data.tags.get(PARENT_TAG) == run.info.run_id]
    return [_row(run, depth), *(row for child in children for row in _below(child, others, depth + 1))]


def _row(run: Run, depth: int) -> RunRow:
    info, tags = run.info, run.data.tags
    return RunRow(
        id=info.run_id,
        run=tags[RUN_TAG],
        name=info.run_name,
        depth=depth,
        status=info.status,
        method=tags.get("lens.method"),
        started_s=info.start_time / 1000,
        ended_s=None if info.end_time is None else info.end_time / 1000,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
    )
