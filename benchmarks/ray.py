"""Ray: what it costs a training, what more workers and a sweep gain, and how soon a killed training goes on.

    python -m benchmarks.ray            the whole table, about ten minutes on two cores
    python -m benchmarks.ray --quick    one round of each, under a minute

All trainings are the demo's, with the same seed and so the same answers; they take turns, and every ratio is the median
over equal steps.

overhead_per_step   a step on one Ray worker / the same step in this process, less 1
scaling_2_workers   a step in this process, on all cores / the same step on two workers that share them
sweep_ratio         trials an hour of `lens sweep` / those of a bare loop over the same trials, both counted from the
                    moment that their processes are up: what a sweep pays once is `sweep_startup_s`
recovery_s          from kill -9 of driver and worker to the next new step of the same `lens train` with --resume
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import date
from importlib import import_module, metadata
from itertools import pairwise
from pathlib import Path

import psutil

from lens_core import stages
from lens_core.config import RunConfig, load_config
from lens_core.data.prepare import TRAIN_FILE, VALIDATION_FILE, read_problems
from lens_core.training.metrics_file import METRICS_FILE, read_metrics

# Whatever imports trl or ray is imported later, while the first training on a Ray worker starts.

WARM_UP = 2
"""Steps of each training that are not counted."""
METHOD, ALPHA = "lens", "methods.lens.alpha"
CHECKPOINT_EVERY = 4


def settings(steps: int) -> list[str]:
    return [f"train.steps={steps}", "train.warmup_steps=0", f"train.checkpoint_every={CHECKPOINT_EVERY}"]


def train_here(config: RunConfig, data: Path, base: Path, output: Path) -> None:
    from lens_core.training.run import train_policy

    problems, method = read_problems(data / TRAIN_FILE), config.methods[METHOD]
    train_policy(problems, base, config.train, method, output, lambda *_: None)


def train_on_two_workers(config: RunConfig, data: Path, base: Path, output: Path) -> None:
    from lens_core.distributed.train import train_with_ray
    from lens_core.distributed.workers import Workers

    problems, method = read_problems(data / TRAIN_FILE), config.methods[METHOD]
    train_with_ray(problems, base, config.train, method, output, lambda *_: None, Workers(2, 2))


class OneWorker:
    """`lens train --workers 1`, which is killed after so many steps and goes on by the same command with --resume."""

    def __init__(self, steps: int, data: Path, base: Path, output: Path, home: Path) -> None:
        self._steps, self._output = steps, output
        self._command = [sys.executable, "-m", "lens_core.cli", "train", "--workers", "1", "--method", METHOD]
        self._command += ["--data", str(data), "--base", str(base), "-o", str(output), "--home", str(home)]
        for override in settings(10 * steps):
            self._command += ["--set", override]
        self._process = self._start()

    def recovery_s(self) -> float:
        """Seconds from its death until it has come further than its last checkpoint."""
        self._reaches(self._steps)
        self._kill()
        killed = time.time_ns()
        self._process = self._start("--resume")
        self._reaches(self._steps // CHECKPOINT_EVERY * CHECKPOINT_EVERY + 1, since_ns=killed)
        recovery_s = (time.time_ns() - killed) / 1e9
        self._kill()
        return recovery_s

    def _start(self, *more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*self._command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _reaches(self, step: int, since_ns: int = 0) -> None:
        """Until metrics that were written after `since_ns` have come as far as `step`."""
        while True:
            metrics = read_metrics(self._output)
            if metrics and metrics[-1]["step"] >= step and (self._output / METRICS_FILE).stat().st_mtime_ns > since_ns:
                return
            if self._process.poll() is not None:
                raise SystemExit(f"the training ended by itself with exit code {self._process.returncode}")
            time.sleep(0.02)

    def _kill(self) -> None:
        """The driver and all that it has started, at once."""
        family = [*psutil.Process(self._process.pid).children(recursive=True), psutil.Process(self._process.pid)]
        for process in family:
            process.kill()
        self._process.wait()
        psutil.wait_procs(family, timeout=10)


def step_seconds(folder: Path, steps: int) -> list[float]:
    """What each of the first steps took with all that belongs to it, log and checkpoint included."""
    elapsed = [step["elapsed_s"] for step in read_metrics(folder)][WARM_UP - 1 : steps]
    return [end - start for start, end in pairwise(elapsed)]


def measure_steps(rounds: int, steps: int, folder: Path) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds of each step in this process and on one and two Ray workers, and of each recovery.

    The order is turned round every time.
    """
    config = load_config("demo", settings(steps))
    data, base = stages.prepare(config, folder / "data"), stages.base(config, folder / "base")
    seconds: dict[str, list[float]] = {"1 worker": [], "this process": [], "2 workers": []}
    recoveries = []
    for round_ in range(rounds):
        for name in list(seconds)[:: 1 if round_ % 2 == 0 else -1]:
            output = folder / f"{name}-{round_}"
            if name == "1 worker":
                killed = OneWorker(steps, data, base, output, folder / "home")
                load_libraries()
                recoveries.append(killed.recovery_s())
            elif name == "2 workers":
                train_on_two_workers(config, data, base, output)
            else:
                train_here(config, data, base, output)
            seconds[name] += step_seconds(output, steps)
    return seconds, recoveries


