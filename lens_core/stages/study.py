"""A study: every method of a configuration with every seed, on the same base, data and budget, and what they say
together.

A training with its evaluation is a cell. Cells are Ray tasks; what a cell gives is its files, so that a study that was
stopped goes on with the cells that are missing.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lens_core.config import Method, RunConfig
from lens_core.data.summary import SUMMARY_FILE
from lens_core.distributed.tasks import run_tasks
from lens_core.errors import LensError
from lens_core.evaluation.by_seed import mean_over_seeds, paired_differences, tokens_to_reach
from lens_core.evaluation.files import PASSK_FILE
from lens_core.evaluation.records import PassKReport, read_report
from lens_core.files import write_json, write_text
from lens_core.folders import STUDY, claimed
from lens_core.progress import Listener, Progress, ignore
from lens_core.report.study import render_study
from lens_core.stages.evaluation import evaluate
from lens_core.stages.folder import REPORT_FILE, claim
from lens_core.stages.preparation import base as base_policy
from lens_core.stages.preparation import prepare
from lens_core.stages.training import train
from lens_core.tracking import Tracking, parent_run
from lens_core.training.metrics_file import read_finished_metrics, rollout_steps

STUDY_FILE = "study.json"
_POLICY, _EVALUATION, _ERROR = "policy", "evaluation", "error.txt"
_CHANGEABLE = ("study.seeds", "study.cpus_per_training", "study.gpus_per_training", "sweep")
"""What a study that goes on may have other values of: further seeds are further cells."""
_LAST_STEPS = 10
"""The reference's mean reward over so many last batches of rollouts is what others are to reach with fewer tokens."""


def study(
    config: RunConfig, output: Path, tracking: Tracking | None = None, on_progress: Listener = ignore
) -> dict[str, Any]:
    """Train and evaluate what `output` lacks of the study, write `study.json`, and return what it says (see `results`).

    A cell that fails is recorded in its folder and tried again by the next call; the others go on.

    Raises:
        LensError: if the configuration has no `study` section, `output` is not ours (lens_core.folders) or holds
            another study, or every cell failed.
    """
    if config.study is None:
        raise LensError(f"{config.name} has no `study` section: add `study: {{seeds: [0, 1, 2]}}`")
    with claimed(output, STUDY):
        return _study(config, output, tracking, on_progress)


def _study(config: RunConfig, output: Path, tracking: Tracking | None, on_progress: Listener) -> dict[str, Any]:
    assert config.study is not None
    claim(config, output, _CHANGEABLE)
    if tracking is not None:
        parent_run(tracking)  # makes the store; cells that start together would each do so
    if not (output / "data" / SUMMARY_FILE).exists():
        prepare(config, output / "data")
    base_policy(config, output / "base")
    cells = {f"{method}-s{seed}": (method, seed) for seed in config.study.seeds for method in config.methods}
    missing = {name: cell for name, cell in cells.items() if not _evaluated(output, name)}
    done, failed = len(cells) - len(missing), {}
    on_progress(Progress("study", done, len(cells), f"{done} of {len(cells)} trainings were there"))
    tasks = {
        name: (config.over_seeds(method, [seed]), name, output.absolute(), tracking)
        for name, (method, seed) in missing.items()
    }
    for name, error in run_tasks(run_cell, tasks, config.study.cpus_per_training, config.study.gpus_per_training):
        done += 1
        if error is not None:
            failed[name] = error
            (output / "cells" / name).mkdir(parents=True, exist_ok=True)
            write_text(output / "cells" / name / _ERROR, error + "\n")
        on_progress(Progress("study", done, len(cells), f"{name}: {error or _describe(output, name)}"))
    if len(failed) == len(cells):
        raise LensError(f"every training of the study failed; {next(iter(failed))}: {next(iter(failed.values()))}")
    found = results(config, output)
    found["failed"] = failed
    write_json(output / STUDY_FILE, found)
    render_study(found, _histories(config, output), _facts(config), output / REPORT_FILE)
    if tracking is not None:
        parent = parent_run(tracking)
        for name in (STUDY_FILE, REPORT_FILE):
            parent.artifact(output / name)
        parent.artifact(output / "plots", "plots")
    return found


def run_cell(config: RunConfig, name: str, output: Path, tracking: Tracking | None) -> None:
    """Train and evaluate the one method of `config`, in a process of its own; files that are there are kept."""
    folder = output / "cells" / name
    (folder / _ERROR).unlink(missing_ok=True)
    train(config, name, output / "data", output / "base", folder / _POLICY, tracking, resume=True)
    evaluate(config, name, output / "data", folder / _POLICY, folder / _EVALUATION, tracking)


