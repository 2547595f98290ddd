"""The report of a study: one HTML file, readable without a network and by a person who was not there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lens_core.files import write_text
from lens_core.report import plots
from lens_core.report.run import Plot, draw, environment, percent


@plots.in_own_style
def render_study(
    study: Mapping[str, Any],
    histories: Mapping[str, Mapping[int, plots.History]],
    facts: Mapping[str, str],
    output: Path,
) -> Path:
    """Write the report to `output`, and each plot as `plots/NAME.png` beside it.

    Args:
        study: what `study.json` holds.
        histories: method -> seed -> the steps of its training.
        facts: name -> value, shown as a table at the end.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    pages = environment()
    pages.filters["signed"] = signed
    page = pages.get_template("study.html.j2").render(
        study=study,
        answer=answer(study),
        facts=facts,
        ks=list(study["pass_at_k"]),
        methods=list(study["pass_at_k"][next(iter(study["pass_at_k"]))]),
        plots=_plots(study, histories, output.parent / "plots"),
    )
    write_text(output, page)
    return output


def answer(study: Mapping[str, Any], level: float = 0.05) -> str:
    """The result in a sentence: which methods differ from the reference in Pass@k for the smallest k."""
    k, by_method = next(iter(study["pass_at_k"].items()))
    reference = study["reference"]
    seeds = len(study["seeds"])
    if reference not in by_method:
        return f"No training of {reference} was evaluated: there is nothing to compare with."
    said = f"{reference} reaches Pass@{k} {percent(by_method[reference]['mean']['mean'])}, the mean of {seeds} seeds."
    compared = {method: of["difference"] for method, of in by_method.items() if "difference" in of}
    sure = {method: each for method, each in compared.items() if each["p_holm"] < level}
    for word, better in (("above", True), ("below", False)):
        names = [
            f"{method} ({signed(each['mean']['mean'])})"
            for method, each in sure.items()
            if (each["mean"]["mean"] > 0) == better
        ]
        if names:
            said += f" Certainly {word} it: {', '.join(names)}."
    if len(sure) < len(compared):
        unsure = [method for method in compared if method not in sure]
        said += (
            f" Not told apart from it at the 5 % level, corrected for {len(compared)} comparisons: {', '.join(unsure)}."
        )
    smallest = 2.0 ** (1 - seeds) * len(compared)
    if compared and smallest > level:
        said += f" With {seeds} seeds no difference could be certain: the smallest corrected p is {smallest:.2g}."
    return said


def signed(share: float) -> str:
    """`+1.2` points of a percent."""
    return f"{100 * share:+.1f}"


def _plots(study: Mapping[str, Any], histories: Mapping[str, Mapping[int, plots.History]], folder: Path) -> list[Plot]:
    k = next(iter(study["pass_at_k"]))
    colour = plots.colours(list(histories))
    figures: list[tuple[str, str, str, Figure | None]] = [
        (
            "differences",
            f"Pass@{k} less that of {study['reference']}",
            "Mean over seeds, with the 95 % interval of the paired difference; 0 is the reference.",
            plots.differences(study["pass_at_k"][k], colour),
        ),
        (
            "by-level",
            f"Pass@{k} less that of {study['reference']}, by level",
            "Mean over seeds; whiskers are 95 % intervals of the paired difference.",
            plots.differences_by_level(study["levels"], colour),
        ),
        (
            "reward-by-tokens",
            "Reward by generated tokens",
            "Mean reward of the sampled answers, the mean of all seeds: higher sooner is cheaper.",
            plots.reward_by_tokens(histories, colour),
        ),
        *(
            (
                f"by-{parameter}",
                f"Pass@{k} by {parameter}",
                "Methods that differ in nothing else; means with 95 % intervals, the reference in grey.",
                plots.by_parameter(parameter, of, study["pass_at_k"][k], study["reference"]),
            )
            for parameter, of in study["sensitivity"].items()
        ),
    ]
    drawn = [draw(folder, *figure) for figure in figures]
    return [plot for plot in drawn if plot is not None]
