"""Where runs are tracked: the client of a store, and the project's experiment in it."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from lens_core.config import checked_address
from lens_core.credentials import mask_log_records
from lens_core.errors import LensError, first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "lens-grpo"
RUN_TAG, STAGE_TAG, PARENT_TAG = "lens.run", "lens.stage", "mlflow.parentRunId"
PIPELINE = "pipeline"
"""Stage of the run that all stages are nested in."""
HEARTBEAT = "system/heartbeat_s"
"""Metric: seconds since 1970 of the newest sign of life."""
_SQLITE = "sqlite:///"
_PATIENCE_S = 120
"""For another command that makes a store: seconds, on a machine that is not busy."""


@dataclass(frozen=True)
class Tracking:
    """Where a run is tracked.

    Attributes:
        uri: any MLflow tracking URI; `sqlite:///PATH` keeps its artifacts in `artifacts/` beside the database.
        run: name of the pipeline run; every stage that gives the same name is nested in the same parent run.
    """

    uri: str
    run: str

    def __post_init__(self) -> None:
        checked_uri(self.uri)


def checked_uri(uri: str) -> str:
    """`uri`, if it holds no credentials: it is printed, logged, and written into manifests.

    Raises:
        LensError: if it does, with where they belong.
    """
    return checked_address(
        uri,
        "the tracking URI",
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (of a database its own, such as PGPASSFILE)",
    )


def tracking_for(uri: str, run: str) -> Tracking | None:
    """Tracking at `uri`; where it is empty (KFP parameters cannot be None), in the run that the environment names.

    Kubeflow's MLflow plugin sets MLFLOW_RUN_ID and MLFLOW_TRACKING_URI in the steps that it tracks. Without both, the
    run is not tracked. Called by a step, whose log is for others to read too: libraries say no credentials in it.
    """
    mask_log_records()
    if not uri and "MLFLOW_RUN_ID" in os.environ:
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return Tracking(uri, run) if uri else None


def check_reachable(uri: str) -> None:
    """Fail within seconds where MLflow's own client would retry for minutes.

    Raises:
        LensError: if `uri` names an HTTP server that does not answer, or holds credentials.
    """
    checked_uri(uri)
    if not uri.startswith(("http://", "https://")):
        return
    import requests

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=5).raise_for_status()
    except requests.RequestException as error:
        raise LensError(
            f"MLflow at {uri} does not answer ({type(error).__name__}): start it, or choose another --tracking-uri"
        ) from error


def check_shared(uri: str) -> None:
    """For what runs in several pods: each would write a file of its own, and lose it with its disk.

    Raises:
        LensError: if `uri` is a database or a folder on this machine's disk.
    """
    scheme, separator, _ = uri.partition(":")
    if not separator or scheme in ("sqlite", "file"):
        raise LensError(
            f"the tracking URI {uri} is a file, and each step on a cluster has a disk of its own: name an MLflow "
            "server, --tracking-uri http://mlflow:5000, or track nothing, --tracking-uri ''"
        )


def open_store(uri: str) -> MlflowClient:
    """A client of the store at `uri`, which is made where it is an SQLite database that is not there.

    Raises:
        LensError: if it is a server that does not answer, or a database that cannot be read.
    """
    from mlflow import MlflowClient

    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout belongs to our commands
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # a new database announces each of its migrations
    check_reachable(uri)
    if uri.startswith(_SQLITE):
        path = Path(uri.removeprefix(_SQLITE))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LensError(
                f"{path.parent} cannot be made ({error.strerror}): choose another --home (LENS_HOME)"
            ) from error
        _require_database(path)
        _make_database(path, uri)
    with refusals_named(uri):
        return MlflowClient(tracking_uri=uri)


def _require_database(path: Path, whole: bool = False) -> None:
    """MLflow would try a damaged database for minutes, and then raise what its libraries do.

    Args:
        whole: look at every page, which takes seconds for each GB.

    Raises:
        LensError: if there is a file that is no SQLite database, or a damaged one.
    """
    if not path.exists():
        return
    look = "PRAGMA quick_check(1)" if whole else "SELECT count(*) FROM sqlite_master"
    try:
        # To be written in too: SQLite then undoes what a killed process has left half written, and refuses otherwise.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as database:
            found = database.execute(look).fetchone()[0]
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", None) == "SQLITE_BUSY":  # somebody writes
            return
        found = str(error)
    if not (isinstance(found, int) or found == "ok"):
        raise LensError(
            f"MLflow's database {path} cannot be read ({first_line(Exception(found))}): restore it, or move it away to "
            "begin a new one"
        )


@contextmanager
def alone_in(uri: str) -> Iterator[None]:
    """Inside the block no other process is in one of the same store: what is found missing can be made, once.

    Of SQLite databases alone; a server's clients may come from anywhere.

    Raises:
        LensError: if another process stays in its block.
    """
    if not uri.startswith(_SQLITE):
        yield
        return
    database = Path(uri.removeprefix(_SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{database.absolute()}.lock", timeout=_PATIENCE_S, is_singleton=True)
    try:
        lock.acquire()
    except Timeout as error:
        raise LensError(
            f"another command has kept {database} to itself for {_PATIENCE_S} s: end it, or choose another --home"
        ) from error
    except OSError as error:
        raise LensError(f"{database} cannot be locked ({error.strerror}): choose another --home (LENS_HOME)") from error
    try:
        yield
    finally:
        lock.release()


def _make_database(database: Path, uri: str) -> None:
    """Make MLflow's tables where there are none: dozens of migrations, which neither two at once nor one that is killed
    in the middle would leave in a state to go on from.
    """
    if database.exists() and database.stat().st_size:
        return
    with alone_in(uri):
        if database.exists() and database.stat().st_size:
            return
        from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        partial = database.with_name(f"{database.name}.partial")
        for left in database.parent.glob(f"{partial.name}*"):  # by a kill, with its journal
            left.unlink()
        store = SqlAlchemyStore(f"{_SQLITE}{partial}", DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)
        store.engine.dispose()
        partial.replace(database)


def describe_store(uri: str) -> str:
    """What is there, in words; nothing is made.

    Raises:
        LensError: if it does not answer, or does not let us in.
    """
    if uri.startswith(_SQLITE):
        path = Path(uri.removeprefix(_SQLITE))
        if not path.exists():
            return "not there yet, made on first use"
        _require_database(path, whole=True)
    client = open_store(uri)
    with refusals_named(uri):
        experiment = find_experiment(client)
    return "reachable, nothing tracked yet" if experiment is None else f"reachable, with experiment {EXPERIMENT}"


def find_experiment(client: MlflowClient) -> str | None:
    """Id of the project's experiment; None where nothing has been tracked yet.

    Raises:
        LensError: if it was deleted; MLflow keeps its name, and takes no run in it.
    """
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        return None
    if found.lifecycle_stage == "deleted":
        raise LensError(
            f"the experiment {EXPERIMENT} was deleted from MLflow: `mlflow experiments restore --experiment-id "
            f"{found.experiment_id}`, with MLFLOW_TRACKING_URI set to this store, brings it back; `mlflow gc` removes "
            "it for good"
        )
    return str(found.experiment_id)


def experiment_in(client: MlflowClient) -> str:
    """Id of the project's experiment, made on first use, by one of the commands that find none."""
    from mlflow.exceptions import MlflowException

    try:
        return find_experiment(client) or _new_experiment(client)
    except MlflowException:
        found = find_experiment(client)
        if found is None:
            raise
        return found


