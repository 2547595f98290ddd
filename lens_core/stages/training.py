"""The training of one method."""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lens_core.config import RunConfig, TrainConfig, check_imports, parse
from lens_core.data.prepare import TRAIN_FILE, VALIDATION_FILE, in_either_form, read_problems
from lens_core.data.summary import read_summary
from lens_core.distributed.count import Workers
from lens_core.distributed.train import OnRay
from lens_core.errors import LensError, StoppedError
from lens_core.files import append_lines, read_json, read_lines, write_json
from lens_core.folders import TRAINING, claimed
from lens_core.progress import Listener, Progress, drawing_told, ignore
from lens_core.rollout.shipped import resolved
from lens_core.stages.folder import CHECKPOINTS_FILE, RUN_FILE, TRAINING_FILE, TrainingDesign, refuse_other_values
from lens_core.stages.tracked import tracked
from lens_core.tracking import MetricsSender, StageRun, Tracking, last_step, log_policy
from lens_core.training.spec import OnStep, TrainingSpec

if TYPE_CHECKING:
    from lens_core.distributed.validation import Validation


TOKENS = "lens/tokens/generated"
_CUT_OFF = "completions/clipped_ratio"
"""TRL's name for the fraction of completions that the token limit cut off."""


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
        resume: go on with what `output` holds of this training: from its newest whole checkpoint, in the same MLflow
            run. Where it holds nothing, the training starts.
        workers: processes of a Ray cluster that train together; None: this process, or one where `train.rollouts`
            asks for rollout workers of Ray's.

    Raises:
        LensError: if `output` is not ours (lens_core.folders), holds an interrupted training and `resume` is False, or
            one of another configuration, or checkpoints of which none is whole.
        StoppedError: if SIGTERM asked it to end; it has written a checkpoint.
    """
    from lens_core.training.checkpoint import clear_up
    from lens_core.training.metrics_file import METRICS_FILE, read_finished_metrics, read_metrics
    from lens_core.training.stopping import STOP_FILE, stop_when_signalled

    config.required_method(method)
    check_imports(config)
    settings = config.train_for(method)
    if workers is None and settings.rollouts is not None:
        workers = Workers(1, 1)
    stage = f"train {method}"
    problems, digest = read_problems(data / TRAIN_FILE), read_summary(data).train_digest
    design = TrainingDesign(base=config.base, method=config.methods[method], train=settings, data_sha256=digest)
    training = TrainingSpec(problems, Path(resolved(base_policy)), settings, config.methods[method], output)
    if not is_main_process():  # of several that train together, one claims the folder and tells of it
        _earlier_run(output, design, resume)
        if not (output / TRAINING_FILE).exists():
            with stop_when_signalled(output):
                _train(replace(training, resume_from=_start(output, resume)), lambda step, metrics: None)
        return output
    start = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(claimed(output, TRAINING))
        earlier = _earlier_run(output, design, resume)
        clear_up(output)
        run = stack.enter_context(tracked(tracking, stage, config, method, earlier))
        on_progress(Progress(stage, 0, settings.steps, ""))
        mlflow_run = "" if run is None else run.run_id
        held = {"design": design.model_dump(mode="json"), "config": config.model_dump(mode="json")}
        write_json(output / RUN_FILE, {**held, "mlflow_run": mlflow_run})
        if run is not None:
            run.dataset(in_either_form(data / TRAIN_FILE), digest, "train", len(problems))
            run.params({"seed": settings.seed})
        with _metrics_sent(run) as send:
            if not (output / TRAINING_FILE).exists():
                watch = _Watch(stage, settings, output / CHECKPOINTS_FILE, send, on_progress)
                on_ray = None if workers is None else OnRay(workers, _validation(config, data), watch.on_validation)
                (output / STOP_FILE).unlink(missing_ok=True)
                training = replace(training, resume_from=_start(output, resume), run_state={"mlflow_run": mlflow_run})
                with stop_when_signalled(output), drawing_told(watch.on_drawing):
                    _train(training, watch.on_step, on_ray)
                if (output / STOP_FILE).exists():
                    raise StoppedError(f"the training in {output} was asked to stop, and did: go on with --resume")
                last = read_finished_metrics(output)[-1]
                spent = round(time.monotonic() - start, 1) if earlier is None else last["elapsed_s"]
                taken = settings.steps if settings.max_tokens is None else int(last["step"])
                summary = {"method": method, "steps": taken, "seconds": spent, **_where_and_when(workers)}
                write_json(output / TRAINING_FILE, summary)
            for step in read_metrics(output):  # what an interrupted run has not sent
                send.step(int(step["step"]), {name: value for name, value in step.items() if name != "step"})
        if run is not None:
            run.artifact(output / METRICS_FILE)
            run.artifact(output / TRAINING_FILE)
            run.tags({"checkpoint": output.absolute().as_uri()})
            _log_policies(run, f"{config.name}-{method}", output)
    return output


def _start(output: Path, resume: bool) -> Path | None:
    """The checkpoint to go on from; None: the training begins."""
    from lens_core.training.checkpoint import last_checkpoint

    return last_checkpoint(output) if resume else None


def _log_policies(run: StageRun, name: str, output: Path) -> None:
    """The trained policy and its checkpoints as MLflow's models, with what the checkpoints reached in validation."""
    from lens_core.training.checkpoint import checkpoints, trained_steps

    validated = output / CHECKPOINTS_FILE
    reached = {line["step"]: line for line in (read_lines(validated, "step") if validated.exists() else [])}
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