def load_libraries() -> None:
    """What takes seconds to import, and a Ray cluster to use from now on."""
    import ray
    from transformers.utils.logging import disable_progress_bar

    import_module("lens_core.training.run")
    disable_progress_bar()
    if not ray.is_initialized():
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


def measure_sweep(trials: int, steps: int, folder: Path) -> tuple[float, float]:
    """`(sweep_ratio, sweep_startup_s)`."""
    from lens_core.distributed.tune import TRIALS_FOLDER
    from lens_core.evaluation.evaluate import evaluate_policy
    from lens_core.sweep import SWEEP_FILE, sweep

    alphas = [2.0**index for index in range(trials)]
    grid = [f"sweep.space={{{ALPHA}: {{choice: {alphas}}}}}", "sweep.search=grid", "sweep.scheduler=none"]
    held_out = ["data.validation=40", "evaluation.n=4", "evaluation.ks=[1]", f"sweep.validate_every={steps}"]
    budget = [f"train.steps={steps}", "train.max_tokens=null", "train.warmup_steps=0"]
    config = load_config("ladder-sweep", [*grid, *held_out, *budget])
    called = time.time()
    sweep(config, folder / "sweep")
    of_trials = [path.stat() for path in (folder / "sweep" / TRIALS_FOLDER).glob("*/values.json")]
    first = min(status.st_mtime for status in of_trials)
    by_sweep = (folder / "sweep" / SWEEP_FILE).stat().st_mtime - first

    begin = time.time()
    data, base = folder / "sweep/data", folder / "sweep/base"
    for index, alpha in enumerate(alphas):
        output = folder / f"loop-{index}"
        train_here(config.with_values({ALPHA: alpha}), data, base, output)
        list(evaluate_policy(read_problems(data / VALIDATION_FILE), output, config.evaluation))
    return (time.time() - begin) / by_sweep, first - called


def median_ratio(above: Iterable[float], below: Iterable[float]) -> float:
    return statistics.median(one / other for one, other in zip(above, below, strict=True))


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    print("| what | figure |\n|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="trainings of each kind, and kills")
    parser.add_argument("--steps", type=int, default=30, help="of each training")
    parser.add_argument("--trials", type=int, default=8, help="of the sweep")
    parser.add_argument("--quick", action="store_true", help="1 round of 9 steps, 2 trials")
    arguments = parser.parse_args()
    rounds, steps, trials = arguments.rounds, arguments.steps, arguments.trials
    if arguments.quick:
        rounds, steps, trials = 1, 9, 2
    with tempfile.TemporaryDirectory(prefix="lens-ray-") as temporary:
        folder = Path(temporary)
        seconds, recoveries = measure_steps(rounds, steps, folder)
        sweep_ratio, startup_s = measure_sweep(trials, max(5, steps // 2), folder)
    figures = {
        "overhead_per_step": median_ratio(seconds["1 worker"], seconds["this process"]) - 1,
        "scaling_2_workers": median_ratio(seconds["this process"], seconds["2 workers"]),
        "sweep_ratio": sweep_ratio,
        "sweep_startup_s": startup_s,
        "recovery_s": statistics.median(recoveries),
    }
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "ray"))
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {versions}\n")
    steps_measured = len(seconds["this process"])
    print_rows(
        [
            *(
                (f"step, {name}", f"{statistics.median(of):.3f} s, median of {steps_measured}")
                for name, of in seconds.items()
            ),
            ("overhead of Ray per step", f"{figures['overhead_per_step']:+.1%}"),
            ("1 -> 2 workers", f"{figures['scaling_2_workers']:.2f}x"),
            ("sweep against a bare loop", f"{sweep_ratio:.2f}x the trials per hour, {startup_s:.0f} s to start"),
            ("from kill -9 to training again", f"{figures['recovery_s']:.1f} s, median of {rounds}"),
        ]
    )
    print()
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
