"""What several evaluations and trainings say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_core.config import RunConfig, checked_name
from lens_core.data.summary import DataSummary, read_summary
from lens_core.evaluation.files import ROLLOUTS_FILE
from lens_core.files import write_json
from lens_core.folders import COMPARISON, claimed
from lens_core.progress import Listener, Progress, ignore
from lens_core.stages.evaluation import passk_metrics
from lens_core.stages.folder import COMPARISON_FILE, MARKDOWN_FILE, PAIRED_FILE, REPORT_FILE, read_training
from lens_core.stages.tracked import tracked
from lens_core.tracking import Tracking, end_parent, parent_run, run_facts

if TYPE_CHECKING:
    from lens_core.evaluation.by_problem import PairedComparison
    from lens_core.evaluation.records import PassKReport, ProblemResult

_SAMPLE_PROBLEMS = 5


def compare_evaluations(one: Path, other: Path, output: Path | None = None) -> tuple[PairedComparison, Path]:
    """Write `paired.json` and `report.html` of two evaluations on the same problems; `(comparison, folder)`.

    Args:
        output: None: `comparisons/A-vs-B`, by the labels.

    Raises:
        LensError: if one is no finished evaluation's folder, they are not of the same problems, `output` is not ours
            (lens_core.folders), or without `output` a label is no name.
    """
    from lens_core.evaluation.by_problem import compare_results
    from lens_core.evaluation.folder import differing_settings, read_design
    from lens_core.evaluation.records import read_evaluation
    from lens_core.report.comparison import render_comparison

    differing = differing_settings(read_design(one), read_design(other))
    found = compare_results(read_evaluation(one), read_evaluation(other), differing)
    folder = _named_after(found) if output is None else output
    with claimed(folder, COMPARISON):
        render_comparison(found, folder / REPORT_FILE)
        write_json(folder / PAIRED_FILE, found.model_dump(mode="json"))
    return found, folder


def _named_after(found: PairedComparison) -> Path:
    """Of the labels, which come from files of others."""
    one, other = (checked_name(each.model, "the label in passk.json") for each in (found.one, found.other))
    return Path("comparisons") / f"{one}-vs-{other}"


def compare(
    config: RunConfig,
    data: Path,
    evaluations: Sequence[Path],
    trainings: Sequence[Path],
    output: Path,
    tracking: Tracking | None = None,
    on_progress: Listener = ignore,
) -> Path:
    """Write `report.html` (with `plots/`), `report.md` and `comparison.json` from finished evaluations and trainings.

    Args:
        evaluations: the base policy's first.
    """
    from lens_core.evaluation.records import read_report, read_results
    from lens_core.report.run import render_report, report_verdict
    from lens_core.training.metrics_file import read_finished_metrics

    on_progress(Progress("compare", 0, 1, ""))
    with claimed(output, COMPARISON), tracked(tracking, "compare", config) as run:
        reports = [read_report(path) for path in evaluations]
        results = [read_results(path / ROLLOUTS_FILE) for path in evaluations]
        evaluated = list(zip(reports, results, strict=True))
        samples = {report.model: _spread_samples(of) for report, of in evaluated}
        comparisons = _pairs(evaluated)
        summaries = [read_training(path) for path in trainings]
        histories = {
            summary["method"]: read_finished_metrics(path) for summary, path in zip(summaries, trainings, strict=True)
        }
        render_report(
            f"LENS run {config.name if tracking is None else tracking.run}",
            _what(config, read_summary(data), summaries),
            _facts(config, read_summary(data), summaries) | ({} if tracking is None else run_facts(tracking)),
            reports,
            histories,
            samples,
            output / REPORT_FILE,
            comparisons,
        )
        comparison = {
            "verdict": report_verdict(reports, comparisons).model_dump(mode="json"),
            "differences": [
                {"one": found.one.model, "other": found.other.model}
                | found.model_dump(mode="json", include={"by_k", "levels", "wins", "losses", "ties", "sign_p"})
                for found in comparisons
            ],
            "evaluations": [report.model_dump(mode="json") for report in reports],
            "trainings": summaries,
        }
        write_json(output / COMPARISON_FILE, comparison)
        if run is not None and tracking is not None:
            parent = parent_run(tracking)
            for each in (run, parent):
                for name in (REPORT_FILE, MARKDOWN_FILE, COMPARISON_FILE):
                    each.artifact(output / name)
                if (output / "plots").is_dir():  # of what could be graded
                    each.artifact(output / "plots", "plots")
            for report in reports:
                parent.metrics(passk_metrics(report.overall, f"{report.model}/"))
    if tracking is not None:
        end_parent(tracking, "FINISHED")
    on_progress(Progress("compare", 1, 1, ""))
    return output


def _pairs(evaluations: Sequence[tuple[PassKReport, Sequence[ProblemResult]]]) -> list[PairedComparison]:
    """Every method against the first, then every method against the base; only what answered the same problems."""
    from lens_core.evaluation.by_problem import compare_results

    base, *methods = evaluations
    pairs = [(methods[0], other) for other in methods[1:]] + [(base, other) for other in methods]
    return [compare_results(one, other) for one, other in pairs if one[0].data_digest == other[0].data_digest]


def _spread_samples(results: Sequence[Any]) -> list[Any]:
    """A few problems from all over the (level-sorted) file, the same for every model."""
    stride = max(1, len(results) // _SAMPLE_PROBLEMS)
    return list(results[stride // 2 :: stride][:_SAMPLE_PROBLEMS])


def _what(config: RunConfig, data: DataSummary, trainings: Sequence[Mapping[str, Any]]) -> str:
    """What was run, on what, in words."""
    train, evaluation = config.train, config.evaluation
    methods = " and ".join(summary["method"] for summary in trainings)
    said = (
        f"{methods} trained from {config.base} on {data.train:,} problems, {train.steps} steps of "
        f"{train.prompts_per_step} prompts x {train.group_size} completions; every policy was then sampled "
        f"{evaluation.n} times on each of the same {data.test:,} test problems."
    )
    places = dict.fromkeys(f"on {summary['machine']}" for summary in trainings if "machine" in summary)
    ends = [summary["finished"] for summary in trainings if "finished" in summary]
    when = f"finished {max(ends)[:16].replace('T', ' ')} UTC" if ends else ""
    about = ", ".join([*places, when] if when else places)
    return f"{said} Trained {about}." if about else said


def _facts(config: RunConfig, data: DataSummary, trainings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    train, evaluation = config.train, config.evaluation
    return {
        "Base policy": config.base,
        "Training problems": f"{data.train:,} ({data.overlap_removed} that were also evaluation problems removed)",
        "Test problems": f"{data.test:,}",
        "Training data SHA-256": data.train_digest,
        "Test data SHA-256": data.test_digest,
        "Training": f"{train.steps} steps of {train.prompts_per_step} prompts x {train.group_size} completions, "
        f"learning rate {train.learning_rate:g}, seed {train.seed}",
        "Evaluation": f"{evaluation.n} completions per problem at temperature {evaluation.temperature:g}, "
        f"seed {evaluation.seed}",
        "Training time": ", ".join(f"{summary['method']} {summary['seconds']:.0f} s" for summary in trainings),
        "Configuration SHA-256": config.digest(),
    }
