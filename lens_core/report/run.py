"""The report: one HTML file with everything in it, readable without a network and by a person who was not there."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from lens_core.evaluation.by_problem import PairedComparison, verdict
from lens_core.evaluation.metrics import METRICS, METRICS_BY_K, MetricByK, cut_off_warning, in_words
from lens_core.evaluation.passk import FEW, FEW_NOTE, Estimate
from lens_core.evaluation.records import Completion, PassKReport, ProblemResult
from lens_core.evaluation.verdict import Verdict, listed, signed
from lens_core.files import write_text
from lens_core.report import plots
from lens_core.report.markdown import markdown

_COMPLETIONS_SHOWN = 3
DIFFERENCES = (
    "differences",
    "Paired differences",
    "Mean over problems with its paired 95 % interval, overall and by level; 0 is no difference.",
)
"""Name, title and caption of the forest plot."""


@dataclass(frozen=True)
class Plot:
    """A plot with the sentence that says how to read it."""

    name: str
    title: str
    caption: str
    svg: Markup


@dataclass(frozen=True)
class Sample:
    """A completion of a problem, and how many are like it."""

    completion: Completion
    count: int


@plots.in_own_style
def render_report(
    title: str,
    what: str,
    facts: Mapping[str, str],
    evaluations: Sequence[PassKReport],
    histories: Mapping[str, plots.History],
    samples: Mapping[str, Sequence[ProblemResult]],
    output: Path,
    comparisons: Sequence[PairedComparison] = (),
) -> Path:
    """Write the report to `output`, its first page as Markdown beside it, and each plot as `plots/NAME.png`.

    Args:
        what: what was run, and on what, in a sentence or two.
        facts: name -> value, shown as a table at the end.
        evaluations: one a model, the base first.
        histories: method -> the steps of its training (`metrics.jsonl`).
        samples: model -> the same problems, with that model's completions.
        comparisons: of evaluations on the same problems, the most important first.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    drawn = [draw(output.parent / "plots", *plot) for plot in _plots(evaluations, histories, comparisons)]
    base = evaluations[0].model
    values: dict[str, Any] = {
        "title": title,
        "verdict": report_verdict(evaluations, comparisons),
        "what": what,
        "facts": facts,
        "evaluations": evaluations,
        "comparisons": comparisons,
        "gains": {found.other.model: found.finding for found in comparisons if found.one.model == base},
        "ks": evaluations[0].ks,
        "others_by_k": _measured(METRICS_BY_K[1:], evaluations),
        "metrics": [metric for metric in METRICS if metric.column],
        "levels": sorted({level for report in evaluations for level in report.levels}),
        "warnings": [said for report in evaluations if (said := cut_off_warning(report)) is not None],
    }
    page = render(
        "template.html.j2",
        **values,
        plots=[plot for plot in drawn if plot is not None],
        samples=_side_by_side(samples),
        shown=_COMPLETIONS_SHOWN,
    )
    write_text(output, page)
    write_text(output.with_suffix(".md"), markdown("report.md.j2", **values))
    return output


def report_verdict(evaluations: Sequence[PassKReport], comparisons: Sequence[PairedComparison]) -> Verdict:
    """The verdict on the comparisons; what one policy alone reaches; and what keeps the others from being compared."""
    k = evaluations[0].ks[0]
    lines = []
    missing = [report.model for report in evaluations if k not in report.overall]
    if len(evaluations) == 1 and not missing:
        lines.append(f"{evaluations[0].model} reaches Pass@{k} {interval(evaluations[0].overall[k])}.")
    if len({report.data_digest for report in evaluations}) > 1:
        lines.append("Policies that were evaluated on different problems are not compared.")
    if missing:
        lines.append(f"Too few completions of {listed(missing)} could be graded to estimate Pass@{k}.")
    found = verdict([each for each in comparisons if each.finding is not None])
    return Verdict(lines=(*found.lines, *lines), scope=found.scope)


def _measured(metrics: Sequence[MetricByK], evaluations: Sequence[PassKReport]) -> list[MetricByK]:
    """Those that any evaluation has an estimate of for the last k."""
    return [
        metric for metric in metrics if any(report.ks[-1] in report.by_k.get(metric.name, {}) for report in evaluations)
    ]


def render(template: str, **values: Any) -> str:
    """A page of ours; on narrow screens its tables stack their cells, each with its column's title."""
    page = _environment().get_template(template).render(**values)
    return re.sub(r"<table\b.*?</table>", _with_titles, page, flags=re.DOTALL)


def _with_titles(table: re.Match[str]) -> str:
    """A table whose cells know their column's title, for the style sheet."""
    text = table[0]
    head, end, body = text.partition("</thead>")
    if not end:
        return text
    titles = [re.sub(r"<[^>]+>", "", title) for title in re.findall(r"<th\b[^>]*>(.*?)</th>", head, re.DOTALL)]

    def row(match: re.Match[str]) -> str:
        columns = iter(titles)
        return re.sub(r"<td\b|<th\b", lambda cell: f'{cell[0]} data-title="{next(columns, "")}"', match[0])

    return head + end + re.sub(r"<tr\b.*?</tr>", row, body, flags=re.DOTALL)


