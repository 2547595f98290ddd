"""Register a policy as the champion of its kind, if it is better than the one before.

Better means that the paired interval of their Pass@k difference, problem by problem, lies above 0, over
`FEWEST_PROBLEMS` or more of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lens_core.config import SHIPPED_BASE, RunConfig, checked_name
from lens_core.errors import LensError
from lens_core.evaluation.by_problem import Counts, Gate, gate
from lens_core.evaluation.files import ROLLOUTS_FILE
from lens_core.evaluation.passk import FEWEST_PROBLEMS
from lens_core.evaluation.records import PassKReport, read_report, read_results
from lens_core.files import read_json, write_json, write_text
from lens_core.folders import REGISTRATION, claimed
from lens_core.progress import Listener, Progress, ignore
from lens_core.report.model_card import model_card
from lens_core.stages.evaluation import made_by, passk_metrics
from lens_core.stages.folder import TRAINING_FILE
from lens_core.stages.tracked import CONFIG_TAG, tracked
from lens_core.tracking import (
    MODEL_CARD_FILE,
    Champion,
    StageRun,
    Tracking,
    Weights,
    champion_of,
    end_parent,
    log_counts,
    origin_of,
    parent_run,
    policy_files,
    register_champion,
    use_policy,
)

REGISTRATION_FILE = "registration.json"
_DATA_TAG = "data.train.sha256"


def register(
    config: RunConfig,
    policy: Path,
    evaluation: Path,
    output: Path,
    tracking: Tracking,
    name: str | None = None,
    weights: Weights = "reference",
    k: int | None = None,
    licence: str | None = None,
    against: Path | None = None,
) -> dict[str, Any]:
    """Register `policy` if it passes the gate; write the model card and `registration.json`, and return the latter.

    Args:
        evaluation: folder that `lens evaluate` wrote for `policy`.
        name: of the registered model; None: `lens-` and the configuration's name.
        weights: `reference` notes where they lie, `upload` copies them into MLflow's artifact store.
        k: the gate compares Pass@k; None: the first of the evaluation's.
        licence: of the policy, as an SPDX identifier; None: Apache-2.0 for the shipped base, else left to say.
        against: the champion's evaluation folder; None: what was kept as it was registered.

    Raises:
        LensError: if `name` is none, a folder is no policy or no evaluation, champion and candidate cannot be
            compared, or `output` is not ours (lens_core.folders).
    """
    registered = checked_name(f"lens-{config.name}" if name is None else name, "the registered model")
    report = read_report(evaluation)
    if not (policy / "config.json").exists():
        raise LensError(f"{policy} holds no policy in Hugging Face format: config.json is missing")
    if licence is None and config.base == SHIPPED_BASE:
        licence = "apache-2.0"
    counts = read_counts(evaluation)
    with claimed(output, REGISTRATION), tracked(tracking, f"register {report.model}", config, report.model) as run:
        assert run is not None
        champion = champion_of(run, registered) if against is None else _evaluated(against)
        passed = None if champion is None else _compare(champion, report, counts, k, registered)
        trained = origin_of(run, made_by(policy))
        facts = _facts(config, report, passed, trained)
        card = model_card(registered, report, policy, weights, licence, facts)
        found: dict[str, Any] = {"model": registered, "version": None, "gate": None}
        if passed is not None:
            found["gate"] = {**asdict(passed), "passed": passed.passed}
        run.params({"registered_model": registered, "weights": weights, "gate.k": report.ks[0] if k is None else k})
        if passed is not None:
            run.metrics(passk_metrics({passed.k: passed.difference}, "gain/"))
        if passed is None or passed.passed:
            found["version"] = _promote(run, registered, config, report, counts, policy, card, weights)
        run.tags({"lens.promoted": str(found["version"] is not None).lower()})
        found["text"] = _verdict(registered, found["version"], passed)
        write_text(output / MODEL_CARD_FILE, card)
        write_json(output / REGISTRATION_FILE, found)
    return found


def register_best(
    config: RunConfig,
    policies: Sequence[Path],
    evaluations: Sequence[Path],
    output: Path,
    tracking: Tracking | None,
    name: str,
    weights: Weights = "reference",
    on_progress: Listener = ignore,
) -> dict[str, Any]:
    """`register` the one of several trained policies whose evaluation has the highest Pass@k, for the first k.

    It was chosen on the problems that it is then compared on: the more policies, the more the interval flatters it.

    Raises:
        LensError: as `register` does, if no evaluation could grade anything, or without MLflow.
    """
    if tracking is None:
        raise LensError(f"{name} cannot be registered without MLflow: give --tracking-uri, or no name to register")
    on_progress(Progress("register", 0, 1, ""))
    trained = {read_json(policy / TRAINING_FILE, "method")["method"]: policy for policy in policies}
    reports = [(read_report(evaluation), evaluation) for evaluation in evaluations]
    graded = [(report, evaluation) for report, evaluation in reports if report.ks[0] in report.overall]
    if not graded:
        raise LensError(f"nothing of {', '.join(trained)} was graded, so that none can be registered")
    best, evaluation = max(graded, key=lambda each: each[0].overall[each[0].ks[0]].estimate)
    champion = champion_of(parent_run(tracking), name)
    if champion is None or champion.data_digest == best.data_digest:
        found = register(config, trained[best.model], evaluation, output, tracking, name, weights)
    else:
        found = _held_back(name, output)
    end_parent(tracking, "FINISHED")  # on a cluster nobody else does
    on_progress(Progress("register", 1, 1, f"{best.model}: {found['text']}"))
    return found


def _held_back(name: str, output: Path) -> dict[str, Any]:
    """A pipeline has more to show than a registration, and does not fail for want of one."""
    text = f"not registered, for {name}'s champion was evaluated on other problems: `lens register --against` compares"
    found = {"model": name, "version": None, "gate": None, "text": text}
    with claimed(output, REGISTRATION):
        write_text(output / MODEL_CARD_FILE, f"{text}.\n")
        write_json(output / REGISTRATION_FILE, found)
    return found


def read_counts(evaluation: Path) -> dict[str, tuple[int, int]]:
    """Problem -> (graded answers, right ones), of an evaluation folder."""
    return {result.problem: result.counts for result in read_results(evaluation / ROLLOUTS_FILE)}


def _promote(
    run: StageRun,
    registered: str,
    config: RunConfig,
    report: PassKReport,
    counts: Counts,
    policy: Path,
    card: str,
    weights: Weights,
) -> str:
    model = use_policy(run, f"{config.name}-{report.model}", policy, made_by(policy))
    run.metrics(passk_metrics(report.overall), model=model)
    log_counts(run, report.data_digest, counts)
    reached = {f"pass_at_{k}": f"{100 * each.estimate:.1f} %" for k, each in report.overall.items()}
    tags: Mapping[str, str] = {"method": report.model, "base": config.base, "data": report.data_digest, **reached}
    return register_champion(run, registered, model, policy, card, weights, tags)


def _compare(champion: Champion, report: PassKReport, counts: Counts, k: int | None, registered: str) -> Gate:
    if champion.data_digest != report.data_digest:
        raise LensError(
            f"{registered}'s champion was evaluated on other problems (SHA-256 {champion.data_digest[:12]}, now "
            f"{report.data_digest[:12]}): evaluate it on these and give that folder as --against, or choose another "
            "--name"
        )
    try:
        return gate(champion.counts, counts, report.ks[0] if k is None else k)
    except ValueError as error:
        raise LensError(f"{registered}'s champion and {report.model}: {error}") from error


def policy_bytes(policy: Path) -> int:
    """Size of what `weights="upload"` would copy."""
    return sum(file.stat().st_size for file in policy_files(policy))


def _verdict(registered: str, version: str | None, passed: Gate | None) -> str:
    if passed is None:
        return f"{registered}, version {version}, is the champion: the first of its name"
    if version is None:
        few = f"it rests on fewer than {FEWEST_PROBLEMS} problems"
        why = few if passed.difference.few else "the interval does not lie above 0"
        return f"not registered, for {why}: {_gain(passed)}"
    return f"{registered}, version {version}, is the champion: {_gain(passed)}"


def _gain(passed: Gate) -> str:
    of = passed.difference
    low, mean, high = (f"{100 * each:+.1f}" for each in (of.low, of.estimate, of.high))
    return (
        f"Pass@{passed.k} {mean} [{low}, {high}] points against the champion before, paired over {of.problems} problems"
    )


def _facts(config: RunConfig, report: PassKReport, passed: Gate | None, trained: Mapping[str, str]) -> dict[str, str]:
    """For the card. What the training's run says of itself, its tags, counts more than the configuration given now."""
    method = config.methods.get(report.model)
    sources = "; ".join(" ".join(filter(None, [source.kind, source.path])) for source in config.data.train)
    parameters = "" if method is None else ", ".join(f"{key} {value}" for key, value in method.parameters.items())
    return {
        "base": trained.get("lens.model", config.base),
        "config": f"{config.name}, SHA-256 {trained.get(CONFIG_TAG, config.digest())}",
        "method": report.model + (f" ({method.objective}; {parameters})" if method is not None and parameters else ""),
        "data": sources + (f", SHA-256 {trained[_DATA_TAG]}" if _DATA_TAG in trained else ""),
        "gain": "The first of its name: there was no champion to beat." if passed is None else f"{_gain(passed)}.",
    }


def _evaluated(evaluation: Path) -> Champion:
    report = read_report(evaluation)
    return Champion(str(evaluation), report.data_digest, read_counts(evaluation))
