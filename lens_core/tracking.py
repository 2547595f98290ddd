"""MLflow, and nothing else here talks to it: one parent run a pipeline run, one nested run a stage.

Everything goes through `MlflowClient` with explicit run ids. The fluent API would take over, and end, the run that an
inherited MLFLOW_RUN_ID names.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lens_core.errors import LensError, first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

logger = logging.getLogger(__name__)

EXPERIMENT = "lens-grpo"
RUN_TAG = "lens.run"
_PARENT_TAG = "mlflow.parentRunId"
_PIPELINE = "pipeline"
_MAX_PARAM_CHARACTERS = 6000
_MAX_DIGEST_CHARACTERS = 36


@dataclass(frozen=True)
class Tracking:
    """Where a run is tracked.

    Attributes:
        uri: any MLflow tracking URI; `sqlite:///PATH` keeps its artifacts in `artifacts/` beside the database.
        run: name of the pipeline run; every stage that gives the same name is nested in the same parent run.
    """

    uri: str
    run: str


def tracking_for(uri: str, run: str) -> Tracking | None:
    """Tracking at `uri`; an empty `uri` means that the run is not tracked (KFP parameters cannot be None)."""
    return Tracking(uri, run) if uri else None


class StageRun:
    """The nested run of one stage."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client = client
        self.run_id = run_id

    def params(self, values: Mapping[str, Any]) -> None:
        """Log a nested mapping as flat parameters, `train.steps` and so on."""
        from mlflow.entities import Param

        flat = [Param(key, str(value)[:_MAX_PARAM_CHARACTERS]) for key, value in flatten(values)]
        for start in range(0, len(flat), 100):  # the server takes at most 100 at once
            self.client.log_batch(self.run_id, params=flat[start : start + 100])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log the finite numbers; NaN says that there was nothing to measure, and MLflow's stores distort it."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        finite = [Metric(key, value, now, step) for key, value in values.items() if math.isfinite(value)]
        self.client.log_batch(self.run_id, metrics=finite)

    def tags(self, values: Mapping[str, str]) -> None:
        for key, value in values.items():
            self.client.set_tag(self.run_id, key, value)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Upload a file, or a folder with what is in it."""
        upload = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        upload(self.run_id, str(path), folder)

    def dataset(self, path: Path, sha256: str, context: str) -> None:
        """Record a data set that the stage made or read; `sha256` in full is a tag, for MLflow's own field is short."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        entity = Dataset(path.name, sha256[:_MAX_DIGEST_CHARACTERS], "local", str(path))
        self.client.log_inputs(self.run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", context)])])
        self.tags({f"data.{context}.sha256": sha256})

    def end(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        self.client.set_terminated(self.run_id, status)


class MetricsSender:
    """Sends the metrics of a run's steps in the background, in order; a server that is away gets them later.

    Nothing is lost with the process: steps that were not sent are in the training's metrics file, and a resumed run
    sends what the server does not have (see `last_step`).
    """

    def __init__(self, run: StageRun) -> None:
        self._run = run
        self._queue: queue.SimpleQueue[tuple[int, dict[str, float]] | None] = queue.SimpleQueue()
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="mlflow-metrics", daemon=True)
        self._thread.start()

    def put(self, step: int, values: Mapping[str, float]) -> None:
        self._queue.put((step, dict(values)))

    def close(self, patience_s: float = 60.0) -> None:
        """Wait until everything has arrived, or `patience_s` have passed.

        Raises:
            LensError: if the server still does not take them.
        """
        self._queue.put(None)
        self._thread.join(patience_s)
        if self._thread.is_alive():
            self._give_up.set()
            raise LensError(
                "MLflow does not take the metrics of the last steps; they are in the training's metrics file, and the "
                "same command with --resume sends them once the server is back"
            )

    def _send_all(self) -> None:
        import tenacity

        retrying = tenacity.Retrying(
            wait=tenacity.wait_random_exponential(max=10),
            stop=tenacity.stop_when_event_set(self._give_up),
            sleep=tenacity.sleep_using_event(self._give_up),
            before_sleep=tenacity.before_sleep_log(logger, logging.WARNING),
        )
        while (item := self._queue.get()) is not None:
            step, values = item
            try:
                retrying(self._run.metrics, values, step)
            except tenacity.RetryError:  # given up: `close` has said so
                return


def last_step(run: StageRun) -> int:
    """The newest step whose metrics the server has; 0 where it has none."""
    history = run.client.get_metric_history(run.run_id, "elapsed_s")
    return max((point.step for point in history), default=0)


@contextmanager
def stage_run(tracking: Tracking, stage: str, resume_id: str | None = None) -> Iterator[StageRun]:
    """Open the nested run of `stage`; it ends FINISHED, or FAILED (KILLED on Ctrl-C) where the block raises.

    Args:
        resume_id: an earlier run of the stage to go on with, which is then running again.

    Raises:
        LensError: if MLflow knows no run `resume_id`.
    """
    run = new_run(tracking, stage) if resume_id is None else old_run(tracking, resume_id)
    try:
        yield run
    except BaseException as error:
        run.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    run.end("FINISHED")


def new_run(tracking: Tracking, stage: str) -> StageRun:
    """A nested run that is running until its `end` is called."""
    parent = parent_run(tracking)
    experiment = _experiment(parent.client, tracking.uri)
    tags = {_PARENT_TAG: parent.run_id, RUN_TAG: tracking.run, "lens.stage": stage}
    return StageRun(parent.client, parent.client.create_run(experiment, run_name=stage, tags=tags).info.run_id)


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
            f"MLflow has no run {run_id}, which this training was tracked in: give the --tracking-uri of before "
            f"({first_line(error)})"
        ) from error
    return StageRun(client, run_id)


