"""The training of one method."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lens_core.config import RunConfig
from lens_core.data.prepare import TRAIN_FILE, in_either_form, read_problems
from lens_core.data.prepare import VALIDATION_FILE as PROBLEMS_FILE
from lens_core.data.problem import Problem
from lens_core.data.summary import read_summary
from lens_core.distributed.workers import Workers
from lens_core.errors import LensError, StoppedError
from lens_core.progress import Listener, Progress, ignore
from lens_core.stages.files import RUN_FILE, TRAINING_FILE, VALIDATION_FILE
from lens_core.stages.tracked import tracked
from lens_core.tracking import MetricsSender, StageRun, Tracking, last_step, log_policy

if TYPE_CHECKING:
    from lens_core.distributed.validation import Validation
    from lens_core.training.run import OnStep


TOKENS = "lens/tokens/generated"


def train(
    config: RunConfig,
    method: str,
    data: Path,
    base_policy: Path,
    output: Path,
    tracking: Tracking | None = None,
    on_progress: Listener = ignore,
    resume: bool = False,
    workers: Workers | None = None,
) -> Path:
    """Train `method` from `base_policy` on `data`, and save the policy, `metrics.jsonl` and `training.json`.

    Args:
        resume: go on with what `output` holds of this training: from its last checkpoint, in the same MLflow run.
            Where it holds nothing, the training starts.
        workers: processes of a Ray cluster that train together; None: this process, or one where `train.rollouts`
            asks for rollout workers of Ray's.

    Raises:
        LensError: if `output` holds an interrupted training and `resume` is False, or one of another configuration.
        StoppedError: if SIGTERM asked it to end; it has written a checkpoint.
    """
    from lens_core.training.metrics_file import METRICS_FILE, read_metrics
    from lens_core.training.stopping import STOP_FILE, stop_on_sigterm

    if method not in config.methods:
        raise LensError(f"the configuration has no method {method!r}; it has {', '.join(config.methods)}")
    if workers is None and config.train_for(method).rollouts is not None:
        workers = Workers(1, 1)
    stage, steps = f"train {method}", config.train_for(method).steps
    problems, digest = read_problems(data / TRAIN_FILE), read_summary(data).train_digest
    fingerprint = _fingerprint(config, method, digest)
    earlier = _earlier_training(output, fingerprint, resume)
    if not is_main_process():  # of several that train together, one tells of it
        if not (output / TRAINING_FILE).exists():
            with stop_on_sigterm(output):
                _train(config, method, problems, base_policy, output, {}, lambda step, metrics: None)
        return output
    start = time.monotonic()
    with tracked(tracking, stage, config, method, None if earlier is None else earlier["mlflow_run"]) as run:
        on_progress(Progress(stage, 0, steps, ""))
        state = {"fingerprint": fingerprint, "mlflow_run": "" if run is None else run.run_id}
        output.mkdir(parents=True, exist_ok=True)
        (output / RUN_FILE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        if run is not None:
            run.dataset(in_either_form(data / TRAIN_FILE), digest, "train", len(problems))
            run.params({"seed": config.train_for(method).seed})
        with _metrics_sent(run) as send:
            if not (output / TRAINING_FILE).exists():
                budget = config.train_for(method).max_tokens
                watch = _Watch(stage, steps, budget, output / VALIDATION_FILE, send, on_progress)
                ray = None if workers is None else _OnRay(workers, _validation(config, data), watch.on_validation)
                (output / STOP_FILE).unlink(missing_ok=True)
                with stop_on_sigterm(output):
                    _train(config, method, problems, base_policy, output, state, watch.on_step, ray)
                if (output / STOP_FILE).exists():
                    raise StoppedError(f"the training in {output} was asked to stop, and did: go on with --resume")
                last = read_metrics(output)[-1]
                spent = round(time.monotonic() - start, 1) if earlier is None else last["elapsed_s"]
                taken = steps if budget is None else int(last["step"])
                summary = {"method": method, "steps": taken, "seconds": spent, **_where_and_when(workers)}
                (output / TRAINING_FILE).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
            for step in read_metrics(output):  # what an interrupted run has not sent
                send.step(int(step["step"]), {name: value for name, value in step.items() if name != "step"})
        if run is not None:
            run.artifact(output / METRICS_FILE)
            run.artifact(output / TRAINING_FILE)
            run.tags({"checkpoint": output.absolute().as_uri()})
            _log_policies(run, f"{config.name}-{method}", output)
    return output


def _log_policies(run: StageRun, name: str, output: Path) -> None:
    """The trained policy and its checkpoints as MLflow's models, with what the checkpoints reached in validation."""
    from lens_core.training.checkpoint import checkpoints, trained_steps

    lines = (output / VALIDATION_FILE).read_text("utf-8").splitlines() if (output / VALIDATION_FILE).exists() else []
    reached = {line["step"]: line for line in map(json.loads, lines)}
    for folder in checkpoints(output):
        step = trained_steps(folder)
        model = log_policy(run, f"{name}-step-{step}", folder, step)
        values = {key: value for key, value in reached.get(step, {}).items() if key != "step"}
        run.metrics({key.replace("validation/", "checkpoint/"): value for key, value in values.items()}, step, model)
    log_policy(run, name, output)


def _where_and_when(workers: Workers | None) -> dict[str, str]:
    """For a reader who was not there: the machine, and when the training ended."""
    from lens_core.rollout.engine import machine

    where = machine() if workers is None else f"up to {workers.most} Ray workers, started from {machine()}"
    return {"machine": where, "finished": datetime.now(UTC).isoformat(timespec="seconds")}


