"""The report: one HTML file with everything in it, readable without a network and by a person who was not there."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from lens_core.evaluation.metrics import METRICS, METRICS_BY_K, MetricByK, in_words
from lens_core.evaluation.passk import FEW, FEW_NOTE, Estimate
from lens_core.evaluation.records import PassKReport, ProblemResult
from lens_core.files import write_text
from lens_core.report import plots

_COMPLETIONS_SHOWN = 3


@dataclass(frozen=True)
class Plot:
    """A plot with the sentence that says how to read it."""

    name: str
    title: str
    caption: str
    svg: Markup


@plots.in_own_style
def render_report(
    title: str,
    what: str,
    facts: Mapping[str, str],
    evaluations: Sequence[PassKReport],
    histories: Mapping[str, plots.History],
    samples: Mapping[str, Sequence[ProblemResult]],
    output: Path,
) -> Path:
    """Write the report to `output`, and each plot as `plots/NAME.png` beside it.

    Args:
        what: what was run, and on what, in a sentence or two.
        facts: name -> value, shown as a table at the end.
        evaluations: one a model, the base first.
        histories: method -> the steps of its training (`metrics.jsonl`).
        samples: model -> the same problems, with that model's completions.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    drawn = [draw(output.parent / "plots", *plot) for plot in _plots(evaluations, histories)]
    page = (
        environment()
        .get_template("template.html.j2")
        .render(
            title=title,
            answer=answer(evaluations),
            what=what,
            facts=facts,
            evaluations=evaluations,
            ks=evaluations[0].ks,
            others_by_k=_measured(METRICS_BY_K[1:], evaluations),
            metrics=[metric for metric in METRICS if metric.column],
            levels=sorted({level for report in evaluations for level in report.levels}),
            plots=[plot for plot in drawn if plot is not None],
            samples=_side_by_side(samples),
            shown=_COMPLETIONS_SHOWN,
        )
    )
    write_text(output, page)
    return output


def _measured(metrics: Sequence[MetricByK], evaluations: Sequence[PassKReport]) -> list[MetricByK]:
    """Those that any evaluation has an estimate of for the last k."""
    return [
        metric for metric in metrics if any(report.ks[-1] in report.by_k.get(metric.name, {}) for report in evaluations)
    ]


def environment() -> jinja2.Environment:
    """The templates of this package, with our filters."""
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("lens_core.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    pages.globals |= {"few": FEW, "few_note": FEW_NOTE}
    pages.filters["percent"] = percent
    pages.filters["interval"] = interval
    pages.filters["in_words"] = in_words
    return pages


def answer(evaluations: Sequence[PassKReport]) -> str:
    """The result in a sentence, worked out from the numbers; no winner is named where intervals overlap.

    A model without an estimate is named as such; models measured on different data are not compared.
    """
    k = evaluations[0].ks[0]
    missing = [report.model for report in evaluations if k not in report.overall]
    lack = f" Too few answers of {_listed(missing)} could be graded to estimate Pass@{k}." if missing else ""
    ranked = sorted(
        (report for report in evaluations if k in report.overall),
        key=lambda report: report.overall[k].estimate,
        reverse=True,
    )
    if not ranked:
        return lack.strip()
    best, *rest = ranked
    said = f"{best.model} reaches Pass@{k} {interval(best.overall[k])}"
    if not rest:
        return f"{said}.{lack}"
    said += ", " + _listed([f"{report.model} {interval(report.overall[k])}" for report in rest])
    return f"{_verdict(best, rest, k)}: {said}.{lack}"


def _verdict(best: PassKReport, rest: Sequence[PassKReport], k: int) -> str:
    if len({report.data_digest for report in (best, *rest)}) > 1:
        return "Measured on different data, so that no winner is named"
    if best.overall[k].few:
        return f"{best.overall[k].problems} problems are too few to name a winner"
    level = [report.model for report in rest if report.overall[k].high >= best.overall[k].low]
    if level:
        return f"No clear winner, as the intervals of {_listed([best.model, *level])} overlap"
    return f"{best.model} is the clear winner of this run, its interval above all others"


def _listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`"""
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def interval(estimate: Estimate) -> str:
    """`41.2 % [38.9, 43.5]`"""
    return estimate.text.replace(" [", " % [")


def _plots(
    evaluations: Sequence[PassKReport], histories: Mapping[str, plots.History]
) -> list[tuple[str, str, str, Figure | None]]:
    """(name, title, caption, figure) of every plot, in the order of the page."""
    confidences = {"lens/confidence/right": "-", "lens/confidence/wrong": "--"}
    colour = plots.colours(list(dict.fromkeys([*(report.model for report in evaluations), *histories])))
    return [
        (
            "pass-at-k",
            "Pass@k",
            "The chance that at least one of k answers is right; bands are 95 % intervals over problems.",
            plots.pass_at_k(evaluations, colour),
        ),
        (
            "by-level",
            "Accuracy by level",
            "Share of right answers at each level of difficulty; bars carry 95 % intervals over problems.",
            plots.by_level(evaluations, colour),
        ),
        (
            "negative-groups",
            "Negative groups during training",
            "Share of prompts without a single right answer: GRPO learns nothing from them, LENS does.",
            plots.over_steps(histories, {"lens/groups/negative": "-"}, "Negative groups, %", colour, percent=True),
        ),
        (
            "rescued-tokens",
            "Rescued tokens",
            "Share of the generated tokens that lie in negative groups and got a gradient all the same.",
            plots.over_steps(histories, {"lens/tokens/rescued": "-"}, "Rescued tokens, %", colour, percent=True),
        ),
        (
            "reward",
            "Reward during training",
            "Mean reward of the sampled answers; thin as logged, bold smoothed.",
            plots.over_steps(histories, {"reward": "-"}, "Mean reward", colour),
        ),
        (
            "confidence",
            "Confidence of right and wrong answers",
            "Length-normalised probability of the answers that turned out right (solid) and wrong (dashed).",
            plots.over_steps(histories, confidences, "Mean confidence", colour),
        ),
        (
            "entropy",
            "Entropy",
            "Of the policy's next token, over all completions; a fall towards 0 means that it has stopped exploring.",
            plots.over_steps(histories, {"lens/entropy": "-"}, "Nats a token", colour),
        ),
        (
            "length",
            "Answer length",
            "Mean length of the sampled answers.",
            plots.over_steps(histories, {"completions/mean_length": "-"}, "Tokens", colour),
        ),
    ]


def draw(folder: Path, name: str, title: str, caption: str, figure: Figure | None) -> Plot | None:
    """The figure as `folder/name.png`, and as SVG for the page; None without one."""
    if figure is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=150, bbox_inches="tight")
    buffer = io.StringIO()
    # Without the salt and with the date, equal runs would differ.
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(
            buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None, "Creator": None}
        )
    drawing = buffer.getvalue()
    unique = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", drawing[drawing.index("<svg") :])
    return Plot(name, title, caption, Markup(unique))


def _side_by_side(samples: Mapping[str, Sequence[ProblemResult]]) -> list[dict[str, ProblemResult]]:
    """For each problem, model -> result."""
    return [dict(zip(samples, results, strict=True)) for results in zip(*samples.values(), strict=True)]