def _new_experiment(client: MlflowClient) -> str:
    location, uri = None, client.tracking_uri  # a server knows where its artifacts go
    if uri.startswith(_SQLITE):
        location = (Path(uri.removeprefix(_SQLITE)).absolute().parent / "artifacts").as_uri()
    kind = {"mlflow.experimentKind": "custom_model_development"}  # the UI's model training views, not the GenAI ones
    return str(client.create_experiment(EXPERIMENT, artifact_location=location, tags=kind))


def equals(key: str, value: str) -> str:
    """The clause of an MLflow filter that wants `value`, whatever is in it, at `key`, such as `tags.lens.run`.

    Raises:
        LensError: if MLflow's language cannot say it.
    """
    kind, dot, name = key.partition(".")
    quote = next((each for each in ("'", '"') if each not in value), None)
    if quote is None or value.endswith("\\"):
        raise LensError(f"MLflow cannot search for {value!r}: leave quotation marks and backslashes out of names")
    return f"{kind}.`{name}` = {quote}{value}{quote}" if dot else f"{key} = {quote}{value}{quote}"


_ADMISSION = {
    401: "; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an account of that server",
    403: f"; an administrator grants it, for the experiment {EXPERIMENT} too, or set MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD to an account that may do this",
}
"""What to do about an answer of a server that asks for accounts."""


@contextmanager
def refusals_named(uri: str) -> Iterator[None]:
    """What MLflow or its database refuses, as one line for a person: a wrong password, a run that is not there.

    Raises:
        LensError: in place of MLflow's or its database's exception.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as error:
        raise LensError(
            f"MLflow's database {uri} fails ({first_line(error)}): restore it, or choose another --home"
        ) from error
    except MlflowException as error:
        hint = _ADMISSION.get(error.get_http_status_code(), "")
        raise LensError(f"MLflow at {uri}: {first_line(error)}{hint}") from error
