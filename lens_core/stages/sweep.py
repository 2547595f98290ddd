"""A sweep: the values of a configuration with the best Pass@k on held-out problems, found by Ray Tune.

All trials start from the same base, see the same prompts in the same order, and are measured with the same draws. What
a trial gave is written down as it ends, so that a sweep that was stopped goes on with the trials that are missing.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from lens_core.config import RunConfig, load_config
from lens_core.data.prepare import TRAIN_FILE, VALIDATION_FILE, read_problems
from lens_core.data.summary import SUMMARY_FILE
from lens_core.distributed.trials import TRIALS_FOLDER, TUNE_FOLDER, Trial
from lens_core.distributed.tune import search
from lens_core.errors import LensError
from lens_core.files import read_json, write_json, write_text
from lens_core.folders import LOCK_FILES, SWEEP, claimed
from lens_core.progress import Listener, Progress, ignore
from lens_core.stages.folder import REPORT_FILE, claim
from lens_core.stages.preparation import base as base_policy
from lens_core.stages.preparation import prepare
from lens_core.stages.tracked import tracked
from lens_core.tracking import StageRun, Tracking, new_run, old_run

SWEEP_FILE, TRIALS_FILE, BEST_FILE = "sweep.json", "trials.json", "best.yaml"
WORKING_FILES = shutil.ignore_patterns("base", "data", TUNE_FOLDER, TRIALS_FOLDER, *LOCK_FILES)
"""What a sweep keeps beside its results, for `shutil.copytree`: a copy of the results does without."""
_ROWS = 12
"""Trials that are shown while a sweep runs."""
_MLFLOW_STATUS: Mapping[str, Any] = {"finished": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


def sweep(
    config: RunConfig,
    output: Path,
    tracking: Tracking | None = None,
    on_progress: Listener = ignore,
    data: Path | None = None,
) -> dict[str, Any]:
    """Run the trials that `output` lacks, write `sweep.json`, `best.yaml` and `report.html`, and return the first.

    `best.yaml` is a whole configuration for `lens train --config`. Trials that fail are recorded; the others go on.

    Args:
        data: the prepared data; None: made in `output`.

    Raises:
        LensError: if the configuration has no `sweep` section, `data` cannot be read, `output` is not ours
            (lens_core.folders) or holds another sweep, or every trial failed.
    """
    method = config.required_sweep().method
    if data is not None:
        for name in (TRAIN_FILE, VALIDATION_FILE):
            read_problems(data / name)  # now, and not in every trial
    with ExitStack() as stack:
        stack.enter_context(claimed(output, SWEEP))
        claim(config, output)
        if data is None:
            data = output / "data"
            if not (data / SUMMARY_FILE).exists():
                prepare(config, data)
        base = base_policy(config, output / "base")
        earlier = _read_state(output)
        run = stack.enter_context(tracked(tracking, "sweep", config, method, earlier["mlflow_run"]))
        board = _Board(config, output, tracking, run, earlier, on_progress)
        search(config, data.absolute(), base.absolute(), output, board)
        return _conclude(config, output, list(board.trials.values()), run)


def best_over_seeds(output: Path, seeds: Sequence[int]) -> RunConfig:
    """The best configuration of the sweep in `output`, with the method that was swept once for each seed."""
    return load_config(output / BEST_FILE).over_seeds(read_json(output / SWEEP_FILE, "method")["method"], seeds)


def _conclude(config: RunConfig, output: Path, trials: Sequence[Trial], run: StageRun | None) -> dict[str, Any]:
    """Write down what the trials say together."""
    from lens_core.report.sweep import render_sweep

    sweep = config.required_sweep()
    ended = [trial for trial in trials if not math.isnan(trial.value) and trial.status != "failed"]
    if not ended:
        cause = next((trial.error for trial in trials if trial.error), "no trial reported a result")
        raise LensError(f"every trial of the sweep failed, the first with: {cause}")
    best = max(ended, key=lambda trial: (trial.status == "finished", trial.value))
    _write_best(config, best, output / BEST_FILE)
    found = {
        "name": config.name,
        "target": _target(config),
        "method": sweep.method,
        "best": best.id,
        "trials": [asdict(trial) | {"value": None if math.isnan(trial.value) else trial.value} for trial in trials],
    }
    write_json(output / SWEEP_FILE, found)
    render_sweep(found, (output / BEST_FILE).read_text(encoding="utf-8"), output / REPORT_FILE)
    if run is not None:
        run.metrics({f"best/pass_at_{sweep.k}": best.value})
        for name in (SWEEP_FILE, BEST_FILE, REPORT_FILE):
            run.artifact(output / name)
        run.artifact(output / "plots", "plots")
    return found


def _read_state(output: Path) -> dict[str, Any]:
    """What `trials.json` says of an earlier call."""
    path = output / TRIALS_FILE
    state: dict[str, Any] = {"trials": [], "mlflow_runs": {}, "mlflow_run": None}
    return state | (read_json(path) if path.exists() else {})


class _Board:
    """Takes what trials say: into a file, to MLflow, and to whoever watches."""

    def __init__(
        self,
        config: RunConfig,
        output: Path,
        tracking: Tracking | None,
        run: StageRun | None,
        earlier: Mapping[str, Any],
        on_progress: Listener,
    ) -> None:
        self._tracking, self._run, self._on_progress = tracking, run, on_progress
        self._path = output / TRIALS_FILE
        self._total, self._target = _count(config), _target(config)
        self._runs: dict[str, StageRun] = {}
        self.trials = {each["id"]: Trial(**{**each, "history": tuple(each["history"])}) for each in earlier["trials"]}
        self._run_ids: dict[str, str] = earlier["mlflow_runs"]
        self._tell()

    def __call__(self, trial: Trial) -> None:
        self.trials[trial.id] = trial
        if self._tracking is not None:
            self._track(trial, self._tracking)
        if trial.status != "running":
            self._write()
        self._tell()

    def _track(self, trial: Trial, tracking: Tracking) -> None:
        run = self._runs.get(trial.id)
        if run is None and trial.id in self._run_ids:
            run = old_run(tracking, self._run_ids[trial.id])
        elif run is None:
            name = f"trial {len(self._run_ids) + 1}: {describe(trial.values)}"
            run = new_run(tracking, "trial", name, self._run)
            run.params(dict(trial.values))
            run.tags({"lens.trial": trial.id, "checkpoint": Path(trial.folder).as_uri()})
            self._run_ids[trial.id] = run.run_id
            self._write()
        self._runs[trial.id] = run
        if trial.status != "running":
            run.tags({"lens.trial.status": trial.status} | ({"lens.error": trial.error} if trial.error else {}))
            run.end(_MLFLOW_STATUS[trial.status])
        elif trial.history:
            last = trial.history[-1]
            run.metrics({key: value for key, value in last.items() if key != "step"}, int(last["step"]))

    def _write(self) -> None:
        state = {
            "trials": [asdict(trial) for trial in self.trials.values()],
            "mlflow_runs": self._run_ids,
            "mlflow_run": None if self._run is None else self._run.run_id,
        }
        write_json(self._path, state)

    def _done(self) -> int:
        return sum(trial.status != "running" for trial in self.trials.values())

    def _tell(self) -> None:
        done = self._done()
        by_status = {
            status: sum(trial.status == status for trial in self.trials.values())
            for status in ("running", "pruned", "failed")
        }
        parts = [f"{count} {status}" for status, count in by_status.items() if count]
        measured = [trial for trial in self.trials.values() if not math.isnan(trial.value)]
        if measured:
            best = max(measured, key=lambda trial: trial.value)
            parts.insert(0, f"best {100 * best.value:.1f} % with {describe(best.values)}")
        rows = tuple(_row(trial, self._target) for trial in sorted(self.trials.values(), key=_rank)[:_ROWS])
        self._on_progress(Progress("sweep", min(done, self._total), self._total, ", ".join(parts), rows))


def _rank(trial: Trial) -> tuple[bool, float]:
    """Running trials first, then the best."""
    return trial.status != "running", math.inf if math.isnan(trial.value) else -trial.value


def _row(trial: Trial, target: str) -> dict[str, str]:
    last = trial.history[-1] if trial.history else {"step": 0, "tokens": 0}
    return {
        "trial": trial.id,
        "": trial.status,
        target: "" if math.isnan(trial.value) else f"{100 * trial.value:.1f} %",
        "step": f"{last['step']:.0f}",
        "tokens": f"{last['tokens']:,.0f}",
        **{path.rsplit(".", 1)[-1]: shown(value) for path, value in trial.values.items()},
    }


def describe(values: Mapping[str, Any]) -> str:
    """`alpha 0.31, learning_rate 4e-05`"""
    return ", ".join(f"{path.rsplit('.', 1)[-1]} {shown(value)}" for path, value in values.items())


def shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _target(config: RunConfig) -> str:
    return f"Pass@{config.required_sweep().k}"


def _count(config: RunConfig) -> int:
    """Trials of the whole sweep."""
    sweep = config.required_sweep()
    lists = [
        len(values)
        for distribution in sweep.space.values()
        for name, values in distribution.items()
        if sweep.search == "grid" or name == "grid_search"
    ]
    return math.prod(lists) * (1 if sweep.search == "grid" else sweep.trials)


def _write_best(config: RunConfig, best: Trial, path: Path) -> None:
    chosen = config.with_values(best.values).model_copy(update={"sweep": None})
    head = f"# The best of {config.name}: {100 * best.value:.1f} % on held-out problems with {describe(best.values)}.\n"
    write_text(path, head + yaml.safe_dump(chosen.model_dump(mode="json"), sort_keys=False))
