"""Ray: what it costs a training, what more workers and a sweep gain, and how soon a killed training goes on.

    python -m benchmarks.ray            the whole table, eight minutes on two cores
    python -m benchmarks.ray --quick    one round of each, two minutes: trainings start three times

All trainings are the demo's, with the same seed and so the same answers. Ratios of steps are geometric means over equal
steps, made in turns, and those of sweeps over pairs of them; all with 95 % intervals.

step_on_ray         a step on one Ray worker / the same step in a process alone
scaling_2_workers   a step in a process alone, on all cores / the same step on two workers that share them
sweep_ratio         trials an hour of `lens sweep` / those of a bare pool of as many processes, of one thread each, over
                    the same trials; both counted from the moment that their processes are up and have imported: what a
                    sweep pays once is `sweep_startup_s`
recovery_s          from kill -9 of the driver to the next new step of the same training, started again on the cluster
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import date
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import psutil

from benchmarks.pairs import figures_of, ratio
from lens_core import stages
from lens_core.config import RunConfig, load_config
from lens_core.data.prepare import TRAIN_FILE, VALIDATION_FILE, read_problems
from lens_core.training.metrics_file import METRICS_FILE, read_metrics
from lens_core.training.spec import TrainingSpec

METHOD, ALPHA = "lens", "methods.lens.alpha"
CHECKPOINT_EVERY, TURN = 4, 4
DATA, BASE = "data", "base"


def settings(steps: int) -> list[str]:
    return [f"train.steps={steps}", "train.warmup_steps=0", f"train.checkpoint_every={CHECKPOINT_EVERY}"]


def train_here(config: RunConfig, folder: Path, output: Path) -> None:
    from lens_core.training.run import train_policy

    train_policy(training_of(config, folder, output))


def training_of(config: RunConfig, folder: Path, output: Path) -> TrainingSpec:
    problems = read_problems(folder / DATA / TRAIN_FILE)
    return TrainingSpec(problems, folder / BASE, config.train, config.methods[METHOD], output)


def train(workers: int, steps: int, folder: Path, output: Path) -> None:
    """What `lens train --workers N --resume` does, without MLflow."""
    config = load_config("demo", settings(steps))
    if workers == 0:
        return train_here(config, folder, output)
    from lens_core.distributed.count import Workers
    from lens_core.distributed.train import OnRay, train_with_ray
    from lens_core.training.checkpoint import last_checkpoint

    training = replace(training_of(config, folder, output), resume_from=last_checkpoint(output))
    train_with_ray(training, lambda *_: None, OnRay(Workers(workers, workers)))


class Training:
    """`train` in a process of its own; with workers, on this process's cluster."""

    def __init__(self, workers: int, steps: int, folder: Path, output: Path) -> None:
        import ray

        self._on_ray, self._output, self._started_ns = workers > 0, output, time.time_ns()
        call = f"train({workers}, {steps}, Path({str(folder)!r}), Path({str(output)!r}))"
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from pathlib import Path; from benchmarks.ray import train; {call}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address},
        )

    def reach(self, step: int) -> None:
        """Wait until it has come as far as `step`."""
        path, seen_ns = self._output / METRICS_FILE, self._started_ns
        while True:
            written_ns = path.stat().st_mtime_ns if path.exists() else 0
            if written_ns > seen_ns:  # not read more often than that: the training has both cores
                seen_ns = written_ns
                metrics = read_metrics(self._output)
                if metrics and metrics[-1]["step"] >= step:
                    return
            if self._process.poll() is not None:
                raise SystemExit(f"a training of the benchmark ended by itself, exit code {self._process.returncode}")
            time.sleep(0.02)

    def pause(self) -> None:
        for process in self._trainers():
            process.suspend()

    def resume(self) -> None:
        for process in self._trainers():
            process.resume()

    def _trainers(self) -> list[psutil.Process]:
        """The processes that train: its own, or Ray's workers."""
        if not self._on_ray:
            return [psutil.Process(self._process.pid)]
        everything = psutil.process_iter(["cmdline"])
        return [each for each in everything if "".join(each.info["cmdline"] or "").startswith("ray::RayTrainWorker")]

    def kill(self) -> None:
        """With -9; Ray ends the workers of a driver that is gone, and until then they would write on."""
        trainers = self._trainers()
        self.resume()
        self._process.kill()
        self._process.wait()
        psutil.wait_procs(trainers)


def step_seconds(folder: Path) -> dict[int, float]:
    """By step, what it took with all that belongs to it, log and checkpoint included."""
    return {int(step["step"]): step["elapsed_s"] - last["elapsed_s"] for last, step in pairwise(read_metrics(folder))}


def take_turns(trainings: Sequence[Training], at: int, end: int) -> set[int]:
    """Two trainings that are paused after step `at` go on to `end`, one after the other for a few steps each.

    A machine whose speed changes so changes it for both.

    Returns:
        The steps that a pause has cut in two.
    """
    cut = set()
    while at < end:
        cut.add(at + 1)
        at = min(at + TURN, end)
        for training in trainings:
            training.resume()
            training.reach(at)
            training.pause()
    return cut


