"""The report of a sweep: one HTML file, readable without a network and by a person who was not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter, StrMethodFormatter

from lens_core.files import write_text
from lens_core.report import plots
from lens_core.report.run import Plot, draw, render

_FEWEST = 4
"""Trials below which importances and a response surface would be noise."""


@plots.in_own_style
def render_sweep(sweep: Mapping[str, Any], best: str, output: Path) -> Path:
    """Write the report to `output`, and each plot as `plots/NAME.png` beside it.

    Args:
        sweep: what `sweep.json` holds.
        best: text of the best configuration.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    paths = list(sweep["trials"][0]["values"])
    measured = [trial for trial in sweep["trials"] if trial["value"] is not None and trial["status"] != "failed"]
    ranked = sorted(measured, key=lambda trial: trial["value"], reverse=True)
    others = [trial for trial in sweep["trials"] if trial not in measured]
    page = render(
        "sweep.html.j2",
        sweep=sweep,
        best=next(trial for trial in measured if trial["id"] == sweep["best"]),
        best_config=best,
        trials=ranked + others,
        paths={path: _short(path, paths) for path in paths},
        plots=_plots(sweep, measured, output.parent / "plots"),
    )
    write_text(output, page)
    return output


def _plots(sweep: Mapping[str, Any], measured: Sequence[Mapping[str, Any]], folder: Path) -> list[Plot]:
    target = sweep["target"]
    figures: list[tuple[str, str, str, Figure | None]] = [
        (
            "learning-curves",
            "Learning curves",
            f"{target} on the held-out problems as each trial went on; the best in colour, pruned ones with a cross.",
            plots.learning_curves(sweep["trials"], target, sweep["best"]),
        ),
        *_optuna_plots(measured, target),
    ]
    drawn = [draw(folder, *figure) for figure in figures]
    return [plot for plot in drawn if plot is not None]


def _optuna_plots(measured: Sequence[Mapping[str, Any]], target: str) -> list[tuple[str, str, str, Figure | None]]:
    """Optuna's plots of a study made of our trials, whatever search has made them."""
    import warnings

    import optuna

    varied = [path for path in measured[0]["values"] if len({str(trial["values"][path]) for trial in measured}) > 1]
    if len(measured) < _FEWEST or not varied:
        return []
    # Optuna sets a style of its own, which all later figures would have.
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = _optuna_study(measured, varied)
        draw_with, percents = optuna.visualization.matplotlib, f"{target}, %"
        coordinates = draw_with.plot_parallel_coordinate(study, target_name=percents)
        importances = optuna.importance.get_param_importances(study)
        numeric = [_short(path, varied) for path in varied if isinstance(measured[0]["values"][path], int | float)]
        surface = draw_with.plot_contour(study, params=numeric[:2], target_name=percents) if len(numeric) > 1 else None
    return [
        (
            "importances",
            "What mattered",
            f"Share of the variation in {target} that each value explains (fANOVA); unsure with few trials.",
            plots.importances(importances),
        ),
        (
            "response",
            "Response surface",
            f"{target} over the first two values, interpolated between the trials (dots).",
            None if surface is None else _figure_of(surface, 5.2, 3.2),
        ),
        (
            "parallel-coordinates",
            "Values and results",
            f"A line a trial, from its {target} through its values.",
            _figure_of(coordinates, 13.5, 4.0),
        ),
    ]


def _optuna_study(measured: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    distributions = {path: _distribution([trial["values"][path] for trial in measured]) for path in varied}
    for trial in measured:
        study.add_trial(
            optuna.trial.create_trial(
                params={_short(path, varied): trial["values"][path] for path in varied},
                distributions={_short(path, varied): distributions[path] for path in varied},
                value=100 * trial["value"],
            )
        )
    return study


def _short(path: str, among: Sequence[str]) -> str:
    """The last part of a key path, where no other one ends with it."""
    last = path.rsplit(".", 1)[-1]
    return last if sum(other.rsplit(".", 1)[-1] == last for other in among) == 1 else path


def _distribution(values: Sequence[Any]) -> Any:
    """The range that was seen, on a log scale where it spans more than a factor of ten."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return CategoricalDistribution(sorted(set(values), key=str))
    low, high = float(min(values)), float(max(values))
    return FloatDistribution(low, high, log=low > 0 and high > 10 * low)


def _figure_of(axes: Any, width: float, height: float) -> Figure:
    """The figure, taken out of pyplot's keeping, in our style, with ticks that can be read; its size in inches."""
    from matplotlib import pyplot

    for place in ("left", "center"):  # the page has a title
        axes.set_title("", loc=place)
    figure: Figure = axes.figure
    pyplot.close(figure)
    figure.set_size_inches(width, height)
    for each in figure.axes:
        each.minorticks_off()
        each.tick_params(colors="black", labelsize="medium")
        for axis in (each.xaxis, each.yaxis):
            axis.label.set(color="black", size="medium")
        for label in each.get_yticklabels():  # lines may run below them
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1})
        if isinstance(each.yaxis.get_major_formatter(), ScalarFormatter):
            each.yaxis.set_major_formatter(StrMethodFormatter("{x:.3g}"))
    return figure
