"""Run, compile and submit the LENS pipeline: three ends of the same definition."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lens_core.config import RunConfig
from lens_core.errors import LensError
from lens_core.progress import Listener, Progress, parse_marked
from lens_core.stages import COMPARISON_FILE, REPORT_FILE
from lens_core.tracking import Tracking, check_reachable, whole_run

_PARALLEL_METHODS = 2
"""kfp.local runs two branches of a ParallelFor at a time."""


@dataclass(frozen=True)
class LocalRun:
    """A finished local run."""

    name: str
    folder: Path
    """Holds `config.json`, `comparison.json`, `report.html` with `plots/`, and `pipeline.log`."""

    @property
    def report(self) -> Path:
        return self.folder / REPORT_FILE

    def comparison(self) -> dict[str, Any]:
        """The content of `comparison.json`: Pass@k reports and training summaries."""
        return dict(json.loads((self.folder / COMPARISON_FILE).read_text(encoding="utf-8")))


def run_name(config: RunConfig) -> str:
    """The config's name with a fingerprint of its values and of our own code.

    Equal runs share a name, and with it their cached steps and their parent in MLflow: an interrupted run goes on where
    it was, and a changed one starts afresh.
    """
    fingerprint = hashlib.sha256(config.digest().encode())
    root = Path(__file__).resolve().parent.parent
    for package in ("components", "lens_core", "pipelines"):
        for source in sorted((root / package).rglob("*")):
            if source.suffix in {".py", ".yaml", ".j2", ".safetensors"}:
                fingerprint.update(source.read_bytes())
    return f"{config.name}-{fingerprint.hexdigest()[:8]}"


def arguments(config: RunConfig, tracking_uri: str) -> dict[str, Any]:
    """The pipeline's parameters."""
    return {
        "config": config.model_dump_json(),
        "run": run_name(config),
        "methods": list(config.methods),
        "tracking_uri": tracking_uri,
    }


def run_local(config: RunConfig, home: Path, tracking_uri: str, on_progress: Listener) -> LocalRun:
    """Execute the pipeline on this machine, each step in a process of its own; finished steps are reused.

    Raises:
        LensError: if a step fails, naming its cause and the log.
        KeyboardInterrupt: after Ctrl-C; steps that had finished stay usable.
    """
    from kfp import local

    from pipelines.lens_pipeline import lens_pipeline

    check_reachable(tracking_uri)
    home = home.absolute()
    parameters = arguments(config, tracking_uri)
    tracking = Tracking(tracking_uri, parameters["run"])
    folder = home / "runs" / tracking.run
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(home / "kfp"),
        enable_caching=True,
        cache_root=str(home / "cache" / "kfp"),
    )
    log = folder / "pipeline.log"
    try:
        with (
            whole_run(tracking),
            _threads_shared_by(min(_PARALLEL_METHODS, len(config.methods))),
            _captured(log, on_progress),
        ):
            outputs = lens_pipeline(**parameters).outputs
    except RuntimeError as error:  # kfp.local's word for a failed step
        raise LensError(f"{_cause(log)} (log: {log})") from error
    shutil.copytree(outputs["comparison"].path, folder, dirs_exist_ok=True)
    return LocalRun(tracking.run, folder)


def compile_pipeline(config: RunConfig, output: Path, tracking_uri: str) -> Path:
    """Write the pipeline as IR YAML with `config` as the default of its parameters."""
    from kfp import compiler

    from pipelines.lens_pipeline import lens_pipeline

    output.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(lens_pipeline, str(output), pipeline_parameters=arguments(config, tracking_uri))
    return output


def submit(config: RunConfig, endpoint: str, tracking_uri: str, token: str | None) -> str:
    """Start the pipeline on a KFP endpoint and return the address of the run's page.

    Raises:
        LensError: if the endpoint does not answer, or refuses.
    """
    import requests
    from kfp import Client
    from kfp_server_api import ApiException

    from pipelines.lens_pipeline import lens_pipeline

    endpoint = endpoint.rstrip("/")
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        requests.get(f"{endpoint}/apis/v2beta1/healthz", headers=headers, timeout=10).raise_for_status()
        client = Client(host=endpoint, existing_token=token)
        parameters = arguments(config, tracking_uri)
        run = client.create_run_from_pipeline_func(
            lens_pipeline, arguments=parameters, run_name=parameters["run"], experiment_name="lens-grpo"
        )
    except ApiException as error:
        raise LensError(f"the KFP endpoint {endpoint} refused the run: {error.status} {error.reason}") from error
    except requests.RequestException as error:
        raise LensError(
            f"the KFP endpoint {endpoint} does not answer as one ({type(error).__name__}): check the address "
            "(with kubectl: port-forward -n kubeflow svc/ml-pipeline 8888) and the token"
        ) from error
    return f"{endpoint}/#/runs/details/{run.run_id}"


@contextlib.contextmanager
def _threads_shared_by(processes: int) -> Iterator[None]:
    """Give each of `processes` steps its share of the cores; torch would take all of them in each."""
    if "OMP_NUM_THREADS" in os.environ:  # the user has decided
        yield
        return
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]


@contextlib.contextmanager
def _captured(log: Path, on_progress: Listener) -> Iterator[None]:
    """Send stdout, where kfp.local prints what its steps print, to `log`; marked lines go to `on_progress`."""
    with (
        log.open("w", encoding="utf-8") as file,
        contextlib.redirect_stdout(_Splitter(file, on_progress)),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message=".*have no effect in the current local runner")
        logger = logging.getLogger()
        handler, level = _Reused(file, on_progress), logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


class _Reused(logging.StreamHandler[Any]):
    """Writes kfp.local's records to the log, and takes its word of a reused step as that step's progress."""

    def __init__(self, log: io.TextIOBase | Any, on_progress: Listener) -> None:
        super().__init__(log)
        self._on_progress = on_progress

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        match = re.match(r"Task '?([\w-]+)'? cache hit", record.getMessage())
        if match:
            self._on_progress(Progress(match[1], 1, 1, "reused from an earlier run"))


class _Splitter(io.TextIOBase):
    """A text stream that takes progress out of what is written, line by line, and passes the rest on."""

    def __init__(self, log: io.TextIOBase | Any, on_progress: Listener) -> None:
        self._log = log
        self._on_progress = on_progress

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        progress = parse_marked(text)
        if progress is None:
            self._log.write(text)
            self._log.flush()
        else:
            self._on_progress(progress)
        return len(text)


def _cause(log: Path) -> str:
    """The last error that a step printed."""
    errors = re.findall(
        r"^\s*(?:lens_core\.errors\.)?(\w*(?:Error|Exception)\b: .*)$", log.read_text("utf-8"), re.MULTILINE
    )
    ours = [error.removeprefix("LensError: ") for error in errors if error.startswith("LensError: ")]
    return (ours or errors or ["a pipeline step failed"])[-1]
