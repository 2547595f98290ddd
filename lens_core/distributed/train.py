"""Ray Train: the training of `lens_core.training.run` on several workers, restarted from its last checkpoint when one
of them dies.

The output folder must be one that all nodes see. Checkpoints are written there once, by our trainer, and Ray is told
where they lie: nothing is copied. What rank 0 logs, and what validations of checkpoints find, travels through a Ray
queue to the process that called.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_core.config import TrainConfig
from lens_core.distributed.count import Workers
from lens_core.distributed.ray_cluster import ray_cluster
from lens_core.distributed.rollout_actors import gpus_each, rollout_workers
from lens_core.distributed.task import WorkerTask
from lens_core.distributed.validation import Validation, validate
from lens_core.errors import LensError, first_line
from lens_core.signals import kept
from lens_core.training.spec import OnStep, TrainingSpec

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer


@dataclass(frozen=True)
class OnRay:
    """How a training runs on Ray, and who is told of it."""

    workers: Workers
    """At least one. Gradients are averaged with gloo on CPUs and NCCL on GPUs."""
    validation: Validation | None = None
    """What each checkpoint is to be tried on while the training goes on; None: nothing."""
    on_validation: OnStep = lambda step, metrics: None
    """Called with the checkpoint's step and `{"validation/pass_at_1": 0.31, ...}`."""


def train_with_ray(training: TrainingSpec, on_step: OnStep, on_ray: OnRay) -> Path:
    """`train_policy` on Ray workers: the same training, the same files, the same metrics.

    Raises:
        LensError: with the first cause, after `config.max_failures` restarts; if a step's completions do not divide
            over every number of workers that is allowed; or if no cluster is reached.
    """
    config, workers, validation = training.config, on_ray.workers, on_ray.validation
    workers.require_whole_micro_batches(config)
    with ExitStack() as stack:
        stack.enter_context(ray_cluster(_cpus(config, workers, validation)))
        import ray
        from ray.util.queue import Queue

        from lens_core.training.stopping import ask_to_stop, is_stop_asked

        gpus = int(ray.cluster_resources().get("GPU", 0))
        training = _absolute(training)
        (training.output / _SNAPSHOT).unlink(
            missing_ok=True
        )  # of an earlier launch: our checkpoints say where to go on
        queue = Queue(actor_options={"num_cpus": 0})
        rollouts = None
        if config.rollouts is not None:
            length = _longest_prompt(training) + config.max_new_tokens
            rollouts = stack.enter_context(rollout_workers(config.rollouts, training.base, length))
        task = WorkerTask(training, rollouts, validation is not None, queue)
        trainer = _torch_trainer(task, workers, gpus, validation)
        listeners = {"step": on_step, "validation": on_ray.on_validation}
        with _passed_on(queue, listeners, partial(ask_to_stop, training.output)):
            try:
                with kept([signal.SIGINT]):
                    trainer.fit()
            except SystemExit as error:
                if error.code not in (0, 1):  # of ours, 128 and more
                    raise
                # Of Ray's own handler of Ctrl-C, which calls it a success; a `ray.get` that it interrupts makes that 1.
                raise KeyboardInterrupt from error
            except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
                # Ray's processes may have been asked to end too; the last checkpoint is what the training goes on from.
                if not is_stop_asked(training.output):
                    cause = _first_cause(error)
                    raise LensError(f"training on {workers.most} Ray workers failed: {cause}") from error
    return training.output


def _absolute(training: TrainingSpec) -> TrainingSpec:
    """The same for processes with another working directory, and without what cannot travel."""
    resume_from = None if training.resume_from is None else training.resume_from.absolute()
    return replace(
        training,
        problems=list(training.problems),
        base=training.base.absolute(),
        output=training.output.absolute(),
        resume_from=resume_from,
        run_state=dict(training.run_state),
    )


def _train_on_worker(arguments: dict[str, Any]) -> None:
    from lens_core.distributed.train_worker import (
        train,  # by a worker, and not by Ray's controller, which imports this file
    )

    train(arguments["task"])


def _torch_trainer(task: WorkerTask, workers: Workers, gpus: int, validation: Validation | None) -> TorchTrainer:
    from ray.train import FailureConfig, RunConfig, ScalingConfig, ValidationConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    validated_by = None
    if validation is not None:
        validated_by = ValidationConfig(
            partial(validate, validation=validation, queue=task.queue),
            ray_remote_kwargs={
                "num_cpus": 1,
                "num_gpus": 1 if _spare_gpus(task.training.config, workers, gpus) >= 1 else 0,
            },
        )
    return TorchTrainer(
        _train_on_worker,
        train_loop_config={"task": task},
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers.most if workers.least == workers.most else (workers.least, workers.most),
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": _cpus_each(workers)} | ({"GPU": 1} if gpus else {}),
        ),
        run_config=RunConfig(
            name=task.training.output.name,
            storage_path=str(task.training.output.parent),
            failure_config=FailureConfig(max_failures=task.training.config.max_failures),
        ),
        validation_config=validated_by,
    )


@contextmanager
def _passed_on(queue: Any, listeners: Mapping[str, OnStep], stop: Callable[[], None]) -> Iterator[None]:
    """Inside the block, what comes through the queue reaches its listener; at its end, all that was sent has.

    A listener that fails ends a training in one process at once. Here the workers are asked to `stop`, and what it
    raised is raised when they have.
    """

    def listen() -> None:
        while (item := queue.get()) is not None:
            kind, step, metrics = item
            try:
                listeners[kind](step, metrics)
            except BaseException:
                stop()
                raise

    from ray.exceptions import RayError

    with ThreadPoolExecutor(1, thread_name_prefix="steps") as listener:
        listening = listener.submit(listen)
        try:
            yield
        finally:
            # Of a cluster that has died nothing comes any more, and what the block raised says so.
            with suppress(RayError):
                queue.put(None)
                listening.result()
            with suppress(RayError):
                queue.shutdown()


def _cpus(config: TrainConfig, workers: Workers, validation: Validation | None) -> int:
    """Of a cluster of this machine's own: where everything fits, and shares the cores where there are fewer."""
    rollouts = 0 if config.rollouts is None else config.rollouts.workers * config.rollouts.cpus_each
    return workers.most * _cpus_each(workers) + rollouts + (validation is not None)


def _spare_gpus(config: TrainConfig, workers: Workers, gpus: int) -> float:
    """Those that neither trainers nor rollout workers take: a validation would wait for one until both had ended."""
    rollouts = 0.0 if config.rollouts is None else config.rollouts.workers * gpus_each(config.rollouts, gpus)
    return gpus - workers.most - rollouts


def _longest_prompt(training: TrainingSpec) -> int:
    from lens_core.rollout.engine import encode_prompt, load_tokenizer

    tokenizer, form = load_tokenizer(training.base), training.config.prompt
    return max(len(encode_prompt(problem.prompt, tokenizer, form)) for problem in training.problems)


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
