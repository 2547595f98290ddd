"""Runs: a pipeline run, its stages nested in it, a sweep's trials nested in their stage.

Everything goes through `MlflowClient` with explicit run ids. The fluent API would take over, and end, the run that an
inherited MLFLOW_RUN_ID names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lens_core.errors import LensError, StoppedError, first_line
from lens_core.signals import interrupting
from lens_core.tracking.origin import (
    COMMAND_TAG,
    PROCESS_TAG,
    code_in_words,
    command_line,
    environment,
    origin_tags,
    process_tag,
    versions,
)
from lens_core.tracking.run import StageRun, Status
from lens_core.tracking.sender import logger
from lens_core.tracking.stale import close_stale_once
from lens_core.tracking.store import (
    PARENT_TAG,
    PIPELINE,
    RUN_TAG,
    STAGE_TAG,
    Tracking,
    alone_in,
    equals,
    experiment_in,
    open_store,
    refusals_named,
)
from lens_core.tracking.system import watched

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ENVIRONMENT_FILE = "requirements.txt"


def unfinished_run(tracking: Tracking, stage: str, tags: Mapping[str, str]) -> str | None:
    """Id of the newest run of `stage` with these tags, if it was interrupted or failed: a repetition goes on in it."""
    parent = parent_run(tracking)
    wanted = {PARENT_TAG: parent.run_id, STAGE_TAG: stage, **tags}
    query = " and ".join(equals(f"tags.{key}", value) for key, value in wanted.items())
    newest = next(iter(parent.client.search_runs([parent.experiment_id], query, max_results=1)), None)
    return newest.info.run_id if newest is not None and newest.info.status in ("FAILED", "KILLED") else None


def last_step(run: StageRun) -> int:
    """The newest step whose metrics the server has; 0 where it has none."""
    history = run.client.get_metric_history(run.run_id, "elapsed_s")
    return max((point.step for point in history), default=0)


@contextmanager
def stage_run(tracking: Tracking, stage: str, resume_id: str | None = None) -> Iterator[StageRun]:
    """Open the nested run of `stage`; it ends FINISHED, or FAILED (KILLED on Ctrl-C or SIGTERM) where the block raises.

    The machine is watched meanwhile. On a cluster no process looks after the pipeline run: a stage that fails ends it.

    Args:
        resume_id: an earlier run of the stage to go on with, which is then running again.

    Raises:
        LensError: if MLflow knows no run `resume_id`, or does not take what the stage logs.
    """
    with interrupting(), refusals_named(tracking.uri):
        run = new_run(tracking, stage) if resume_id is None else old_run(tracking, resume_id)
        run.client.log_text(run.run_id, environment(), ENVIRONMENT_FILE)
        try:
            with watched(run):
                yield run
        except BaseException as error:
            _end_early(run, tracking, _status(error))
            raise
        run.end("FINISHED")


def new_run(tracking: Tracking, stage: str, name: str | None = None, parent: StageRun | None = None) -> StageRun:
    """A nested run that is running until its `end` is called.

    Args:
        stage: what kind of work it is.
        name: shown in lists; None: `stage`.
        parent: the run to nest it in; None: the pipeline run.
    """
    parent = parent_run(tracking) if parent is None else parent
    tags = {**origin_tags(), PARENT_TAG: parent.run_id, RUN_TAG: tracking.run, STAGE_TAG: stage}
    name = stage if name is None else name
    created = parent.client.create_run(parent.experiment_id, run_name=name, tags=tags)
    return StageRun(parent.client, created.info.run_id)


def old_run(tracking: Tracking, run_id: str) -> StageRun:
    """An earlier nested run, running again.

    Raises:
        LensError: if MLflow does not know it.
    """
    client = parent_run(tracking).client
    from mlflow.exceptions import MlflowException

    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        raise LensError(
            f"MLflow has no run {run_id}, which this training was tracked in: give the --tracking-uri (or --home) of "
            f"before ({first_line(error)})"
        ) from error
    run = StageRun(client, run_id)
    run.tags(process_tag())
    return run


def parent_run(tracking: Tracking) -> StageRun:
    """The pipeline run: made if it is new, running again if it had ended.

    Where MLFLOW_RUN_ID names a run, which Kubeflow's MLflow plugin or a person has opened, it is that one: stages are
    nested in it, and it is never ended here.

    Raises:
        LensError: if the store does not know the run that MLFLOW_RUN_ID names, or does not let us in.
    """
    client = open_store(tracking.uri)
    with refusals_named(tracking.uri):
        joined = _joined(client, tracking)
        if joined is not None:
            return joined
        experiment = experiment_in(client)
        close_stale_once(tracking.uri)
        parent = _find_parent(client, experiment, tracking.run)
        if parent is None:
            with alone_in(tracking.uri):  # several commands of one name share one
                parent = _find_parent(client, experiment, tracking.run) or _new_parent(client, experiment, tracking.run)
        elif parent.info.status != "RUNNING":
            client.update_run(parent.info.run_id, status="RUNNING")
        return StageRun(client, parent.info.run_id)


def end_parent(tracking: Tracking, status: Status) -> None:
    """Set the final status of the pipeline run, if there is one of ours that runs."""
    if "MLFLOW_RUN_ID" in os.environ:
        return
    client = open_store(tracking.uri)
    parent = _find_parent(client, experiment_in(client), tracking.run)
    if parent is not None and parent.info.status == "RUNNING":
        client.set_terminated(parent.info.run_id, status)


@contextmanager
def whole_run(tracking: Tracking) -> Iterator[None]:
    """This process is the whole pipeline run, which ends as the block does: FINISHED, KILLED on Ctrl-C, or FAILED."""
    with interrupting():
        parent = parent_run(tracking)
        if "MLFLOW_RUN_ID" not in os.environ:
            parent.tags({**origin_tags(), COMMAND_TAG: command_line()})
        try:
            yield
        except BaseException as error:
            end_parent(tracking, _status(error))
            raise
        end_parent(tracking, "FINISHED")


def run_facts(tracking: Tracking) -> dict[str, str]:
    """Of the pipeline run, for its report: code, versions, command, and how long each stage took."""
    parent = parent_run(tracking)
    tags = parent.client.get_run(parent.run_id).data.tags
    facts = {"Code": code_in_words(), "Versions": versions()}
    if COMMAND_TAG in tags:
        facts["Command"] = tags[COMMAND_TAG]
    stages = parent.client.search_runs(
        [parent.experiment_id], equals(f"tags.{PARENT_TAG}", parent.run_id), order_by=["attributes.start_time ASC"]
    )
    times = {each.info.run_name: each.info for each in stages if each.info.end_time is not None}
    if times:
        facts["Wall clock"] = ", ".join(
            f"{name} {(info.end_time - info.start_time) / 1000:.0f} s" for name, info in times.items()
        )
    return facts


def _status(error: BaseException) -> Status:
    stopped = isinstance(error, StoppedError) or not isinstance(error, Exception)  # KeyboardInterrupt, SystemExit
    return "KILLED" if stopped else "FAILED"


def _end_early(run: StageRun, tracking: Tracking, status: Status) -> None:
    """End the run, and the pipeline run where no process looks after it.

    What went wrong before matters more than a server that does not take it; a later command closes the run.
    """
    from mlflow.exceptions import MlflowException

    try:
        run.end(status)
        if PROCESS_TAG not in run.client.get_run(parent_run(tracking).run_id).data.tags:
            end_parent(tracking, status)
    except (MlflowException, LensError) as failure:
        logger.warning("run %s stays open in MLflow until the next command: %s", run.run_id, first_line(failure))


def _joined(client: MlflowClient, tracking: Tracking) -> StageRun | None:
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if run_id is None:
        return None
    from mlflow.exceptions import MlflowException

    try:
        client.get_run(run_id)
    except MlflowException as error:
        raise LensError(
            f"MLFLOW_RUN_ID is {run_id}, a run that MLflow at {tracking.uri} does not have: unset it, or give the "
            f"--tracking-uri that it belongs to ({first_line(error)})"
        ) from error
    return StageRun(client, run_id)


def _new_parent(client: MlflowClient, experiment: str, run: str) -> Run:
    return client.create_run(experiment, run_name=run, tags={RUN_TAG: run, STAGE_TAG: PIPELINE})


def _find_parent(client: MlflowClient, experiment: str, run: str) -> Run | None:
    query = f"{equals(f'tags.{RUN_TAG}', run)} and {equals(f'tags.{STAGE_TAG}', PIPELINE)}"
    return next(iter(client.search_runs([experiment], query, max_results=1)), None)
