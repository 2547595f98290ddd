"""Ray Tune: a search over values of a configuration."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

from lens_core.config import RunConfig, SweepConfig
from lens_core.distributed.ray_cluster import ray_cluster
from lens_core.distributed.trials import ERROR_FILE, TRIALS_FOLDER, TUNE_FOLDER, OnTrial, Trial
from lens_core.signals import kept

_REPORTED = ("pass_at_k", "step", "tokens", "reward")


_on_trial: ContextVar[OnTrial] = ContextVar("on_trial")
# Tune pickles its callbacks with its state, and what listens holds a terminal and connections.


def search(config: RunConfig, data: Path, base: Path, output: Path, on_trial: OnTrial) -> None:
    """Run the trials that `output` lacks; one that was interrupted goes on from its last checkpoint.

    Raises:
        LensError: if no cluster is reached.
    """
    sweep = config.required_sweep()
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # Tune's own tables, at whatever verbosity
    # Tune would take Ctrl-C for the end of the search, which would pass for a whole one, and keep the handler.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    with ray_cluster():
        from ray import tune

        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # errors of trials are told by us, on a line each
        trials = output.absolute() / TRIALS_FOLDER

        def trial(values: dict[str, Any]) -> None:
            from lens_core.distributed.trial_worker import run_trial

            run_trial(config, values, data, base, trials)

        trainable = tune.with_resources(trial, {"cpu": sweep.cpus_per_trial, "gpu": sweep.gpus_per_trial})
        folder = output.absolute() / TUNE_FOLDER
        if tune.Tuner.can_restore(str(folder)):
            tuner = tune.Tuner.restore(str(folder), trainable, resume_unfinished=True, resume_errored=False)
        else:
            tuner = tune.Tuner(
                trainable,
                param_space=_space(sweep),
                tune_config=tune.TuneConfig(
                    metric="pass_at_k",
                    mode="max",
                    num_samples=1 if sweep.search == "grid" else sweep.trials,
                    search_alg=_searcher(sweep),
                    scheduler=_scheduler(config),
                    max_concurrent_trials=_concurrent(sweep),
                    reuse_actors=True,  # the next trial of a process imports nothing
                ),
                run_config=tune.RunConfig(
                    name=folder.name,
                    storage_path=str(folder.parent),
                    verbose=0,
                    callbacks=[_listener(trials)],
                    # PBT would have a trial that has ended go on from another's checkpoint.
                    stop={"ended": 1.0} if sweep.scheduler == "pbt" else None,
                ),
            )
        token = _on_trial.set(on_trial)
        try:
            with kept([signal.SIGUSR1]):  # Tune puts a handler of its own in its place
                tuner.fit()
        finally:
            _on_trial.reset(token)


def _concurrent(sweep: SweepConfig) -> int | None:
    """Trials side by side: a search that ran ahead of them would learn nothing from their results."""
    import ray

    if sweep.concurrent is not None:
        return sweep.concurrent
    if sweep.scheduler == "pbt":  # a population is there as a whole, and takes turns
        return None

    return max(1, int(ray.cluster_resources().get("CPU", 1) // sweep.cpus_per_trial))


def pass_on(trial: Trial) -> None:
    """To whoever called `search`."""
    _on_trial.get()(trial)


def _listener(trials_folder: Path) -> Any:
    from ray import tune

    class Listener(tune.Callback):
        """Passes on what Tune sees, in our own words."""

        def __init__(self) -> None:
            self._histories: dict[str, tuple[Mapping[str, float], ...]] = {}

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            self._tell(trial, "running")

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
        ) -> None:
            report = {key: float(result[key]) for key in _REPORTED}
            # A trial that was interrupted reports again what it had.
            earlier = [each for each in self._histories.get(trial.trial_id, ()) if each["step"] < report["step"]]
            self._histories[trial.trial_id] = (*earlier, report)
            self._tell(trial, "running")

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            ended = trial.last_result is not None and trial.last_result.get("ended") == 1.0
            self._tell(trial, "finished" if ended else "pruned")

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            self._tell(trial, "failed")

        def _tell(self, trial: Any, status: Literal["running", "finished", "pruned", "failed"]) -> None:
            history = self._histories.get(trial.trial_id, ())
            folder = trials_folder / trial.trial_id
            error = _cause(folder) if status == "failed" else None
            pass_on(Trial(trial.trial_id, dict(trial.config), status, history, str(folder), error))

        def get_state(self) -> dict[str, Any]:
            return dict(self._histories)

        def set_state(self, state: dict[str, Any]) -> None:
            self._histories = dict(state)

    return Listener()


def _cause(folder: Path) -> str:
    """What the trial has written of its error."""
    path = folder / ERROR_FILE
    return path.read_text(encoding="utf-8").strip() if path.exists() else "its process died"


def _space(sweep: SweepConfig) -> dict[str, Any]:
    from ray import tune

    space: dict[str, Any] = {}
    for path, distribution in sweep.space.items():
        name, values = next(iter(distribution.items()))
        if sweep.search == "grid" or name == "grid_search":
            space[path] = tune.grid_search(values)
        else:
            space[path] = tune.choice(values) if name == "choice" else getattr(tune, name)(*values)
    return space


def _searcher(sweep: SweepConfig) -> Any:
    if sweep.search == "optuna":
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return OptunaSearch(seed=sweep.seed)
    from ray.tune.search.basic_variant import BasicVariantGenerator

    return BasicVariantGenerator(random_state=sweep.seed)


def _scheduler(config: RunConfig) -> Any:
    """What stops trials, after an eighth of their budget at the earliest: in tokens where it is, else in steps."""
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule

    sweep = config.required_sweep()
    train = config.train_for(sweep.method)
    unit, budget = ("step", train.steps) if train.max_tokens is None else ("tokens", train.max_tokens)
    first = max(1, budget // 8)
    if sweep.scheduler == "asha":
        # Milestones are 1/8 and 3/8; beyond the budget a trial ends by itself, which tells it from a pruned one.
        return ASHAScheduler(time_attr=unit, max_t=2 * budget, grace_period=first, reduction_factor=3)
    if sweep.scheduler == "median":
        return MedianStoppingRule(time_attr=unit, grace_period=first)
    if sweep.scheduler == "pbt":
        return _population(sweep)
    return FIFOScheduler()


def _population(sweep: SweepConfig) -> Any:
    """Population-based training, with values that stay within their distributions."""
    from ray.tune.schedulers import PopulationBasedTraining

    bounds = {path: values for path, values in map(_range, sweep.space.items()) if values is not None}

    def explore(values: dict[str, Any]) -> dict[str, Any]:
        """Ray multiplies by 0.8 or 1.2, whatever comes out."""
        for path, (low, high, whole) in bounds.items():
            inside = min(max(values[path], low), high)
            values[path] = round(inside) if whole else inside
        return values

    lists = {path: each["choice"] for path, each in sweep.space.items() if "choice" in each}
    return PopulationBasedTraining(
        time_attr="step",
        perturbation_interval=sweep.validate_every,
        hyperparam_mutations={**_space(sweep), **lists},
        custom_explore_fn=explore,
    )


def _range(item: tuple[str, dict[str, list[Any]]]) -> tuple[str, tuple[float, float, bool] | None]:
    """Lowest and highest value of a distribution, and whether they are whole numbers; None for a list."""
    path, distribution = item
    name, values = next(iter(distribution.items()))
    if name == "choice":
        return path, None
    whole = "randint" in name
    return path, (values[0], values[1] - whole, whole)