def parent_run(tracking: Tracking) -> StageRun:
    """The parent run: made if it is new, running again if it had ended."""
    client = _client(tracking.uri)
    experiment = _experiment(client, tracking.uri)
    parent = _find_parent(client, experiment, tracking.run)
    if parent is None:
        tags = {RUN_TAG: tracking.run, "lens.stage": _PIPELINE}
        parent = client.create_run(experiment, run_name=tracking.run, tags=tags)
    elif parent.info.status != "RUNNING":
        client.update_run(parent.info.run_id, status="RUNNING")
    return StageRun(client, parent.info.run_id)


def end_parent(tracking: Tracking, status: str) -> None:
    """Set the final status of the parent run, if there is one that runs: FINISHED, FAILED or KILLED."""
    client = _client(tracking.uri)
    parent = _find_parent(client, _experiment(client, tracking.uri), tracking.run)
    if parent is not None and parent.info.status == "RUNNING":
        client.set_terminated(parent.info.run_id, status)


@contextmanager
def whole_run(tracking: Tracking) -> Iterator[None]:
    """End the parent run as the block ends: FINISHED, KILLED on Ctrl-C, or FAILED."""
    try:
        yield
    except BaseException as error:
        end_parent(tracking, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    end_parent(tracking, "FINISHED")


def check_reachable(uri: str) -> None:
    """Fail within seconds where MLflow's own client would retry for minutes.

    Raises:
        LensError: if `uri` names an HTTP server that does not answer.
    """
    if not uri.startswith(("http://", "https://")):
        return
    import requests

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=5).raise_for_status()
    except requests.RequestException as error:
        raise LensError(
            f"MLflow at {uri} does not answer ({type(error).__name__}): start it, or choose another --tracking-uri"
        ) from error


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`{"a": {"b": 1}}` as `("a.b", 1)`."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # a new database announces each of its migrations
    check_reachable(uri)
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=uri)


def _experiment(client: MlflowClient, uri: str) -> str:
    """Id of the project's experiment, made on first use."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    location = None  # a server knows where its artifacts go
    if uri.startswith("sqlite:///"):
        location = (Path(uri.removeprefix("sqlite:///")).absolute().parent / "artifacts").as_uri()
    kind = {"mlflow.experimentKind": "custom_model_development"}  # the UI's model training views, not the GenAI ones
    return str(client.create_experiment(EXPERIMENT, artifact_location=location, tags=kind))


def _find_parent(client: MlflowClient, experiment: str, run: str) -> Run | None:
    query = f"tags.`{RUN_TAG}` = '{run}' and tags.`lens.stage` = '{_PIPELINE}'"
    return next(iter(client.search_runs([experiment], query, max_results=1)), None)
