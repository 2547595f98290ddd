"""The report of two evaluations on the same problems: one HTML file, readable without a network."""

from __future__ import annotations

from pathlib import Path

from lens_core.evaluation.by_problem import PairedComparison, verdict
from lens_core.files import write_text
from lens_core.report import plots
from lens_core.report.run import DIFFERENCES, draw, render


@plots.in_own_style
def render_comparison(found: PairedComparison, output: Path) -> Path:
    """Write the report to `output`, and each plot as `plots/NAME.png` beside it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    reports = [found.one, found.other]
    title = f"{found.other.model} vs. {found.one.model}"
    drawn = [
        draw(output.parent / "plots", *DIFFERENCES, plots.forest([found], plots.colours([found.other.model]))),
        draw(
            output.parent / "plots",
            "pass-at-k",
            "Pass@k",
            "The chance that at least one of k completions is correct; bands are 95 % intervals over problems.",
            plots.pass_at_k(reports, plots.colours([report.model for report in reports])),
        ),
    ]
    page = render(
        "comparison.html.j2",
        title=title,
        verdict=verdict([found]),
        found=found,
        rows=found.rows(),
        plots=[plot for plot in drawn if plot is not None],
    )
    write_text(output, page)
    return output
