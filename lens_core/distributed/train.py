"""Ray Train: the training of `lens_core.training.run` on several workers, restarted from its last checkpoint when one
of them dies.

The output folder must be one that all nodes see. Checkpoints are written there once, by our trainer, and Ray is told
where they lie: nothing is copied. What rank 0 logs travels through a Ray queue to the process that called.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_core.config import Method, TrainConfig
from lens_core.data.problem import Problem
from lens_core.distributed.cluster import cluster
from lens_core.distributed.workers import Workers
from lens_core.errors import LensError, first_line

if TYPE_CHECKING:
    from lens_core.training.run import OnStep


def train_with_ray(
    problems: Sequence[Problem],
    base: Path,
    config: TrainConfig,
    method: Method,
    output: Path,
    on_step: OnStep,
    workers: Workers,
    resume_from: Path | None = None,
    run_state: Mapping[str, str] | None = None,
) -> Path:
    """`train_policy` on Ray workers: the same arguments, the same files, the same metrics.

    Args:
        workers: at least one. Gradients are averaged with gloo on CPUs and NCCL on GPUs.

    Raises:
        LensError: with the first cause, after `config.max_failures` restarts; if a step's completions do not divide
            over every number of workers that is allowed; or if no cluster is reached.
    """
    rollouts = config.prompts_per_step * config.group_size
    for ranks in range(workers.least, workers.most + 1):
        if rollouts % ranks:
            raise LensError(
                f"{rollouts} completions a step (prompts_per_step x group_size) do not divide over {ranks} workers: "
                "change --workers, or train.prompts_per_step"
            )
    with cluster(cpus=max(os.cpu_count() or 1, workers.most)):
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
        from ray.util.queue import Queue

        gpus = int(ray.cluster_resources().get("GPU", 0))
        (output / _SNAPSHOT).unlink(missing_ok=True)  # of an earlier launch: our checkpoints say where to go on
        queue = Queue(actor_options={"num_cpus": 0})
        task = Task(
            problems=list(problems),
            base=base.absolute(),
            config=config,
            method=method,
            output=output.absolute(),
            resume_from=None if resume_from is None else resume_from.absolute(),
            run_state={} if run_state is None else dict(run_state),
            queue=queue,
        )
        trainer = TorchTrainer(
            _train_on_worker,
            train_loop_config={"task": task},
            torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=workers.most if workers.least == workers.most else (workers.least, workers.most),
                use_gpu=gpus > 0,
                resources_per_worker={"CPU": _cpus_each(workers)} | ({"GPU": 1} if gpus else {}),
            ),
            run_config=RunConfig(
                name=output.name,
                storage_path=str(output.absolute().parent),
                failure_config=FailureConfig(max_failures=config.max_failures),
            ),
        )
        with _passed_on(queue, on_step):
            try:
                trainer.fit()
            except ray.train.TrainingFailedError as error:
                raise LensError(f"training on {workers.most} Ray workers failed: {_first_cause(error)}") from error
    return output


@dataclass(frozen=True)
class Task:
    """What a worker needs to know."""

    problems: list[Problem]
    base: Path
    config: TrainConfig
    method: Method
    output: Path
    resume_from: Path | None
    run_state: dict[str, str]
    queue: Any


def _train_on_worker(arguments: dict[str, Any]) -> None:
    from lens_core.distributed.worker import train  # by a worker, and not by Ray's controller, which imports this file

    train(arguments["task"])


@contextmanager
def _passed_on(queue: Any, on_step: OnStep) -> Iterator[None]:
    """Inside the block, steps that come through the queue reach `on_step`; at its end, all that were sent have."""

    def listen() -> None:
        while (item := queue.get()) is not None:
            on_step(*item)

    with ThreadPoolExecutor(1, thread_name_prefix="steps") as listener:
        listening = listener.submit(listen)
        try:
            yield
        finally:
            queue.put(None)
            listening.result()
            queue.shutdown()


def _cpus_each(workers: Workers) -> int:
    """Ray gives a worker as many threads as CPUs."""
    return max(1, (os.cpu_count() or 1) // workers.most)


def _first_cause(error: Exception) -> str:
    """The last line of what the first failed worker raised, instead of three nested tracebacks."""
    failures = getattr(error, "worker_failures", None)
    cause = next(iter(failures.values())) if failures else error
    lines = [line for line in str(cause).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else first_line(error)


_SNAPSHOT = "checkpoint_manager_snapshot.json"
"""Where Ray Train keeps what it was told of checkpoints."""
