"""The stages of a run as plain functions: configuration and paths in, paths out.

The CLI, a Kubeflow component, a Ray task and a test all call these. A stage writes a summary as its last file, so that
a folder without it is an interrupted stage. Everything that passes between stages is a file (docs/formats.md).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_core.config import SHIPPED_BASE, RunConfig
from lens_core.data.prepare import BAD_ROWS_FILE, REMOVED_FILE, TEST_FILE, TRAIN_FILE, in_either_form, read_problems
from lens_core.data.prepare import VALIDATION_FILE as PROBLEMS_FILE
from lens_core.data.prepare import prepare as prepare_data
from lens_core.data.problem import Problem
from lens_core.data.problem import digest as file_digest
from lens_core.data.summary import SUMMARY_FILE, DataSummary, read_summary
from lens_core.distributed.workers import Workers
from lens_core.errors import LensError, StoppedError
from lens_core.evaluation.files import PASSK_FILE as PASSK_FILE
from lens_core.evaluation.files import ROLLOUTS_FILE as ROLLOUTS_FILE
from lens_core.evaluation.files import VIEWER_FILE as VIEWER_FILE
from lens_core.progress import Listener, Progress, ignore
from lens_core.tracking import (
    AnswerTrace,
    MetricsSender,
    StageRun,
    Tracking,
    end_parent,
    last_step,
    log_policy,
    log_traces,
    parent_run,
    stage_run,
    unfinished_run,
    use_policy,
)

if TYPE_CHECKING:
    from lens_core.data.collect import CountTokens
    from lens_core.distributed.validation import Validation
    from lens_core.evaluation.comparison import Comparison
    from lens_core.evaluation.records import PassKReport, ProblemResult
    from lens_core.training.run import OnStep

BASE = "base"
"""Label of the base policy in tables."""
TRAINING_FILE, REPORT_FILE = "training.json", "report.html"
VALIDATION_FILE = "validation.jsonl"
"""In a training's folder: what its checkpoints reached on held-out problems."""
COMPARISON_FILE, PAIRED_FILE, RUN_FILE, DESIGN_FILE = "comparison.json", "paired.json", "run.json", "design.json"
_SAMPLE_PROBLEMS = 5
CONFIG_TAG, _OUTPUT_TAG = "lens.config_sha256", "lens.output"


def claim(config: RunConfig, output: Path) -> None:
    """Write down which configuration `output` belongs to.

    Raises:
        LensError: if it belongs to another one.
    """
    output.mkdir(parents=True, exist_ok=True)
    path, digest = output / DESIGN_FILE, config.digest()
    if path.exists() and json.loads(path.read_text(encoding="utf-8"))["digest"] != digest:
        raise LensError(f"{output} holds another {config.name}, or one with other values: choose another folder")
    path.write_text(json.dumps({"digest": digest, "config": config.model_dump(mode="json")}, indent=2) + "\n", "utf-8")


def prepare(config: RunConfig, output: Path, tracking: Tracking | None = None, on_progress: Listener = ignore) -> Path:
    """Write the run's problems, `data.json` and `data_card.html` into `output`."""
    from lens_core.report.data_card import CARD_FILE, render_card

    with tracked(tracking, "prepare", config) as run:
        on_progress(Progress("prepare", 0, 100, ""))
        summary = prepare_data(config.data, output, _token_counter(config), on_progress)
        render_card(output, f"Data of {config.name}")
        if run is not None:
            run.metrics({key: value for key, value in summary if isinstance(value, int)})
            run.dataset(in_either_form(output / TRAIN_FILE), summary.train_digest, "train", summary.train)
            run.dataset(in_either_form(output / TEST_FILE), summary.test_digest, "test", summary.test)
            for name in (BAD_ROWS_FILE, REMOVED_FILE, CARD_FILE):
                if (output / name).exists():
                    run.artifact(output / name)
    on_progress(Progress("prepare", 100, 100, _describe_data(summary)))
    return output


def _token_counter(config: RunConfig) -> CountTokens | None:
    """Tokens of a question as the base policy is asked; None where the configuration does not need them."""
    if config.data.max_prompt_tokens is None:
        return None
    from lens_core.rollout.engine import encode_prompt, load_tokenizer

    shipped = resources.files("lens_core.training") / SHIPPED_BASE
    tokenizer = load_tokenizer(str(shipped) if config.base == SHIPPED_BASE else config.base)
    return lambda question: len(encode_prompt(question, tokenizer, config.train.prompt))