def measure_steps(rounds: int, steps: int, folder: Path) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds of a step on Ray / those of the same step in a process alone, by number of workers; and all recoveries.

    In a round, a training on two workers is killed after `steps` steps and goes on with one worker until it has made
    twice as many. One in a process alone makes them all, in turns with it. Who begins, changes from round to round.
    """
    config = load_config("demo", settings(2 * steps))
    stages.prepare(config, folder / DATA)
    stages.base(config, folder / BASE)
    ratios: dict[str, list[float]] = {"1 worker": [], "2 workers": []}
    recoveries = []
    for round_ in range(rounds):
        output, output_alone = folder / f"ray-{round_}", folder / f"alone-{round_}"
        order = -1 if round_ % 2 else 1
        two = Training(2, 2 * steps, folder, output)
        alone = Training(0, 2 * steps, folder, output_alone)  # it is up long before the other, and waits
        alone.reach(1)
        alone.pause()
        two.reach(1)
        two.pause()
        cut = take_turns([two, alone][::order], 1, steps)
        two.resume()
        two.reach(steps + 1)  # the checkpoint of the step before is whole then
        began = time.monotonic()
        two.kill()
        one = Training(1, 2 * steps, folder, output)
        one.reach(steps + 1)
        recoveries.append(time.monotonic() - began)
        one.pause()
        cut |= take_turns([alone, one][::order], steps + 1, 2 * steps)
        one.kill()
        alone.kill()
        of_alone = step_seconds(output_alone)
        for step, seconds in step_seconds(output).items():
            if step not in cut | {steps + 1}:  # the first of a process begins nowhere in the file
                ratios["2 workers" if step <= steps else "1 worker"].append(seconds / of_alone[step])
    return ratios, recoveries


def run_trial(config: RunConfig, folder: Path, output: Path) -> None:
    """What a trial of the sweep is made of."""
    from lens_core.evaluation.evaluate import evaluate_policy

    train_here(config, folder, output)
    list(evaluate_policy(read_problems(folder / DATA / VALIDATION_FILE), output, config.evaluation))


def warm_up(_: int) -> None:
    """What a process imports and starts once."""
    import lens_core.evaluation.evaluate
    import lens_core.training.run  # noqa: F401 - for later
    from lens_core.verify import grade

    grade("\\boxed{1}", "1")
    time.sleep(1)  # so that every process of a pool gets one


def measure_sweep(trials: int, steps: int, folder: Path) -> tuple[float, float, float]:
    """Seconds of the trials in a bare pool, those in a sweep, and those until the first trial of the sweep."""
    from lens_core.distributed.trials import TRIALS_FOLDER
    from lens_core.stages.sweep import SWEEP_FILE, sweep

    alphas = [2.0**index for index in range(trials)]
    grid = [f"sweep.space={{{ALPHA}: {{choice: {alphas}}}}}", "sweep.search=grid", "sweep.scheduler=none"]
    held_out = ["data.validation=40", "evaluation.n=4", "evaluation.ks=[1]", f"sweep.validate_every={steps}"]
    budget = [f"train.steps={steps}", "train.max_tokens=null", "train.warmup_steps=0"]
    config = load_config("ladder-sweep", [*grid, *held_out, *budget])
    called = time.time()
    sweep(config, folder)
    first = min(path.stat().st_mtime for path in (folder / TRIALS_FOLDER).glob("*/values.json"))
    by_sweep = (folder / SWEEP_FILE).stat().st_mtime - first

    cores = os.cpu_count() or 1
    os.environ["OMP_NUM_THREADS"] = "1"  # as Ray sets it for a trial of one CPU
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(warm_up, range(cores)))
        begin = time.time()
        started = [
            pool.submit(run_trial, config.with_values({ALPHA: alpha}), folder, folder / f"pool-{index}")
            for index, alpha in enumerate(alphas)
        ]
        for trial in started:
            trial.result()
        by_pool = time.time() - begin
    del os.environ["OMP_NUM_THREADS"]
    return by_pool, by_sweep, first - called


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    print("| what | figure |\n|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="trainings of each kind, and kills")
    parser.add_argument("--steps", type=int, default=16, help="of each training before it is killed, a multiple of 4")
    parser.add_argument("--trials", type=int, default=6, help="of the sweep")
    parser.add_argument("--quick", action="store_true", help="1 round of 4 steps, 2 trials")
    arguments = parser.parse_args()
    rounds, steps, trials = arguments.rounds, arguments.steps, arguments.trials
    if arguments.quick:
        rounds, steps, trials = 1, 4, 2
    import ray
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="lens-ray-") as temporary:
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        ratios, recoveries = measure_steps(rounds, steps, Path(temporary))
        sweeps = [measure_sweep(trials, steps, Path(temporary) / f"sweep-{round_}") for round_ in range(rounds)]
    found = {
        "step_on_ray": ratio((seconds, 1.0) for seconds in ratios["1 worker"]),
        "scaling_2_workers": ratio((1.0, seconds) for seconds in ratios["2 workers"]),
        "sweep_ratio": ratio((by_pool, by_sweep) for by_pool, by_sweep, _ in sweeps),
    }
    startup_s, recovery_s = (statistics.median(each) for each in ([until for *_, until in sweeps], recoveries))
    figures = figures_of(found) | {"sweep_startup_s": startup_s, "recovery_s": recovery_s}
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "ray"))
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {versions}\n")
    print_rows(
        [
            ("a step on one Ray worker / alone", str(found["step_on_ray"])),
            ("1 -> 2 workers", str(found["scaling_2_workers"])),
            ("trials per hour of a sweep / of a bare pool", f"{found['sweep_ratio']}; {startup_s:.0f} s to start"),
            (
                "from kill -9 to training again",
                f"{recovery_s:.1f} s, of {min(recoveries):.1f} to {max(recoveries):.1f}",
            ),
        ]
    )
    print()
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
