"""The report of two evaluations on the same problems: one HTML file, readable without a network."""

from __future__ import annotations

from pathlib import Path

from lens_core.evaluation.by_problem import PairedComparison
from lens_core.evaluation.paired import PairedDifference
from lens_core.evaluation.passk import Estimate
from lens_core.files import write_text
from lens_core.report import plots
from lens_core.report.run import draw, environment, percent
from lens_core.report.study import signed

_SURE = 0.05


@plots.in_own_style
def render_comparison(found: PairedComparison, output: Path) -> Path:
    """Write the report to `output`, and each plot as `plots/NAME.png` beside it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    reports = [found.one, found.other]
    title = f"{found.other.model} against {found.one.model}"
    rows = found.rows()
    drawn = [
        draw(
            output.parent / "plots",
            "differences",
            f"{found.other.model} less {found.one.model}",
            "Mean over problems, with the 95 % interval of the paired difference; 0 is no difference.",
            plots.differences(
                {name: {"difference": {"mean": _mean(each.difference)}} for name, each in rows.items()},
                dict.fromkeys(rows, plots.colours([found.other.model])[found.other.model]),
            ),
        ),
        draw(
            output.parent / "plots",
            "pass-at-k",
            "Pass@k",
            "The chance that at least one of k answers is right; bands are 95 % intervals over problems.",
            plots.pass_at_k(reports, plots.colours([report.model for report in reports])),
        ),
    ]
    pages = environment()
    pages.filters["signed"] = signed
    page = pages.get_template("comparison.html.j2").render(
        title=title,
        answer=answer(found),
        found=found,
        rows=rows,
        plots=[plot for plot in drawn if plot is not None],
    )
    write_text(output, page)
    return output


def answer(found: PairedComparison) -> str:
    """The result in a sentence, by Pass@k for the smallest k."""
    if not found.pass_at_k:
        return "Too few answers could be graded: no problem has an estimate in both evaluations."
    k, first = next(iter(found.pass_at_k.items()))
    one, other = found.one.model, found.other.model
    low, high = signed(first.difference.low), signed(first.difference.high)
    said = (
        f"{other} reaches Pass@{k} {percent(first.other)}, {one} {percent(first.one)}: a difference of "
        f"{signed(first.difference.estimate)} points [{low}, {high}], p = {first.p:.2g}, over "
        f"{first.difference.problems} problems."
    )
    unlike = f" They were drawn with other settings: {', '.join(found.differing)}." if found.differing else ""
    return f"{said} {_verdict(first, one, other)}{unlike}"


def _verdict(first: PairedDifference, one: str, other: str) -> str:
    if first.difference.few:
        return "That is too few problems to tell the two apart."
    if first.p >= _SURE or first.difference.low <= 0 <= first.difference.high:
        return "These problems do not tell the two apart."
    better, worse = (other, one) if first.difference.estimate > 0 else (one, other)
    return f"{better} is better than {worse} on problems like these."


def _mean(estimate: Estimate) -> dict[str, float]:
    return {"mean": estimate.estimate, "low": estimate.low, "high": estimate.high}