def cut_off_in_training(folder: Path) -> str | None:
    """A line about a training whose token limit cut off many completions, with the value to change; None: few were."""
    from lens_core.evaluation.metrics import MOST_CUT_OFF
    from lens_core.training.metrics_file import read_finished_metrics

    shares = [step[_CUT_OFF] for step in read_finished_metrics(folder) if math.isfinite(step.get(_CUT_OFF, math.nan))]
    share = sum(shares) / len(shares) if shares else 0.0
    if share <= MOST_CUT_OFF:
        return None
    return (
        f"{share:.0%} of the training's completions were cut off, and most of them earned nothing: raise "
        f"train.max_new_tokens"
    )


def is_main_process() -> bool:
    """False in all but the first of the processes that torchrun or `accelerate launch` has started."""
    return os.environ.get("RANK", "0") == "0"


def _train(training: TrainingSpec, on_step: OnStep, on_ray: OnRay | None = None) -> None:
    # TRL says seven times that it does not know vLLM 0.32 yet, used or not; the versions are our own choice and tested.
    warnings.filterwarnings("ignore", message="TRL currently supports vLLM versions")
    from lens_core.training.run import train_policy

    if on_ray is None:
        train_policy(training, on_step)
        return
    from lens_core.distributed.train import train_with_ray

    train_with_ray(training, on_step, on_ray)


def _validation(config: RunConfig, data: Path) -> Validation | None:
    """The problems that checkpoints are tried on while the training goes on; None where none are held out."""
    from lens_core.distributed.validation import Validation

    held_out = read_problems(data / VALIDATION_FILE) if in_either_form(data / VALIDATION_FILE).exists() else []
    return Validation(held_out, config.evaluation) if held_out else None


class _Watch:
    """Takes what a training says of itself: to MLflow, to whoever watches, and validations into a file."""

    def __init__(
        self, stage: str, settings: TrainConfig, validations: Path, send: _Send, on_progress: Listener
    ) -> None:
        self._stage, self._steps, self._max_tokens = stage, settings.steps, settings.max_tokens
        self._validations, self._send, self._on_progress = validations, send, on_progress
        self._validation = ""
        self._tokens, self._elapsed_s = 0.0, 0.0
        self._step, self._total = 0, settings.steps

    def on_drawing(self, said: str) -> None:
        self._on_progress(Progress(self._stage, self._step, max(self._step, self._total), said))

    def on_step(self, step: int, metrics: dict[str, float]) -> None:
        self._send.step(step, metrics)
        parts = _describe_step(metrics)
        if TOKENS in metrics:  # a step may train on answers that were drawn before
            tokens, elapsed_s = metrics[TOKENS], metrics["elapsed_s"]
            parts.append(f"{(tokens - self._tokens) / (elapsed_s - self._elapsed_s):,.0f} tokens/s")
            self._tokens, self._elapsed_s = tokens, elapsed_s
            if self._max_tokens is not None:  # which may be spent before the configuration's steps are done
                self._total = min(self._steps, math.ceil(step * self._max_tokens / tokens))
        self._step, text = step, ", ".join(parts) + self._validation
        self._on_progress(Progress(self._stage, step, max(step, self._total), text))

    def on_validation(self, step: int, metrics: dict[str, float]) -> None:
        append_lines(self._validations, [json.dumps({"step": step, **metrics})])
        self._send.metrics(step, metrics)
        name, value = next(iter(metrics.items()))
        self._validation = f", {name.rpartition('/')[2]} {value:.1%} at step {step}"


def require_new(output: Path) -> None:
    """Refuse to begin a training where there is one already.

    Raises:
        LensError: if `output` holds checkpoints or a finished training.
    """
    from lens_core.training.checkpoint import checkpoints

    if checkpoints(output):
        raise LensError(
            f"{output} holds checkpoints of an earlier training: add --resume to go on from the last one, or "
            "choose another folder"
        )
    if (output / TRAINING_FILE).exists():
        raise LensError(f"{output} holds a finished training: add --resume to go on with it, or choose another folder")


def _earlier_run(output: Path, design: TrainingDesign, resume: bool) -> str | None:
    """Id of the MLflow run of the training that `output` holds, empty without one; None where it starts (again).

    Raises:
        LensError: if it is another training, cannot be resumed, or is not to be; nothing has been changed then.
    """
    from lens_core.training.checkpoint import checkpoints
    from lens_core.training.metrics_file import read_metrics

    path, saved = output / RUN_FILE, checkpoints(output)
    if not resume:
        require_new(output)
        (output / CHECKPOINTS_FILE).unlink(missing_ok=True)
        return None
    finished = (output / TRAINING_FILE).exists()
    if not path.exists():
        if saved or finished:
            raise LensError(
                f"{output} holds a training, but not {RUN_FILE}, which says which: restore it, or choose another folder"
            )
        return None
    earlier = read_json(path, "mlflow_run")
    if "design" not in earlier:
        raise LensError(f"{path} does not say what the training was started with: choose another folder")
    begun = parse(TrainingDesign, earlier["design"], str(path))
    refuse_other_values(output, begun, design, begun.may_change())
    _require_whole(saved)
    read_metrics(output)
    if finished and design.train.goes_beyond(begun.train):
        if not saved:
            raise LensError(
                f"{output} holds a finished training without checkpoints, which cannot go on: give "
                "train.checkpoint_every from the start, or choose another folder"
            )
        (output / TRAINING_FILE).unlink(missing_ok=True)
    return str(earlier["mlflow_run"])


def _require_whole(checkpoints: Sequence[Path]) -> None:
    """Raise if there are checkpoints, and none of them can be resumed from."""
    from lens_core.training.checkpoint import damage

    found = [damage(checkpoint) for checkpoint in checkpoints]
    if checkpoints and None not in found:
        raise LensError(
            f"no checkpoint in {checkpoints[-1].parent} is whole ({checkpoints[-1].name}: {found[-1]}): restore one, "
            "remove them to begin again, or choose another folder"
        )


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