def _environment() -> jinja2.Environment:
    """The templates of this package, with our filters."""
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("lens_core.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    pages.globals |= {"few": FEW, "few_note": FEW_NOTE}
    pages.filters |= {"percent": percent, "interval": interval, "in_words": in_words, "signed": signed}
    return pages


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def interval(estimate: Estimate) -> str:
    """`41.2 % [38.9, 43.5]`"""
    return estimate.text.replace(" [", " % [")


def _plots(
    evaluations: Sequence[PassKReport],
    histories: Mapping[str, plots.History],
    comparisons: Sequence[PairedComparison],
) -> list[tuple[str, str, str, Figure | None]]:
    """(name, title, caption, figure) of every plot, in the order of the page."""
    confidences = {"lens/confidence/right": "-", "lens/confidence/wrong": "--"}
    colour = plots.colours(list(dict.fromkeys([*(report.model for report in evaluations), *histories])))
    base = evaluations[0].model
    with_base = [found for found in comparisons if found.one.model == base]
    gain = plots.pass_at_k_gain(with_base, colour) if with_base else None
    minus = " Below: each method minus the first, at the same step." if len(histories) > 1 else ""
    return [
        (*DIFFERENCES, plots.forest(comparisons, colour)),
        (
            "pass-at-k",
            "Pass@k",
            "The chance that at least one of k completions is correct; bands are 95 % intervals over problems.",
            plots.pass_at_k(evaluations, colour),
        )
        if gain is None
        else (
            "pass-at-k",
            f"Pass@k minus {base}",
            "The chance that at least one of k completions is correct, as a difference; paired 95 % intervals.",
            gain,
        ),
        (
            "by-level",
            "Pass@1 by level" if evaluations[0].ks[0] == 1 else "Pass@k by level",
            "Each level of difficulty by itself; bars carry 95 % intervals over problems.",
            plots.by_level(evaluations, colour),
        ),
        (
            "negative-groups",
            "All-wrong groups during training",
            "Fraction of prompts without a single correct completion: GRPO learns nothing from them, LENS does."
            + minus,
            plots.over_steps(histories, {"lens/groups/negative": "-"}, "All-wrong groups, %", colour, percent=True),
        ),
        (
            "rescued-tokens",
            "Rescued tokens, and how much they count",
            _rescued(histories),
            plots.rescued_tokens(histories, colour),
        ),
        (
            "reward",
            "Reward during training",
            "Mean reward of the sampled completions; thin as logged, bold smoothed." + minus,
            plots.over_steps(histories, {"reward": "-"}, "Mean reward", colour),
        ),
        (
            "confidence",
            "Confidence of correct and incorrect completions",
            "Mean confidence of the completions that turned out correct (solid) and incorrect (dashed)." + minus,
            plots.over_steps(histories, confidences, "Mean confidence", colour),
        ),
        (
            "entropy",
            "Entropy",
            "Of the policy's next token, over all completions; a fall towards 0 means that it has stopped exploring."
            + minus,
            plots.over_steps(histories, {"lens/entropy": "-"}, "Nats per token", colour),
        ),
        (
            "length",
            "Completion length",
            "Mean length of the sampled completions." + minus,
            plots.over_steps(histories, {"completions/mean_length": "-"}, "Tokens", colour),
        ),
    ]


def _rescued(histories: Mapping[str, plots.History]) -> str:
    """How to read the plot of rescued tokens, and in numbers how much such a token counts."""
    said = (
        "Above: fraction of the generated tokens that lie in all-wrong groups and got a gradient all the same. Below: "
        "the advantages that they got (dashed) and those in mixed groups (solid), root mean square."
    )
    for method, history in histories.items():
        loud, mixed = (_mean_of(history, f"lens/advantage_rms/{kind}") for kind in ("negative", "mixed"))
        rescued = _mean_of(history, "lens/tokens/rescued")
        if loud and mixed and rescued:
            said += (
                f" {method}: {100 * rescued:.0f} % of the tokens, with {loud:.2g} against {mixed:.2g} "
                f"({100 * loud / mixed:.2g} % as large)."
            )
    return said


def _mean_of(history: plots.History, key: str) -> float | None:
    """Over the steps that have it as a finite number."""
    values = [step[key] for step in history if plots.measured(step, key)]
    return sum(values) / len(values) if values else None


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


def _side_by_side(
    samples: Mapping[str, Sequence[ProblemResult]],
) -> list[dict[str, tuple[ProblemResult, list[Sample]]]]:
    """For each problem, model -> its result, and the completions in it that differ."""
    return [
        {model: (result, _distinct(result.completions)) for model, result in zip(samples, results, strict=True)}
        for results in zip(*samples.values(), strict=True)
    ]


def _distinct(completions: Sequence[Completion]) -> list[Sample]:
    """In the order in which they first came."""
    counts = Counter((each.text, each.outcome) for each in completions)
    first = {(each.text, each.outcome): each for each in reversed(completions)}
    return [Sample(first[key], count) for key, count in counts.items()]