def results(config: RunConfig, output: Path) -> dict[str, Any]:
    """What the finished cells in `output` say, all shares in [0, 1]; see docs/formats.md for the keys."""
    assert config.study is not None
    reference = config.study.reference
    reports = {
        method: {
            seed: read_report(_evaluation(output, f"{method}-s{seed}"))
            for seed in config.study.seeds
            if _evaluated(output, f"{method}-s{seed}")
        }
        for method in config.methods
    }
    ks = config.evaluation.ks
    levels = sorted({level for of in reports.values() for report in of.values() for level in report.levels})
    histories = {
        method: {seed: rollout_steps(steps) for seed, steps in of.items()}
        for method, of in _histories(config, output).items()
    }
    overall = {k: {method: _values(of, k) for method, of in reports.items()} for k in ks}
    by_level = {level: {method: _values(of, ks[0], level) for method, of in reports.items()} for level in levels}
    target = _mean([step["reward"] for steps in histories[reference].values() for step in steps[-_LAST_STEPS:]])
    return {
        "name": config.name,
        "reference": reference,
        "seeds": list(config.study.seeds),
        "problems": next((r.problems for of in reports.values() for r in of.values()), 0),
        "pass_at_k": {str(k): _summary(values, reference) for k, values in overall.items()},
        "levels": {str(level): _summary(values, reference) for level, values in by_level.items()},
        "tokens": {
            method: {
                "generated": _mean([steps[-1]["lens/tokens/generated"] for steps in of.values()]),
                "to_reach": _median(needed := _tokens(of, target)),
                "reached_by": sum(map(math.isfinite, needed)),
                "in_negative_groups": _mean(
                    [step["lens/tokens/in_negative_groups"] for steps in of.values() for step in steps]
                ),
            }
            for method, of in histories.items()
            if of
        },
        "token_target": target,
        "sensitivity": sensitivity(config.methods),
    }


def sensitivity(methods: Mapping[str, Method]) -> dict[str, dict[str, float]]:
    """parameter -> method -> its value, where methods differ in that parameter of the objective and in nothing else."""
    settings = {
        name: {"objective": method.objective, "train": method.train, **method.resolved}
        for name, method in methods.items()
    }
    found = {}
    for parameter in sorted({key for of in settings.values() for key in of}):
        alike: dict[str, dict[str, float]] = {}
        for name, of in settings.items():
            value = of.get(parameter)
            if isinstance(value, int | float) and not isinstance(value, bool):
                others = json.dumps({key: of[key] for key in sorted(of) if key != parameter}, default=str)
                alike.setdefault(others, {})[name] = float(value)
        largest = max(alike.values(), key=len, default={})
        if len(set(largest.values())) > 1:
            found[parameter] = largest
    return found


def _histories(config: RunConfig, output: Path) -> dict[str, dict[int, list[dict[str, float]]]]:
    """method -> seed -> the steps of its training, of the cells that are finished."""
    assert config.study is not None
    return {
        method: {
            seed: read_finished_metrics(output / "cells" / f"{method}-s{seed}" / _POLICY)
            for seed in config.study.seeds
            if _evaluated(output, f"{method}-s{seed}")
        }
        for method in config.methods
    }


def _facts(config: RunConfig) -> dict[str, str]:
    assert config.study is not None
    train, evaluation = config.train, config.evaluation
    budget = f"{train.steps} steps" if train.max_tokens is None else f"{train.max_tokens:,} completion tokens"
    return {
        "Base policy": config.base,
        "Seeds": ", ".join(map(str, config.study.seeds)),
        "Budget of a training": f"{budget}, {train.prompts_per_step} prompts x {train.group_size} answers a step",
        "Evaluation": f"{evaluation.n} answers to each problem, temperature {evaluation.temperature:g}, seed "
        f"{evaluation.seed} for all",
        "Configuration": f"{config.name}, SHA-256 {config.digest()[:12]}",
    } | {f"Method {name}": _in_words(method) for name, method in config.methods.items()}


def _in_words(method: Method) -> str:
    """`lens, alpha 4`"""
    changed = {**method.parameters, **{f"train.{key}": value for key, value in method.train.items()}}
    return ", ".join([method.objective, *(f"{key} {value}" for key, value in changed.items())])


def _evaluation(output: Path, name: str) -> Path:
    return output / "cells" / name / _EVALUATION


def _evaluated(output: Path, name: str) -> bool:
    """Whether the cell has a result; one that is damaged is summed up again from the answers."""
    if not (_evaluation(output, name) / PASSK_FILE).exists():
        return False
    try:
        read_report(_evaluation(output, name))
    except LensError:
        return False
    return True


def _describe(output: Path, name: str) -> str:
    report = read_report(_evaluation(output, name))
    k = report.ks[0]
    return f"Pass@{k} {100 * report.overall[k].estimate:.1f} %" if k in report.overall else "not graded"


def _values(reports: Mapping[int, PassKReport], k: int, level: int | None = None) -> dict[int, float]:
    """seed -> Pass@k, where there is an estimate."""
    found = {seed: (r.overall if level is None else r.levels.get(level, {})).get(k) for seed, r in reports.items()}
    return {seed: estimate.estimate for seed, estimate in found.items() if estimate is not None}


def _summary(values: Mapping[str, Mapping[int, float]], reference: str) -> dict[str, Any]:
    """method -> its mean, and its difference to the reference."""
    differences = paired_differences(values, reference)
    return {
        method: {"mean": asdict(mean_over_seeds(list(of.values())))}
        | ({"difference": asdict(differences[method])} if method in differences else {})
        for method, of in values.items()
        if of
    }


def _tokens(histories: Mapping[int, list[dict[str, float]]], target: float | None) -> list[float]:
    """What each training needed to come as far as `target`; infinity where it never did."""
    if target is None:
        return []
    found = [tokens_to_reach(steps, target) for steps in histories.values()]
    return [math.inf if tokens is None else tokens for tokens in found]


def _median(needed: list[float]) -> float | None:
    """Over all trainings: those that never arrived are not left out, which would flatter a method that rarely does."""
    median = statistics.median(needed) if needed else math.inf
    return median if math.isfinite(median) else None


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
