"""One trial of a sweep: a training that tells Ray Tune its Pass@k on held-out problems as it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lens_core.config import RunConfig
from lens_core.data.prepare import TRAIN_FILE, VALIDATION_FILE, read_problems
from lens_core.data.problem import Problem
from lens_core.evaluation.evaluate import evaluate_engine
from lens_core.passk import mean_pass_at_k
from lens_core.rollout.engine import TransformersEngine
from lens_core.training.checkpoint import last_checkpoint
from lens_core.training.metrics_file import read_metrics
from lens_core.training.run import train_policy

POLICY = "policy"
"""Folder of the trained policy, in the trial's own."""


def run_trial(config: RunConfig, values: dict[str, Any], data: Path, base: Path) -> None:
    """Train with `values` in place of the configuration's, in the folder that Tune has given the trial.

    Reports `{"pass_at_k", "step", "tokens", "reward", "ended"}` every `sweep.validate_every` steps, and after the last.
    """
    from ray import tune

    assert config.sweep is not None
    tuned = config.with_values(values)
    folder = Path(tune.get_context().get_trial_dir()) / POLICY
    train_policy(
        read_problems(data / TRAIN_FILE),
        base,
        tuned.train_for(config.sweep.method),
        tuned.methods[config.sweep.method],
        folder,
        lambda step, metrics: None,
        resume_from=last_checkpoint(folder),
        callbacks=[Validation(tuned, read_problems(data / VALIDATION_FILE), folder)],
    )


class Validation(TrainerCallback):
    """Measures Pass@k on held-out problems every so many steps, with the same draws every time and for every trial."""

    def __init__(self, config: RunConfig, problems: list[Problem], folder: Path) -> None:
        assert config.sweep is not None
        self._evaluation = config.evaluation
        self._k, self._every = config.sweep.k, config.sweep.validate_every
        self._problems = problems
        self._folder = folder

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Right after the metrics of the step have been written, so that its tokens are known."""
        ended = control.should_training_stop or state.global_step >= state.max_steps
        step_was_logged = bool(state.log_history) and "reward" in state.log_history[-1]
        if step_was_logged and (ended or state.global_step % self._every == 0):
            self._report(state.global_step, ended, **kwargs)

    def _report(self, step: int, ended: bool, model: Any, processing_class: Any, **_: Any) -> None:
        from ray import tune

        was_training = model.training
        engine = TransformersEngine(model, processing_class)
        counts = [result.counts for result in evaluate_engine(self._problems, engine, self._evaluation, _ignore)]
        model.train(was_training)
        last = read_metrics(self._folder)[-1]
        tune.report(
            {
                "pass_at_k": mean_pass_at_k(counts, self._k, resamples=1).estimate,
                "step": step,
                "tokens": last["lens/tokens/generated"],
                "reward": last["reward"],
                "ended": float(ended),
            }
        )


def _ignore(done: int) -> None:
    """Nobody watches the single problems of a validation."""