def is_main_process() -> bool:
    """False in all but the first of the processes that torchrun or `accelerate launch` has started."""
    return os.environ.get("RANK", "0") == "0"


def _train(
    config: RunConfig,
    method: str,
    problems: Sequence[Problem],
    base_policy: Path,
    output: Path,
    state: Mapping[str, str],
    on_step: OnStep,
    ray: _OnRay | None = None,
) -> None:
    # TRL says seven times that it does not know vLLM 0.32 yet, used or not; the versions are our own choice and tested.
    warnings.filterwarnings("ignore", message="TRL currently supports vLLM versions")
    from lens_core.training.checkpoint import last_checkpoint
    from lens_core.training.run import train_policy

    arguments = (problems, base_policy, config.train_for(method), config.methods[method], output, on_step)
    resume_from = last_checkpoint(output)
    if ray is None:
        train_policy(*arguments, resume_from=resume_from, run_state=state)
        return
    from lens_core.distributed.train import train_with_ray

    train_with_ray(*arguments, resume_from=resume_from, run_state=state, **vars(ray))


@dataclass(frozen=True)
class _OnRay:
    """What `train_with_ray` takes beyond `train_policy`."""

    workers: Workers
    validation: Validation | None
    on_validation: OnStep


def _validation(config: RunConfig, data: Path) -> Validation | None:
    """The problems that checkpoints are tried on while the training goes on; None where none are held out."""
    from lens_core.distributed.validation import Validation

    held_out = read_problems(data / PROBLEMS_FILE) if in_either_form(data / PROBLEMS_FILE).exists() else []
    return Validation(held_out, config.evaluation) if held_out else None


class _Watch:
    """Takes what a training says of itself: to MLflow, to whoever watches, and validations into a file."""

    def __init__(
        self, stage: str, steps: int, max_tokens: int | None, validations: Path, send: _Send, on_progress: Listener
    ) -> None:
        self._stage, self._steps, self._max_tokens, self._validations = stage, steps, max_tokens, validations
        self._send, self._on_progress = send, on_progress
        self._validation = ""
        self._tokens, self._elapsed_s = 0.0, 0.0
        self._total = steps

    def on_step(self, step: int, metrics: dict[str, float]) -> None:
        self._send.step(step, metrics)
        parts = _describe_step(metrics)
        if TOKENS in metrics:  # a step may train on answers that were drawn before
            tokens, elapsed_s = metrics[TOKENS], metrics["elapsed_s"]
            parts.append(f"{(tokens - self._tokens) / (elapsed_s - self._elapsed_s):,.0f} tokens/s")
            self._tokens, self._elapsed_s = tokens, elapsed_s
            if self._max_tokens is not None:  # which may be spent before the configuration's steps are done
                self._total = min(self._steps, math.ceil(step * self._max_tokens / tokens))
        text = ", ".join(parts) + self._validation
        self._on_progress(Progress(self._stage, step, max(step, self._total), text))

    def on_validation(self, step: int, metrics: dict[str, float]) -> None:
        with self._validations.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._send.metrics(step, metrics)
        name, value = next(iter(metrics.items()))
        self._validation = f", {name.rpartition('/')[2]} {value:.1%} at step {step}"


def _fingerprint(config: RunConfig, method: str, data_digest: str) -> str:
    """SHA-256 of all that a training depends on: a checkpoint belongs to one and no other."""
    parts = [config.base, config.methods[method].model_dump_json(), config.train_for(method).model_dump_json()]
    return hashlib.sha256("\n".join([*parts, data_digest]).encode()).hexdigest()


def _earlier_training(output: Path, fingerprint: str, resume: bool) -> dict[str, str] | None:
    """What `run.json` says of the training that `output` holds; None where it is to start (again)."""
    from lens_core.training.checkpoint import last_checkpoint

    path = output / RUN_FILE
    if not path.exists():
        return None
    if not resume:
        if last_checkpoint(output) is not None:
            raise LensError(
                f"{output} holds checkpoints of an earlier training: add --resume to go on from the last one, or "
                "choose another folder"
            )
        (output / TRAINING_FILE).unlink(missing_ok=True)
        return None
    earlier: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    if earlier["fingerprint"] != fingerprint:
        raise LensError(
            f"{output} holds the training of another configuration, method, base or data: resume with what it was "
            "started with, or choose another folder"
        )
    return earlier


@contextmanager
def _metrics_sent(run: StageRun | None) -> Iterator[_Send]:
    """What sends metrics to MLflow without keeping the training waiting; all have arrived at the end of the block."""
    if run is None:
        yield _Send(None, 0)
        return
    sender = MetricsSender(run)
    try:
        yield _Send(sender, last_step(run))
    except BaseException:
        with suppress(LensError):  # what stopped the training matters more than metrics that did not arrive
            sender.close(patience_s=10)
        raise
    sender.close()


class _Send:
    """Metrics on their way to MLflow, where the stage is tracked.

    Args:
        sent: the last step whose metrics have arrived, before a resumed run was interrupted.
    """

    def __init__(self, sender: MetricsSender | None, sent: int) -> None:
        self._sender, self._sent = sender, sent

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Those of a training's step, each step once."""
        if step > self._sent:
            self.metrics(step, metrics)
            self._sent = step

    def metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._sender is not None:
            self._sender.put(step, metrics)


def _describe_step(metrics: Mapping[str, float]) -> list[str]:
    parts = [f"reward {metrics['reward']:.2f}"] if "reward" in metrics else []
    if "lens/groups/negative" in metrics:
        parts.append(f"negative groups {metrics['lens/groups/negative']:.0%}")
    if "step_time" in metrics:
        parts.append(f"{metrics['step_time']:.2f} s/step")
    return parts
