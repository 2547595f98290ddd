"""One trial of a sweep: a training that tells Ray Tune its Pass@k on held-out problems as it goes.

Tune writes its own state down every few seconds only. What a trial has reported is therefore in its folder too: one
that had ended, whether Tune knows or not, is not trained again.
"""

from __future__ import annotations

import ctypes
import json
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lens_core.config import RunConfig
from lens_core.credentials import mask_log_records
from lens_core.data.prepare import TRAIN_FILE, VALIDATION_FILE, read_problems
from lens_core.data.problem import Problem
from lens_core.distributed.trials import ERROR_FILE
from lens_core.errors import first_line
from lens_core.evaluation.evaluate import evaluate_engine
from lens_core.evaluation.passk import mean_pass_at_k
from lens_core.files import append_lines, read_json, read_lines, write_json, write_text
from lens_core.rollout.engine import TransformersEngine
from lens_core.training.checkpoint import clear_up, is_readable, last_checkpoint, trained_steps
from lens_core.training.metrics_file import read_metrics, rollout_steps
from lens_core.training.run import train_policy
from lens_core.training.spec import TrainingSpec

POLICY, VALUES_FILE, REPORTS_FILE = "policy", "values.json", "reports.jsonl"


def run_trial(config: RunConfig, values: dict[str, Any], data: Path, base: Path, trials: Path) -> None:
    """Train with `values` in place of the configuration's, in a folder of `trials` that is called after the trial.

    Reports `{"pass_at_k", "step", "tokens", "reward", "ended"}` every `sweep.validate_every` steps, and after the last.
    """
    from ray import tune

    mask_log_records()
    sweep = config.required_sweep()
    trial = trials / tune.get_context().get_trial_id()
    population = sweep.scheduler == "pbt"
    # Of this trial before a pause, or of the one whose place it takes.
    given = tune.get_checkpoint()
    start = None if given is None else Path(given.path)
    earlier = _earlier_reports(trial, values, start)
    ended = bool(earlier) and earlier[-1]["ended"] == 1.0
    for report in earlier if start is None or ended else ():
        tune.report(report)
    if ended:
        return
    try:
        saving = {"train.checkpoint_every": sweep.validate_every} if population else {}
        tuned = config.with_values({**values, **saving})
        training = TrainingSpec(
            read_problems(data / TRAIN_FILE),
            base,
            tuned.train_for(sweep.method),
            tuned.methods[sweep.method],
            trial / POLICY,
            last_checkpoint(trial / POLICY) if start is None else start,
        )
        measured = TrialValidation(tuned, read_problems(data / VALIDATION_FILE), trial)
        train_policy(training, callbacks=[measured, OwnLearningRate()])
        last = _read_reports(trial)[-1]
        if population or not last["ended"]:  # not told yet, or interrupted after its last step
            tune.report({**last, "ended": 1.0})
    except Exception as error:  # Tune tells its callbacks that there was one, and not which
        write_text(trial / ERROR_FILE, f"{type(error).__name__}: {first_line(error)}\n")
        raise


class TrialValidation(TrainerCallback):
    """Measures Pass@k on held-out problems every so many steps, with the same draws every time and for every trial."""

    def __init__(self, config: RunConfig, problems: list[Problem], trial: Path) -> None:
        sweep = config.required_sweep()
        self._evaluation = config.evaluation
        self._k, self._every = sweep.k, sweep.validate_every
        self._with_checkpoint = sweep.scheduler == "pbt"
        self._untold: dict[str, float] | None = None
        self._problems = problems
        self._trial = trial

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Right after the metrics of the step have been written, so that its tokens are known."""
        ended = control.should_training_stop or state.global_step >= state.max_steps
        step_was_logged = bool(state.log_history) and "grad_norm" in state.log_history[-1]  # else the summary
        if step_was_logged and (ended or state.global_step % self._every == 0):
            self._report(state.global_step, ended, **kwargs)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Tell a population's scheduler, which may let another trial go on from this checkpoint."""
        if self._untold is None:
            return
        from ray import tune

        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        report, self._untold = self._untold, None
        tune.report(report, checkpoint=tune.Checkpoint.from_directory(str(folder)) if folder.is_dir() else None)

    def _report(self, step: int, ended: bool, model: Any, processing_class: Any, **_: Any) -> None:
        from ray import tune

        was_training = model.training
        engine = TransformersEngine(model, processing_class)
        batches = evaluate_engine(self._problems, engine, self._evaluation)
        counts = [result.counts for batch in batches for result in batch]
        model.train(was_training)
        last = rollout_steps(read_metrics(self._trial / POLICY))[-1]
        report = {
            "pass_at_k": mean_pass_at_k(counts, self._k).estimate,
            "step": step,
            "tokens": last["lens/tokens/generated"],
            "reward": last["reward"],
            "ended": float(ended),
        }
        append_lines(self._trial / REPORTS_FILE, [json.dumps(report)])
        _give_memory_back()
        if not self._with_checkpoint:
            tune.report(report)
        elif not ended:  # that it has ended is told once its policy is saved
            self._untold = report


def _give_memory_back() -> None:
    """What is free, in pieces too small for the next tables: glibc keeps it, and a process runs many trials.

    After twenty of them on the ladder it held 3.5 GB, of which 2.4 GB were free.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)


class OwnLearningRate(TrainerCallback):
    """The learning rate is the configuration's, also after a checkpoint of a trial that had another one."""

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,
        lr_scheduler: Any = None,
        **_: Any,
    ) -> None:
        lr_scheduler.base_lrs = [args.learning_rate for _ in lr_scheduler.base_lrs]
        for group, factor in zip(optimizer.param_groups, lr_scheduler.lr_lambdas, strict=True):
            group["initial_lr"] = args.learning_rate
            group["lr"] = args.learning_rate * factor(lr_scheduler.last_epoch)


def _earlier_reports(trial: Path, values: dict[str, Any], start: Path | None) -> list[dict[str, float]]:
    """What an interrupted trial with these values had reported, as far as it will not be trained again from `start`, or
    from the last checkpoint in its folder.
    """
    path = trial / VALUES_FILE
    if path.exists() and read_json(path) != values:
        # A trial that Tune had not yet written down, and it chose other values for the next of its id; or one that goes
        # on with another's policy.
        shutil.rmtree(trial)
    trial.mkdir(parents=True, exist_ok=True)
    write_json(path, values)
    (trial / ERROR_FILE).unlink(missing_ok=True)
    earlier = _read_reports(trial)
    clear_up(trial / POLICY)
    checkpoint = last_checkpoint(trial / POLICY) if start is None else start
    reached = 0 if checkpoint is None else trained_steps(checkpoint)
    whole = bool(earlier) and earlier[-1]["ended"] and is_readable(trial / POLICY / "model.safetensors")
    kept = earlier if whole else [report for report in earlier if report["step"] <= reached]
    if not whole and kept and kept[-1]["ended"]:  # its policy is still to be saved
        kept[-1] = {**kept[-1], "ended": 0.0}
    write_text(trial / REPORTS_FILE, "".join(json.dumps(report) + "\n" for report in kept))
    return kept


def _read_reports(trial: Path) -> list[dict[str, float]]:
    """The whole lines of `reports.jsonl`."""
    path = trial / REPORTS_FILE
    return list(read_lines(path, "step", "ended")) if path.exists() else []
