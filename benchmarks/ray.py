"""Ray: what it costs a training, what more workers and a sweep gain, and how soon a killed training goes on.

    python -m benchmarks.ray            the whole table, about ten minutes on two cores
    python -m benchmarks.ray --quick    one round of each, under a minute

All trainings are the demo's (8 prompts x 16 answers a step), with the same seed and so the same answers; they take
turns, and every ratio is the median over equal steps.

overhead_per_step   a step on one Ray worker / the same step in this process, less 1
scaling_2_workers   a step in this process, on all cores / the same step on two workers that share them
sweep_ratio         trials an hour of `lens sweep` / those of a bare loop over the same trials, both counted from the
                    moment that their processes are up: what a sweep pays once is `sweep_startup_s`
recovery_s          from kill -9 of driver and worker to the next new step of the same command with --resume
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
from itertools import pairwise
from pathlib import Path

import psutil
import torch
from transformers.utils.logging import disable_progress_bar

from lens_core import stages
from lens_core.config import RunConfig, load_config
from lens_core.data.prepare import TRAIN_FILE, VALIDATION_FILE, read_problems
from lens_core.distributed.train import train_with_ray
from lens_core.distributed.tune import TRIALS_FOLDER
from lens_core.distributed.workers import Workers
from lens_core.evaluation.evaluate import evaluate_policy
from lens_core.sweep import SWEEP_FILE, sweep
from lens_core.training.metrics_file import read_metrics
from lens_core.training.run import train_policy

WARM_UP = 2
"""Steps of each training that are not counted."""
METHOD, ALPHA = "lens", "methods.lens.alpha"
CHECKPOINT_EVERY, KILLED_AFTER = 4, 6


def training(steps: int, *overrides: str) -> RunConfig:
    return load_config("demo", [f"train.steps={steps}", "train.warmup_steps=0", *overrides])


def step_seconds(folder: Path) -> list[float]:
    """What each step took with all that belongs to it, the log included."""
    elapsed = [step["elapsed_s"] for step in read_metrics(folder)][WARM_UP - 1 :]
    return [end - start for start, end in pairwise(elapsed)]


def measure_steps(config: RunConfig, data: Path, base: Path, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each step in this process and on one and two Ray workers; the order is turned round every time."""
    problems = read_problems(data / TRAIN_FILE)
    arguments = (config.train, config.methods[METHOD])
    seconds: dict[str, list[float]] = {"this process": [], "1 worker": [], "2 workers": []}
    for round_ in range(rounds):
        for name in list(seconds)[:: 1 if round_ % 2 == 0 else -1]:
            output = folder / f"{name}-{round_}"
            if name == "this process":
                train_policy(problems, base, *arguments, output, lambda *_: None)
            else:
                workers = Workers(int(name[0]), int(name[0]))
                train_with_ray(problems, base, *arguments, output, lambda *_: None, workers)
            seconds[name] += step_seconds(output)
    return seconds


def measure_sweep(trials: int, steps: int, folder: Path) -> tuple[float, float]:
    """`(sweep_ratio, sweep_startup_s)`."""
    alphas = [2.0**index for index in range(trials)]
    grid = [f"sweep.space={{{ALPHA}: {{choice: {alphas}}}}}", "sweep.search=grid", "sweep.scheduler=none"]
    data = ["data.validation=40", "evaluation.n=4", "evaluation.ks=[1]", f"sweep.validate_every={steps}"]
    budget = [f"train.steps={steps}", "train.max_tokens=null", "train.warmup_steps=0"]
    config = load_config("ladder-sweep", [*grid, *data, *budget])
    called = time.time()
    sweep(config, folder / "sweep")
    of_trials = [path.stat() for path in (folder / "sweep" / TRIALS_FOLDER).glob("*/values.json")]
    first = min(status.st_mtime for status in of_trials)
    by_sweep = (folder / "sweep" / SWEEP_FILE).stat().st_mtime - first

    begin = time.time()
    problems, held_out = (read_problems(folder / "sweep/data" / name) for name in (TRAIN_FILE, VALIDATION_FILE))
    for index, alpha in enumerate(alphas):
        tuned, output = config.with_values({ALPHA: alpha}), folder / f"loop-{index}"
        train_policy(problems, folder / "sweep/base", tuned.train, tuned.methods[METHOD], output, lambda *_: None)
        list(evaluate_policy(held_out, output, tuned.evaluation))
    return (time.time() - begin) / by_sweep, first - called


def measure_recovery(data: Path, base: Path, folder: Path) -> float:
    """Seconds from the death of a training until it has come further than its last checkpoint."""
    output = folder / "killed"
    command = [sys.executable, "-m", "lens_core.cli", "train", "--workers", "1", "--method", METHOD]
    command += ["--data", str(data), "--base", str(base), "-o", str(output), "--home", str(folder / "home")]
    for override in ("train.steps=100", "train.warmup_steps=0", f"train.checkpoint_every={CHECKPOINT_EVERY}"):
        command += ["--set", override]

    def started(*more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL)

    first = started()
    await_step(first, output, KILLED_AFTER)
    kill(first)
    killed = time.time_ns()
    second = started("--resume")
    await_step(second, output, CHECKPOINT_EVERY + 1, since_ns=killed)
    recovery_s = (time.time_ns() - killed) / 1e9
    kill(second)
    return recovery_s


def await_step(process: subprocess.Popen[bytes], output: Path, step: int, since_ns: int = 0) -> None:
    """Until metrics that were written after `since_ns` have come as far as `step`."""
    while True:
        metrics = read_metrics(output)
        if metrics and metrics[-1]["step"] >= step and (output / "metrics.jsonl").stat().st_mtime_ns > since_ns:
            return
        if process.poll() is not None:
            raise SystemExit(f"the training ended by itself with exit code {process.returncode}")
        time.sleep(0.02)


def kill(driver: subprocess.Popen[bytes]) -> None:
    """The driver and all that it has started, at once."""
    family = [*psutil.Process(driver.pid).children(recursive=True), psutil.Process(driver.pid)]
    for process in family:
        process.kill()
    driver.wait()
    psutil.wait_procs(family, timeout=10)


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
    parser.add_argument("--quick", action="store_true", help="1 round of 10 steps, 4 trials")
    arguments = parser.parse_args()
    rounds, steps, trials = arguments.rounds, arguments.steps, arguments.trials
    if arguments.quick:
        rounds, steps, trials = 1, 10, 4
    disable_progress_bar()
    import ray

    with tempfile.TemporaryDirectory(prefix="lens-ray-") as temporary:
        folder = Path(temporary)
        config = training(steps)
        data, base = stages.prepare(config, folder / "data"), stages.base(config, folder / "base")
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        seconds = measure_steps(config, data, base, folder, rounds)
        sweep_ratio, startup_s = measure_sweep(trials, max(5, steps // 2), folder)
        ray.shutdown()
        recovery_s = statistics.median(
            measure_recovery(data, base, folder / f"recovery-{index}") for index in range(rounds)
        )
    figures = {
        "overhead_per_step": median_ratio(seconds["1 worker"], seconds["this process"]) - 1,
        "scaling_2_workers": median_ratio(seconds["this process"], seconds["2 workers"]),
        "sweep_ratio": sweep_ratio,
        "sweep_startup_s": startup_s,
        "recovery_s": recovery_s,
    }
    versions = f"torch {torch.__version__}, ray {ray.__version__}"
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
            ("from kill -9 to training again", f"{recovery_s:.1f} s, median of {rounds}"),
        ]
    )
    print()
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
