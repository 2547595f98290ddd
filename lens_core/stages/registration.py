"""Register a policy as the champion of its kind, if it is better than the one before; the first, than its base.

Better is what `lens compare` would call better: see `lens_core.evaluation.verdict`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lens_core.config import SHIPPED_BASE, RunConfig, checked_name, parse
from lens_core.errors import LensError
from lens_core.evaluation.by_problem import Counts, Gate, gate
from lens_core.evaluation.files import ROLLOUTS_FILE
from lens_core.evaluation.folder import read_design
from lens_core.evaluation.records import PassKReport, read_report, read_results
from lens_core.evaluation.verdict import worded
from lens_core.files import read_json, write_json, write_text
from lens_core.folders import REGISTRATION, claimed
from lens_core.progress import Listener, Progress, ignore
from lens_core.report.model_card import model_card
from lens_core.rollout.fingerprint import identity, is_known_by_content
from lens_core.stages.evaluation import made_by, passk_metrics
from lens_core.stages.folder import RUN_FILE, TRAINING_FILE, TrainingDesign, saved_config
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
        licence: of the policy, as an SPDX identifier; None: Apache-2.0 if it was trained from the shipped base, else
            left to say.
        against: evaluation folder of the policy to beat; None: what was kept as the champion was registered. The first
            of its name needs it: its base's.

    Raises:
        LensError: if `name` is none, a folder is no policy or no evaluation, the evaluation is another policy's, there
            is nothing to beat, the two cannot be compared, or `output` is not ours (lens_core.folders).
    """
    registered = checked_name(f"lens-{config.name}" if name is None else name, "the registered model")
    report = read_report(evaluation)
    if not (policy / "config.json").exists():
        raise LensError(f"{policy} holds no policy in Hugging Face format: config.json is missing")
    _require_its_own(policy, evaluation)
    origin = _Origin.of(policy)
    if licence is None and origin.base == SHIPPED_BASE:
        licence = "apache-2.0"
    counts = read_counts(evaluation)
    champion = champion_of(parent_run(tracking), registered) if against is None else _evaluated(against)
    if champion is None:
        raise LensError(
            f"{registered} has no champion yet, and the first has to beat its base: give the evaluation of "
            f"{origin.base or 'the policy that it was trained from'} on the same problems as --against"
        )
    passed = _compare(champion, report, counts, k, registered)
    beaten = passed.finding(
        f"{registered} version {champion.version}" if against is None else champion.version, report.model
    )
    (said,) = worded([beaten])
    with claimed(output, REGISTRATION), tracked(tracking, f"register {report.model}", config, report.model) as run:
        assert run is not None
        facts = origin.facts(origin_of(run, made_by(policy))) | {"gain": said}
        card = model_card(registered, report, policy, weights, licence, facts)
        found: dict[str, Any] = {"model": registered, "version": None}
        found["gate"] = {**asdict(passed), "passed": passed.passed}
        run.params({"registered_model": registered, "weights": weights, "gate.k": passed.k})
        run.metrics(passk_metrics({passed.k: passed.difference}, "gain/"))
        if passed.passed:
            found["version"] = _promote(run, registered, config, origin, report, counts, policy, card, weights)
        run.tags({"lens.promoted": str(passed.passed).lower()})
        champions = f"{registered}, version {found['version']}, is the champion"
        found["text"] = f"{champions if passed.passed else 'Not registered'}. {said}"
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
    base_evaluation: Path | None = None,
) -> dict[str, Any]:
    """`register` the one of several trained policies whose evaluation has the highest Pass@k, for the first k.

    Args:
        base_evaluation: of the policy that all were trained from, which the first champion has to beat.

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
    if champion is None and base_evaluation is None:
        found = _held_back(name, output, f"{name} has no champion yet, and no evaluation of the base to beat was given")
    elif champion is not None and champion.data_digest != best.data_digest:
        found = _held_back(
            name, output, f"{name}'s champion was evaluated on other problems: `lens register --against` compares"
        )
    else:
        against = base_evaluation if champion is None else None
        found = register(config, trained[best.model], evaluation, output, tracking, name, weights, against=against)
    end_parent(tracking, "FINISHED")  # on a cluster nobody else does
    on_progress(Progress("register", 1, 1, f"{best.model}: {found['text']}"))
    return found


def _held_back(name: str, output: Path, why: str) -> dict[str, Any]:
    """A pipeline has more to show than a registration, and does not fail for want of one."""
    text = f"Not registered: {why}"
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
    origin: _Origin,
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
    tags: Mapping[str, str] = {
        "method": origin.method or report.model,
        "base": origin.base or "not known",
        "data": report.data_digest,
        **reached,
    }
    return register_champion(run, registered, model, policy, card, weights, tags)


def _compare(champion: Champion, report: PassKReport, counts: Counts, k: int | None, registered: str) -> Gate:
    if champion.data_digest != report.data_digest:
        raise LensError(
            f"{registered}'s champion was evaluated on other problems (SHA-256 {champion.data_digest[:12]}, now "
            f"{report.data_digest[:12]}): evaluate it on these, and give that folder as --against, or choose another "
            "--name"
        )
    try:
        return gate(champion.counts, counts, report.ks[0] if k is None else k)
    except ValueError as error:
        raise LensError(f"{registered}'s champion and {report.model}: {error}") from error


def policy_bytes(policy: Path) -> int:
    """Size of what `weights="upload"` would copy."""
    return sum(file.stat().st_size for file in policy_files(policy))


@dataclass(frozen=True)
class _Origin:
    """What a policy's own folder says of it; None and empty where it says nothing."""

    config: RunConfig | None = None
    method: str | None = None
    """Its name."""
    design: TrainingDesign | None = None

    @classmethod
    def of(cls, policy: Path) -> _Origin:
        path = policy / RUN_FILE
        if not path.exists():
            return cls()
        held = read_json(path, "design")
        trained = policy / TRAINING_FILE
        method = read_json(trained, "method")["method"] if trained.exists() else None
        return cls(saved_config(policy), method, parse(TrainingDesign, held["design"], str(path)))

    @property
    def base(self) -> str | None:
        return None if self.design is None else self.design.base

    def facts(self, tags: Mapping[str, str]) -> dict[str, str]:
        """For the card.

        Args:
            tags: of the run that trained the policy, where the tracking store has it.
        """
        unknown = "not known: the folder holds no training of lens-grpo"
        if self.design is None:
            return dict.fromkeys(("base", "config", "method", "data"), unknown)
        parameters = ", ".join(f"{key} {value}" for key, value in self.design.method.parameters.items())
        objective = self.design.method.objective + (f"; {parameters}" if parameters else "")
        sources = () if self.config is None else self.config.data.train
        described = "; ".join(" ".join(filter(None, [source.kind, source.path])) for source in sources)
        digest = tags.get(CONFIG_TAG, "" if self.config is None else self.config.digest())
        config = None if self.config is None else f"{self.config.name}, SHA-256 {digest}"
        return {
            "base": self.design.base,
            "config": config or (f"SHA-256 {digest}" if digest else "not kept by the release that trained it"),
            "method": objective if self.method is None else f"{self.method} ({objective})",
            "data": ", ".join(filter(None, [described, f"SHA-256 {self.design.data_sha256}"])),
        }


def _require_its_own(policy: Path, evaluation: Path) -> None:
    """Refuse an evaluation of another policy."""
    design = read_design(evaluation)
    if design.model_identity != identity(policy) and is_known_by_content(policy):
        raise LensError(
            f"{evaluation} is the evaluation of another policy ({design.model}), whose files differ from those of "
            f"{policy}: run `lens evaluate {policy}` on the same problems, and give that folder"
        )


def _evaluated(evaluation: Path) -> Champion:
    report = read_report(evaluation)
    return Champion(report.model, report.data_digest, read_counts(evaluation))
