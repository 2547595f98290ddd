"""Pass@k of a policy on the test problems."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_core.config import RunConfig, check_imports, checked_name
from lens_core.data.prepare import TEST_FILE, TRAIN_FILE, in_either_form, read_problems
from lens_core.data.problem import digest as file_digest
from lens_core.data.summary import SUMMARY_FILE, read_summary
from lens_core.errors import LensError
from lens_core.evaluation.files import PASSK_FILE, ROLLOUTS_FILE, VIEWER_FILE
from lens_core.files import read_json, replacing, write_json, write_text
from lens_core.folders import EVALUATION, claimed
from lens_core.progress import Listener, Progress, drawing_told, ignore
from lens_core.rollout.shipped import resolved
from lens_core.stages.folder import RUN_FILE
from lens_core.stages.tracked import CONFIG_TAG, tracked
from lens_core.tracking import AnswerTrace, Tracking, log_traces, unfinished_run, use_policy

if TYPE_CHECKING:
    from lens_core.evaluation.records import PassKReport, ProblemResult

_OUTPUT_TAG = "lens.output"


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
    turned = summary.model_copy(update={"test": summary.train, "test_digest": summary.train_digest})
    with claimed(output, EVALUATION):
        problems = output / "problems"
        if (problems / SUMMARY_FILE).exists() and read_summary(problems).test_digest != turned.test_digest:
            raise LensError(f"{output} holds the pass rates of other problems: choose another folder")
        problems.mkdir(exist_ok=True)
        with train.open("rb") as given, replacing((problems / TEST_FILE).with_suffix(train.suffix)) as file:
            shutil.copyfileobj(given, file)
        write_text(problems / SUMMARY_FILE, turned.model_dump_json(indent=2) + "\n")
        return evaluate(config, "pass rates", problems, policy, output, tracking, on_progress)


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
        policy: a folder in Hugging Face format, or the name of one on the hub or shipped.

    Raises:
        LensError: if `label` is no name, `policy` is not whole, `output` is not ours (lens_core.folders), or holds the
            evaluation of another policy or other problems, or with other settings.
    """
    checked_name(label, "label")
    check_imports(config)
    from lens_core.evaluation.evaluate import engine_name, evaluate_policy
    from lens_core.evaluation.folder import Design, append, claim, finished, settings_of
    from lens_core.evaluation.summary import summarise
    from lens_core.report.viewer import render_viewer
    from lens_core.rollout.fingerprint import identity, require_whole

    require_whole(policy)
    stage, evaluation = f"evaluate {label}", config.evaluation
    path = data / TEST_FILE if data.is_dir() else data
    problems = read_problems(path)
    sha256 = read_summary(data).test_digest if data.is_dir() else file_digest(path)
    settings = settings_of(evaluation, engine_name(evaluation))
    design = Design(
        model=str(policy), model_identity=identity(policy), data=str(path), data_digest=sha256, settings=settings
    )
    with ExitStack() as stack:
        stack.enter_context(claimed(output, EVALUATION))
        claim(output, design)
        results = finished(output, problems)
        kept = f"{len(results)} problems were there" if results else ""
        interrupted = _interrupted(tracking, stage, config, output)
        run = stack.enter_context(tracked(tracking, stage, config, label, interrupted))
        local = Path(resolved(policy))
        if run is not None:
            checkpoint = local.absolute().as_uri() if local.is_dir() else str(policy)
            run.tags({"checkpoint": checkpoint, _OUTPUT_TAG: output.absolute().as_uri()})

        def tell(said: str) -> None:
            on_progress(Progress(stage, len(results), len(problems), said))

        tell(kept)
        if len(results) < len(problems):
            start, before = time.monotonic(), len(results)
            with drawing_told(tell):
                for batch in append(output, evaluate_policy(problems, policy, evaluation, len(results))):
                    results += batch
                    tell(_describe_answers(results[before:], time.monotonic() - start))
        report = summarise(label, sha256, results, evaluation.n, evaluation.ks)
        render_viewer(report, results, output / VIEWER_FILE)
        write_json(output / PASSK_FILE, report.model_dump(mode="json"))
        if run is not None:
            model = use_policy(run, f"{config.name}-{label}", local, made_by(local)) if local.is_dir() else None
            run.dataset(in_either_form(path), sha256, "test", len(problems))
            run.metrics(evaluation_metrics(report), model=model)
            for name in (ROLLOUTS_FILE, VIEWER_FILE, PASSK_FILE):
                run.artifact(output / name)
            run.params({"seed": evaluation.seed})
            log_traces(run, label, _traced_answers(results, evaluation.traces, evaluation.seed), model)
    return output


def _describe_answers(results: Sequence[ProblemResult], seconds: float) -> str:
    """What was drawn in so many seconds, in words."""
    graded, right = (sum(each) for each in zip(*(result.counts for result in results), strict=True))
    tokens = sum(completion.tokens for result in results for completion in result.completions)
    return f"{right / max(1, graded):.0%} right, {tokens / seconds:,.0f} tokens/s"


def _interrupted(tracking: Tracking | None, stage: str, config: RunConfig, output: Path) -> str | None:
    """Id of the MLflow run of an earlier attempt at the same, which the next one goes on in."""
    if tracking is None:
        return None
    tags = {_OUTPUT_TAG: output.absolute().as_uri(), CONFIG_TAG: config.digest()}
    return unfinished_run(tracking, stage, tags)


def made_by(policy: Path) -> str | None:
    """Id of the MLflow run that trained `policy`; None where it was trained elsewhere, or not tracked."""
    path = policy / RUN_FILE
    return (read_json(path, "mlflow_run")["mlflow_run"] or None) if path.exists() else None


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
    from lens_core.evaluation.records import read_evaluation, read_report
    from lens_core.report.viewer import render_viewer

    read_report(evaluation)  # before the folder is taken for one
    with claimed(evaluation, EVALUATION):
        return render_viewer(*read_evaluation(evaluation), evaluation / VIEWER_FILE)


def evaluation_metrics(report: PassKReport) -> dict[str, float]:
    """What an evaluation found, as flat metrics; Pass@k of a level is `level_3/pass_at_4`."""
    metrics = {name: value for name, value in report.values.items() if value is not None}
    for name, estimates in report.by_k.items():
        metrics |= passk_metrics(estimates, measure=name)
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
