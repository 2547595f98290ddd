"""The report of a study: one HTML file, readable without a network and by a person who was not there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lens_core.evaluation.verdict import SURE, Finding, Verdict, large_effects, worded
from lens_core.files import write_text
from lens_core.report import plots
from lens_core.report.run import Plot, draw, percent, render


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
    page = render(
        "study.html.j2",
        study=study,
        verdict=verdict(study),
        facts=facts,
        ks=list(study["pass_at_k"]),
        methods=list(study["pass_at_k"][next(iter(study["pass_at_k"]))]),
        plots=_plots(study, histories, output.parent / "plots"),
    )
    write_text(output, page)
    return output


def verdict(study: Mapping[str, Any]) -> Verdict:
    """Which methods are better or worse than the reference, by Pass@k for the smallest k."""
    k, by_method = next(iter(study["pass_at_k"].items()))
    reference, seeds = study["reference"], len(study["seeds"])
    if reference not in by_method:
        return Verdict(
            lines=(f"No training of {reference} was evaluated: there is nothing to compare with.",), scope=""
        )
    lines = worded(_findings(f"Pass@{k}", by_method, reference))
    lines.append(
        f"{reference} reaches Pass@{k} {percent(by_method[reference]['mean']['mean'])}, the mean of {seeds} seeds."
    )
    methods = [method for method in by_method if method != reference]
    by_level = {level: _findings(f"level {level}", of, reference) for level, of in study["levels"].items()}
    for method in methods:
        lines += large_effects([each for of in by_level.values() for each in of if each.other == method])
    smallest = _smallest_p(seeds, len(methods))
    if methods and smallest > SURE:
        lines.append(
            f"With {seeds} seeds no difference can be significant: the smallest corrected p is {smallest:.2g}."
        )
    return Verdict(
        lines=tuple(lines),
        scope=f"This is a statement about these methods in this recipe on these problems, over {seeds} seeds.",
    )


def _findings(measure: str, by_method: Mapping[str, Any], reference: str) -> list[Finding]:
    """Each method against the reference; p is Holm-corrected for the number of methods."""
    compared = {method: of["difference"] for method, of in by_method.items() if "difference" in of}
    return [
        Finding(
            one=reference,
            other=method,
            measure=measure,
            mean=of["mean"]["mean"],
            low=of["mean"]["low"],
            high=of["mean"]["high"],
            p=of["p_holm"],
            pairs=of["mean"]["seeds"],
            unit="seeds",
            few=_smallest_p(of["mean"]["seeds"], len(compared)) > SURE,
        )
        for method, of in compared.items()
    ]


def _smallest_p(seeds: int, comparisons: int) -> float:
    """That a sign-flip test over so many seeds can give, corrected by Holm."""
    return float(2.0 ** (1 - seeds) * comparisons)


def _plots(study: Mapping[str, Any], histories: Mapping[str, Mapping[int, plots.History]], folder: Path) -> list[Plot]:
    k = next(iter(study["pass_at_k"]))
    colour = plots.colours(list(histories))
    figures: list[tuple[str, str, str, Figure | None]] = [
        (
            "differences",
            f"Pass@{k} minus {study['reference']}",
            "Mean over seeds, with the 95 % interval of the paired difference; 0 is the reference.",
            plots.differences(study["pass_at_k"][k], colour),
        ),
        (
            "by-level",
            f"Pass@{k} minus {study['reference']}, by level",
            "Mean over seeds; whiskers are 95 % intervals of the paired difference.",
            plots.differences_by_level(study["levels"], colour),
        ),
        (
            "reward-by-tokens",
            "Reward by generated tokens",
            "Mean reward of the sampled completions, the mean of all seeds: higher sooner is cheaper.",
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