def pass_rates(
    config: RunConfig,
    data: Path,
    policy: Path,
    output: Path,
    tracking: Tracking | None = None,
    on_progress: Listener = ignore,
) -> Path:
    """`evaluate` on the training problems: what `data.pass_rate` chooses them by."""
    summary, train = read_summary(data), in_either_form(data / TRAIN_FILE)
    problems = output / "problems"
    problems.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(train, (problems / TEST_FILE).with_suffix(train.suffix))
    turned = summary.model_copy(update={"test": summary.train, "test_digest": summary.train_digest})
    (problems / SUMMARY_FILE).write_text(turned.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return evaluate(config, "pass rates", problems, policy, output, tracking, on_progress)


def base(config: RunConfig, output: Path) -> Path:
    """Put the base policy into `output`: the shipped one, a local folder's, or one from the hub."""
    from lens_core.rollout.engine import load_policy

    if config.base == SHIPPED_BASE:
        with resources.as_file(resources.files("lens_core.training") / SHIPPED_BASE) as folder:
            shutil.copytree(folder, output, dirs_exist_ok=True)
        return output
    model, tokenizer = load_policy(config.base)
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    return output


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
                watch = _Watch(stage, steps, output / VALIDATION_FILE, send, on_progress)
                ray = None if workers is None else _OnRay(workers, _validation(config, data), watch.on_validation)
                (output / STOP_FILE).unlink(missing_ok=True)
                with stop_on_sigterm(output):
                    _train(config, method, problems, base_policy, output, state, watch.on_step, ray)
                if (output / STOP_FILE).exists():
                    raise StoppedError(f"the training in {output} was asked to stop, and did: go on with --resume")
                last = read_metrics(output)[-1]
                spent = round(time.monotonic() - start, 1) if earlier is None else last["elapsed_s"]
                taken = steps if config.train_for(method).max_tokens is None else int(last["step"])
                summary = {"method": method, "steps": taken, "seconds": spent}
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

    def __init__(self, stage: str, steps: int, validations: Path, send: _Send, on_progress: Listener) -> None:
        self._stage, self._steps, self._validations = stage, steps, validations
        self._send, self._on_progress = send, on_progress
        self._validation = ""

    def on_step(self, step: int, metrics: dict[str, float]) -> None:
        self._send.step(step, metrics)
        self._on_progress(Progress(self._stage, step, self._steps, _describe_step(metrics) + self._validation))

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


def evaluate(
    config: RunConfig,
    label: str,
    data: Path,
    policy: str | Path,
    output: Path,
    tracking: Tracking | None = None,
    on_progress: Listener = ignore,
) -> Path:
    """Sample and grade `policy` on the test problems; write `rollouts.jsonl`, `viewer.html` and `passk.json`.

    An evaluation that was interrupted goes on with the problems that `rollouts.jsonl` lacks.

    Args:
        data: a prepared folder, whose test problems are taken, or a file of problems.
        policy: a folder in Hugging Face format, or a name on the hub.

    Raises:
        LensError: if `output` holds the evaluation of another policy or other problems, or with other settings.
    """
    from lens_core.evaluation.evaluate import engine_name, evaluate_policy
    from lens_core.evaluation.folder import Design, append, claim, finished, settings_of
    from lens_core.evaluation.records import summarise
    from lens_core.report.viewer import render_viewer
    from lens_core.rollout.identity import identity

    stage, evaluation = f"evaluate {label}", config.evaluation
    path = data / TEST_FILE if data.is_dir() else data
    problems = read_problems(path)
    sha256 = read_summary(data).test_digest if data.is_dir() else file_digest(path)
    settings = settings_of(evaluation, engine_name(evaluation))
    design = Design(
        model=str(policy), model_identity=identity(policy), data=str(path), data_digest=sha256, settings=settings
    )
    claim(output, design)
    results = finished(output, problems)
    kept = f"{len(results)} problems were there" if results else ""
    with tracked(tracking, stage, config, label, _interrupted(tracking, stage, config, output)) as run:
        if run is not None:
            checkpoint = Path(policy).absolute().as_uri() if Path(policy).is_dir() else str(policy)
            run.tags({"checkpoint": checkpoint, _OUTPUT_TAG: output.absolute().as_uri()})
        on_progress(Progress(stage, len(results), len(problems), kept))
        if len(results) < len(problems):
            for batch in append(output, evaluate_policy(problems, policy, evaluation, len(results))):
                results += batch
                on_progress(Progress(stage, len(results), len(problems), kept))
        report = summarise(label, sha256, results, evaluation.n, evaluation.ks, evaluation.seed)
        render_viewer(report, results, output / VIEWER_FILE)
        (output / PASSK_FILE).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if run is not None:
            local = Path(policy)
            model = use_policy(run, f"{config.name}-{label}", local, made_by(local)) if local.is_dir() else None
            run.dataset(in_either_form(path), sha256, "test", len(problems))
            run.metrics(evaluation_metrics(report), model=model)
            for name in (ROLLOUTS_FILE, VIEWER_FILE, PASSK_FILE):
                run.artifact(output / name)
            run.params({"seed": evaluation.seed})
            log_traces(run, label, _traced_answers(results, evaluation.traces, evaluation.seed), model)
    return output


def _interrupted(tracking: Tracking | None, stage: str, config: RunConfig, output: Path) -> str | None:
    """Id of the MLflow run of an earlier attempt at the same, which the next one goes on in."""
    if tracking is None:
        return None
    tags = {_OUTPUT_TAG: output.absolute().as_uri(), CONFIG_TAG: config.digest()}
    return unfinished_run(tracking, stage, tags)


def made_by(policy: Path) -> str | None:
    """Id of the MLflow run that trained `policy`; None where it was trained elsewhere, or not tracked."""
    path = policy / RUN_FILE
    return (json.loads(path.read_text(encoding="utf-8"))["mlflow_run"] or None) if path.exists() else None


def _traced_answers(results: Sequence[ProblemResult], most: int, seed: int) -> list[AnswerTrace]:
    """`most` answers of all, drawn at random, in the order of the problems."""
    answers = [(result, completion) for result in results for completion in result.completions]
    chosen = sorted(random.Random(seed).sample(range(len(answers)), min(most, len(answers))))
    return [
        AnswerTrace(
            prompt=result.prompt,
            completion=answer.text,
            verdict=answer.outcome,
            reason=answer.reason,
            confidence=answer.confidence,
            tags={"problem": result.problem, "source": result.source}
            | ({} if result.level is None else {"level": str(result.level)}),
        )
        for result, answer in (answers[index] for index in chosen)
    ]


def view(evaluation: Path) -> Path:
    """Write `viewer.html` of a finished evaluation's folder again, and return its path.

    Raises:
        LensError: if `evaluation` is no such folder.
    """
    from lens_core.evaluation.records import read_evaluation
    from lens_core.report.viewer import render_viewer

    return render_viewer(*read_evaluation(evaluation), evaluation / VIEWER_FILE)


def compare_evaluations(one: Path, other: Path, output: Path | None = None) -> tuple[Comparison, Path]:
    """Write `paired.json` and `report.html` of two evaluations on the same problems; `(comparison, folder)`.

    Args:
        output: None: `comparisons/A-vs-B`, by the labels.

    Raises:
        LensError: if one is no finished evaluation's folder, or they are not of the same problems.
    """
    from lens_core.evaluation.comparison import compare_results
    from lens_core.evaluation.folder import differing_settings, read_design
    from lens_core.evaluation.records import read_evaluation
    from lens_core.report.comparison import render_comparison

    differing = differing_settings(read_design(one), read_design(other))
    found = compare_results(read_evaluation(one), read_evaluation(other), differing)
    folder = Path("comparisons") / f"{found.one.model}-vs-{found.other.model}" if output is None else output
    folder.mkdir(parents=True, exist_ok=True)
    render_comparison(found, folder / REPORT_FILE)
    (folder / PAIRED_FILE).write_text(found.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return found, folder


def compare(
    config: RunConfig,
    data: Path,
    evaluations: Sequence[Path],
    trainings: Sequence[Path],
    output: Path,
    tracking: Tracking | None = None,
    on_progress: Listener = ignore,
) -> Path:
    """Write `report.html` (with `plots/`) and `comparison.json` from finished evaluations and trainings."""
    from lens_core.evaluation.records import PassKReport, read_results
    from lens_core.report.html import render_report
    from lens_core.training.metrics_file import read_metrics

    on_progress(Progress("compare", 0, 1, ""))
    with tracked(tracking, "compare", config) as run:
        reports = [PassKReport.model_validate_json((path / PASSK_FILE).read_text("utf-8")) for path in evaluations]
        samples = {
            report.model: _spread_samples(read_results(path / ROLLOUTS_FILE))
            for report, path in zip(reports, evaluations, strict=True)
        }
        summaries = [json.loads((path / TRAINING_FILE).read_text("utf-8")) for path in trainings]
        histories = {summary["method"]: read_metrics(path) for summary, path in zip(summaries, trainings, strict=True)}
        output.mkdir(parents=True, exist_ok=True)
        render_report(
            f"LENS run {config.name if tracking is None else tracking.run}",
            _facts(config, read_summary(data), summaries),
            reports,
            histories,
            samples,
            output / REPORT_FILE,
        )
        comparison = {"evaluations": [report.model_dump(mode="json") for report in reports], "trainings": summaries}
        (output / COMPARISON_FILE).write_text(json.dumps(comparison, indent=2) + "\n", encoding="utf-8")
        if run is not None and tracking is not None:
            run.artifact(output)
            parent = parent_run(tracking)
            parent.artifact(output)
            for report in reports:
                parent.metrics(passk_metrics(report.overall, f"{report.model}/"))
    if tracking is not None:
        end_parent(tracking, "FINISHED")
    on_progress(Progress("compare", 1, 1, ""))
    return output


def evaluation_metrics(report: PassKReport) -> dict[str, float]:
    """What an evaluation found, as flat metrics; Pass@k of a level is `level_3/pass_at_4`."""
    metrics = {
        **passk_metrics(report.overall),
        **passk_metrics(report.majority, measure="maj_at"),
        "mean_tokens": report.mean_tokens,
        "truncated": report.truncated,
        "ungraded": report.ungraded,
    }
    if report.calibration is not None:
        metrics["ece"] = report.calibration.ece
    for level, estimates in report.levels.items():
        metrics |= passk_metrics(estimates, f"level_{level}/")
    return metrics


def passk_metrics(estimates: Mapping[int, Any], prefix: str = "", measure: str = "pass_at") -> dict[str, float]:
    """Estimates as flat metrics: `pass_at_4`, `pass_at_4_low`, `pass_at_4_high`."""
    metrics = {}
    for k, estimate in estimates.items():
        name = f"{prefix}{measure}_{k}"
        metrics[name], metrics[f"{name}_low"], metrics[f"{name}_high"] = estimate.estimate, estimate.low, estimate.high
    return metrics


@contextmanager
def tracked(
    tracking: Tracking | None, stage: str, config: RunConfig, method: str | None = None, resume_id: str | None = None
) -> Iterator[StageRun | None]:
    """The stage's MLflow run with its configuration logged; None where the stage is not tracked."""
    if tracking is None:
        yield None
        return
    with stage_run(tracking, stage, resume_id or None) as run:
        run.params(
            config.model_dump(mode="json") if method is None else {"method": method, **config.model_dump(mode="json")}
        )
        run.tags({CONFIG_TAG: config.digest(), "lens.model": config.base, "lens.config": config.name})
        if method is not None:
            run.tags({"lens.method": method})
        yield run


def _describe_data(summary: DataSummary) -> str:
    return (
        f"{summary.train:,} problems to train on, {summary.test:,} to test; "
        f"{summary.overlap_removed} overlapping removed, {summary.bad_rows} bad rows"
    )


def _describe_step(metrics: Mapping[str, float]) -> str:
    parts = [f"reward {metrics['reward']:.2f}"] if "reward" in metrics else []
    if "lens/groups/negative" in metrics:
        parts.append(f"negative groups {metrics['lens/groups/negative']:.0%}")
    if "step_time" in metrics:
        parts.append(f"{metrics['step_time']:.2f} s/step")
    return ", ".join(parts)


def _spread_samples(results: Sequence[Any]) -> list[Any]:
    """A few problems from all over the (level-sorted) file, the same for every model."""
    stride = max(1, len(results) // _SAMPLE_PROBLEMS)
    return list(results[stride // 2 :: stride][:_SAMPLE_PROBLEMS])


def _facts(config: RunConfig, data: DataSummary, trainings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    train, evaluation = config.train, config.evaluation
    return {
        "Base policy": config.base,
        "Training problems": f"{data.train:,} ({data.overlap_removed} that were also evaluation problems removed)",
        "Test problems": f"{data.test:,}",
        "Training data SHA-256": data.train_digest,
        "Test data SHA-256": data.test_digest,
        "Training": f"{train.steps} steps of {train.prompts_per_step} prompts x {train.group_size} answers, "
        f"learning rate {train.learning_rate:g}, seed {train.seed}",
        "Evaluation": f"{evaluation.n} answers a problem at temperature {evaluation.temperature:g}, "
        f"seed {evaluation.seed}",
        "Training time": ", ".join(f"{summary['method']} {summary['seconds']:.0f} s" for summary in trainings),
        "Configuration SHA-256": config.digest(),
    }
