"""Run pipelines here, or compile them: two ends of the same definitions."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_core.errors import LensError
from lens_core.files import read_json, write_text
from lens_core.folders import COMPILED, PIPELINE_RUN, claimed
from lens_core.processes import guarded
from lens_core.progress import Listener, Progress, parse_marked
from lens_core.stages import COMPARISON_FILE, PASSK_FILE, REPORT_FILE, VIEWER_FILE
from lens_core.stages.sweep import WORKING_FILES
from lens_core.tracking import Tracking, check_reachable, whole_run

if TYPE_CHECKING:
    from lens_pipelines.launch import Launch

_PARALLEL_METHODS = 2
"""kfp.local runs two branches of a ParallelFor at a time."""
_KEPT = {"comparison": "", "evaluation": "", "trials": "sweep", "registration": "registration"}
"""Output of a pipeline -> its place in the run's folder."""


@dataclass(frozen=True)
class LocalRun:
    """A finished local run."""

    name: str
    folder: Path
    """Holds `config.json`, `pipeline.log`, and what the pipeline made (docs/formats.md)."""

    @property
    def report(self) -> Path:
        """The comparison's report; of a single evaluation, its samples."""
        compared = self.folder / REPORT_FILE
        return compared if compared.exists() else self.folder / VIEWER_FILE

    def comparison(self) -> dict[str, Any]:
        """The content of `comparison.json`: Pass@k reports and training summaries; of one evaluation, its report."""
        compared = self.folder / COMPARISON_FILE
        if compared.exists():
            return read_json(compared)
        return {"evaluations": [read_json(self.folder / PASSK_FILE)]}


def run_local(launch: Launch, home: Path, on_progress: Listener) -> LocalRun:
    """Execute a pipeline on this machine, each step in a process of its own; finished steps are reused.

    Policies stay where they are: a champion's files are not uploaded.

    Raises:
        LensError: if KFP is not installed; if the same run is under way in this home; if a step fails, naming its cause
            and the log.
        KeyboardInterrupt: after Ctrl-C; steps that had finished stay usable.
    """
    _check_installed()
    from lens_pipelines.catalogue import arguments

    home = home.absolute()
    parameters = arguments(dataclasses.replace(launch, upload_weights=False))
    check_reachable(launch.tracking_uri)
    tracking = Tracking(launch.tracking_uri, parameters["run"])
    folder = home / "runs" / tracking.run
    with claimed(folder, PIPELINE_RUN):
        return _run_in(folder, launch, parameters, home, tracking, on_progress)


def _run_in(
    folder: Path, launch: Launch, parameters: dict[str, Any], home: Path, tracking: Tracking, on_progress: Listener
) -> LocalRun:
    from kfp import local

    from lens_pipelines.catalogue import build_pipeline
    from lens_pipelines.site import Site

    write_text(folder / "config.json", launch.config.model_dump_json(indent=2) + "\n")
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
            guarded(),
            _threads_shared_by(min(_PARALLEL_METHODS, len(parameters.get("methods", [""])))),
            _captured(log, on_progress),
        ):
            outputs = build_pipeline(launch.pipeline, Site())(**parameters).outputs
    except RuntimeError as error:  # kfp.local's word for a failed step
        raise LensError(f"{_cause(log)} (log: {log})") from error
    for name, place in _KEPT.items():
        if name in outputs and any(Path(outputs[name].path).iterdir()):
            shutil.copytree(outputs[name].path, folder / place, dirs_exist_ok=True, ignore=WORKING_FILES)
    return LocalRun(tracking.run, folder)


def compile_pipelines(launch: Launch, output: Path) -> list[Path]:
    """Write every pipeline as IR YAML into the folder `output`; what is launched gives the defaults of its parameters.

    The sweep has no defaults where the configuration has no `sweep` section.

    Raises:
        LensError: if KFP is not installed, RayJobs have no volume to leave their policies on, or `output` is not ours
            (lens_core.folders).
    """
    _check_installed()
    from kfp import compiler

    from lens_pipelines.catalogue import NAMES, arguments, build_pipeline
    from lens_pipelines.site import Site

    site = Site(launch.cluster, launch.rayjobs)
    written = []
    with claimed(output, COMPILED):
        for name in NAMES:
            has_defaults = name != "sweep" or launch.config.sweep is not None
            defaults = arguments(dataclasses.replace(launch, pipeline=name)) if has_defaults else None
            written.append(output / f"{name}-pipeline.yaml")
            compiler.Compiler().compile(build_pipeline(name, site), str(written[-1]), pipeline_parameters=defaults)
    return written


def _check_installed() -> None:
    try:
        import kfp  # noqa: F401 - whether it can be
    except ImportError as error:
        raise LensError("KFP is not installed: pip install 'lens-grpo[kfp]'") from error


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
        log.open("w", encoding="utf-8", errors="backslashreplace") as file,  # what policies write may be no text
        contextlib.redirect_stdout(_Splitter(file, on_progress)),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message=".*have no effect in the current local runner")
        warnings.filterwarnings("ignore", message="You may be attemping to run a task that uses custom or non-Python")
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
        r"^[ \t]*(?:lens_core\.errors\.)?(\w*(?:Error|Exception)\b: .*)$", log.read_text("utf-8"), re.MULTILINE
    )
    ours = [error.removeprefix("LensError: ") for error in errors if error.startswith("LensError: ")]
    return (ours or errors or ["a pipeline step failed"])[-1]
