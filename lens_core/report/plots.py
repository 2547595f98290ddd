"""Plots of a run, from plain records; a plot without data is None."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lens_core.evaluation.records import PassKReport
from lens_core.passk import Estimate

Colours = Mapping[str, str]
History = Sequence[Mapping[str, float]]

# Okabe and Ito's palette, which colour-blind readers can tell apart; one fixed colour a method.
_FIXED = {"base": "#6b6b6b", "grpo": "#0072b2", "lens": "#d55e00"}
_OTHERS = ("#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_WINDOW_SHARE = 0.1
_LEGEND_INSIDE = 4
"""Entries that fit inside the axes; more would cover the curves and go below."""


def colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each label."""
    others = [label for label in labels if label not in _FIXED]
    return {**_FIXED, **{label: _OTHERS[index % len(_OTHERS)] for index, label in enumerate(others)}}


def pass_at_k(reports: Sequence[PassKReport], colour: Colours) -> Figure:
    """Pass@k curves with interval bands; k on a log axis."""
    figure, axes = _figure("k (answers allowed)", "Pass@k, %")
    for report in reports:
        ks = sorted(report.overall)
        estimates = [report.overall[k] for k in ks]
        axes.plot(ks, [100 * e.estimate for e in estimates], marker="o", color=colour[report.model], label=report.model)
        axes.fill_between(
            ks,
            [100 * e.low for e in estimates],
            [100 * e.high for e in estimates],
            color=colour[report.model],
            alpha=0.15,
            linewidth=0,
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(reports[0].ks), [str(k) for k in reports[0].ks])
    axes.minorticks_off()
    _legend(axes)
    return figure


def by_level(reports: Sequence[PassKReport], colour: Colours) -> Figure | None:
    """Pass@k for the smallest k, by level, as grouped bars with their intervals; no bar without an estimate."""
    levels = sorted({level for report in reports for level in report.levels})
    if not levels:
        return None
    k = reports[0].ks[0]
    figure, axes = _figure("Level", f"Pass@{k}, %")
    width = 0.8 / len(reports)
    for index, report in enumerate(reports):
        found = {place: _at(report, level, k) for place, level in enumerate(levels)}
        estimates = {place: estimate for place, estimate in found.items() if estimate is not None}
        means = np.array([100 * e.estimate for e in estimates.values()])
        lows = np.array([100 * e.low for e in estimates.values()])
        highs = np.array([100 * e.high for e in estimates.values()])
        places = np.array(list(estimates)) + (index - (len(reports) - 1) / 2) * width
        axes.bar(
            places,
            means,
            width * 0.92,
            yerr=[means - lows, highs - means],
            color=colour[report.model],
            label=report.model,
            error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#333333"},
        )
    axes.set_xticks(np.arange(len(levels)), [str(level) for level in levels])
    _legend(axes)
    return figure


def over_steps(
    histories: Mapping[str, History], keys: Mapping[str, str], ylabel: str, colour: Colours, percent: bool = False
) -> Figure | None:
    """Training curves: thin as logged, bold as a centred moving average. Steps without a finite number are left out.

    Args:
        keys: metric -> line style; a second style tells a method's second metric from its first.
    """
    figure, axes = _figure("Training step", ylabel)
    factor = 100 if percent else 1
    for label, history in histories.items():
        for key, style in keys.items():
            points = [(entry["step"], factor * entry[key]) for entry in history if _measured(entry, key)]
            if not points:
                continue
            steps, values = np.array(points).T
            axes.plot(steps, values, color=colour[label], alpha=0.25, linewidth=0.8, linestyle=style)
            suffix = f" {key.rsplit('/', 1)[-1]}" if len(keys) > 1 else ""
            axes.plot(steps, _smooth(values), color=colour[label], linewidth=2, linestyle=style, label=label + suffix)
    if not axes.lines:
        return None
    _legend(axes)
    return figure


def _measured(entry: Mapping[str, float], key: str) -> bool:
    return key in entry and math.isfinite(entry[key])


def _at(report: PassKReport, level: int, k: int) -> Estimate | None:
    return report.levels.get(level, {}).get(k)


def _legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure = axes.get_figure(root=True)
    assert figure is not None
    few = len(labels) <= _LEGEND_INSIDE
    legend = (
        axes.legend(handles, labels, frameon=False)
        if few
        else figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=2)
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a `$` in a label is no formula


def _smooth(values: np.ndarray) -> np.ndarray:
    """Centred moving average over a tenth of the run, with a shorter window towards the ends."""
    half = max(1, round(len(values) * _WINDOW_SHARE / 2))
    return np.array([values[max(0, i - half) : i + half + 1].mean() for i in range(len(values))])


def _figure(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes
