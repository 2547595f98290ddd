"""Plots of a run, from plain records; a plot without data is None."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lens_core.evaluation.by_problem import PairedComparison
from lens_core.evaluation.passk import Estimate
from lens_core.evaluation.records import PassKReport

Colours = Mapping[str, str]
History = Sequence[Mapping[str, float]]

# Okabe and Ito's palette, which colour-blind readers can tell apart; one fixed colour a method.
_FIXED = {"base": "#6b6b6b", "grpo": "#0072b2", "lens": "#d55e00"}
_OTHERS = ("#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#999933", "#332288", "#44aa99", "#aa4499", "#117733")
_WINDOW_SHARE = 0.1
_LEGEND_INSIDE = 4
"""Entries that fit inside the axes; more would cover the curves and go below."""
_TICKS, _LONG_TICK = 8, 6
"""Labels that fit below an axis, and the characters of one from which they have to stand upright."""


in_own_style = matplotlib.style.context("default")
"""Decorator: matplotlib would also take settings from a file `matplotlibrc` in the working directory."""


def colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each label."""
    others = [label for label in labels if label not in _FIXED]
    return {**_FIXED, **{label: _OTHERS[index % len(_OTHERS)] for index, label in enumerate(others)}}


def pass_at_k(reports: Sequence[PassKReport], colour: Colours) -> Figure:
    """Pass@k curves with interval bands; k on a log axis."""
    figure, axes = _figure("k (completions allowed)", "Pass@k, %")
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


def pass_at_k_gain(comparisons: Sequence[PairedComparison], colour: Colours) -> Figure | None:
    """Pass@k minus that of the policy that all are compared with, by k, with paired intervals: curves of policies from
    one base lie too close to tell them apart.
    """
    if not any(found.pass_at_k for found in comparisons):
        return None
    one = comparisons[0].one
    figure, axes = _figure("k (completions allowed)", f"Pass@k minus {one.model}, pp")
    spread = 0.06 * (np.arange(len(comparisons)) - (len(comparisons) - 1) / 2)
    for offset, found in zip(spread, comparisons, strict=True):
        name = found.other.model
        _errorbars(
            axes,
            [k * 2**offset for k in found.pass_at_k],
            [_interval(each.difference) for each in found.pass_at_k.values()],
            color=colour[name],
            label=name,
            linestyle="-",
        )
    axes.axhline(0, color=colour[one.model], linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(one.ks), [str(k) for k in one.ks])
    axes.minorticks_off()
    _legend(axes)
    return figure


def forest(comparisons: Sequence[PairedComparison], colour: Colours) -> Figure | None:
    """Every paired difference with its interval: a row for each k and each level, a mark for each comparison."""
    rows = dict.fromkeys(name for found in comparisons for name in _forest_rows(found))
    if not rows:
        return None
    figure, axes = _figure("Difference, percentage points", "")
    figure.set_size_inches(5.2, max(1.8, 0.9 + len(rows) * (0.14 + 0.14 * len(comparisons))))
    references = list(dict.fromkeys(found.one.model for found in comparisons))
    at = {row: place for place, row in enumerate(rows)}
    for index, found in enumerate(comparisons):
        of = _forest_rows(found)
        _errorbars(
            axes,
            [at[row] + 0.7 * ((index + 0.5) / len(comparisons) - 0.5) for row in of],
            list(map(_interval, of.values())),
            sideways=True,
            color=colour[found.other.model],
            label=f"{found.other.model} − {found.one.model}",
            marker="os^v"[references.index(found.one.model) % 4],
        )
    axes.axvline(0, color="#333333", linewidth=1)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    _legend(axes, below=True)
    return figure


def _forest_rows(found: PairedComparison) -> dict[str, Estimate]:
    overall = {f"Pass@{k}": each.difference for k, each in found.pass_at_k.items()}
    k = next(iter(found.pass_at_k), 1)
    return overall | {f"level {level}, Pass@{k}": each.difference for level, each in found.levels.items()}


Interval = tuple[float, float, float]
"""Low, mean, high; low and high are NaN where there is no interval."""


def _interval(estimate: Estimate) -> Interval:
    return estimate.low, estimate.estimate, estimate.high


def _errorbars(
    axes: Axes, places: Sequence[float], intervals: Sequence[Interval], sideways: bool = False, **style: Any
) -> None:
    """Points with their intervals, in percentage points, along x; `sideways`: along y."""
    low, means, high = 100 * np.array(intervals).T
    spans = np.maximum(0, [means - low, high - means])
    style = {"marker": "o", "markersize": 5, "linestyle": "none", "capsize": 3, **style}
    if sideways:
        axes.errorbar(means, places, xerr=spans, **style)
    else:
        axes.errorbar(places, means, yerr=spans, **style)


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
    _legend(axes, below=True)
    return figure


def over_steps(
    histories: Mapping[str, History], keys: Mapping[str, str], ylabel: str, colour: Colours, percent: bool = False
) -> Figure | None:
    """Training curves: thin as logged, bold as a centred moving average. Steps without a finite number are left out.

    Below the curves of several methods, which may lie on one another, each minus the first one's, smoothed.

    Args:
        keys: metric -> line style; a second style tells a method's second metric from its first.
    """
    curves = _curves(histories, keys, 100 if percent else 1)
    if not curves:
        return None
    first = next(iter(curves))[0]
    others = {name: _minus(curve, curves[first, name[1]]) for name, curve in curves.items() if _follows(name, curves)}
    figure, axes, below = _panels("Training step", ylabel, f"minus {first}" if others else None)
    for (label, key), (steps, values) in curves.items():
        suffix = f" {key.rsplit('/', 1)[-1]}" if len(keys) > 1 else ""
        style: dict[str, Any] = {"color": colour[label], "linestyle": keys[key]}
        axes.plot(steps, values, alpha=0.25, linewidth=0.8, **style)
        axes.plot(steps, _smooth(values), linewidth=2, label=label + suffix, **style)
    if below is not None:
        below.axhline(0, color=colour[first], linewidth=1)
        for (label, key), (steps, values) in others.items():
            below.plot(steps, _smooth(values), linewidth=2, color=colour[label], linestyle=keys[key])
    _legend(axes)
    return figure


Curve = tuple[np.ndarray, np.ndarray]
"""Steps, and the value at each."""


def _curves(histories: Mapping[str, History], keys: Mapping[str, str], factor: float) -> dict[tuple[str, str], Curve]:
    """(method, metric) -> its curve, where something was measured."""
    found = {}
    for label, history in histories.items():
        for key in keys:
            points = [(entry["step"], factor * entry[key]) for entry in history if measured(entry, key)]
            if points:
                steps, values = np.array(points).T
                found[label, key] = (steps, values)
    return found


def _follows(name: tuple[str, str], curves: Mapping[tuple[str, str], Curve]) -> bool:
    """Whether there is a curve of the first method's that this one can be drawn against."""
    first = next(iter(curves))[0], name[1]
    return name != first and first in curves and bool(np.isin(curves[name][0], curves[first][0]).any())


def _minus(curve: Curve, other: Curve) -> Curve:
    """At the steps of both."""
    steps, here, there = np.intersect1d(curve[0], other[0], return_indices=True)
    return steps, curve[1][here] - other[1][there]


def rescued_tokens(histories: Mapping[str, History], colour: Colours) -> Figure | None:
    """The fraction of tokens that only all-wrong groups give a gradient, and below it how large that gradient is."""
    rescued, loud, mixed = "lens/tokens/rescued", "lens/advantage_rms/negative", "lens/advantage_rms/mixed"
    fractions = _curves(histories, {rescued: "-"}, 100)
    if not fractions:
        return None
    sizes = _curves(histories, {loud: "--", mixed: "-"}, 1)
    sizes = {name: (steps[values > 0], values[values > 0]) for name, (steps, values) in sizes.items()}
    sizes = {name: curve for name, curve in sizes.items() if len(curve[0])}
    figure, axes, below = _panels("Training step", "Tokens, %", "Advantage, rms" if sizes else None)
    for (label, _), (steps, values) in fractions.items():
        axes.plot(steps, values, alpha=0.25, linewidth=0.8, color=colour[label])
        axes.plot(steps, _smooth(values), linewidth=2, color=colour[label], label=label)
    if below is not None:
        for (label, key), (steps, values) in sizes.items():
            below.plot(steps, values, color=colour[label], linestyle="--" if key == loud else "-", linewidth=1.5)
        below.set_yscale("log")
    _legend(axes)
    return figure


def differences(by_method: Mapping[str, Mapping[str, Any]], colour: Colours) -> Figure | None:
    """A method a row: its paired difference to the reference in percentage points, with its interval."""
    found = {method: of["difference"]["mean"] for method, of in by_method.items() if "difference" in of}
    if not found:
        return None
    figure, axes = _figure("Difference, percentage points", "")
    figure.set_size_inches(5.2, max(1.8, 0.9 + 0.3 * len(found)))
    for row, (method, mean) in enumerate(found.items()):
        _whisker(axes, mean, row, colour[method])
    axes.axvline(0, color="#333333", linewidth=1)
    axes.set_yticks(range(len(found)), list(found))
    axes.set_ylim(len(found) - 0.5, -0.5)
    return figure


def differences_by_level(levels: Mapping[str, Mapping[str, Mapping[str, Any]]], colour: Colours) -> Figure | None:
    """The same for each level, methods side by side."""
    methods = list(dict.fromkeys(m for of in levels.values() for m, each in of.items() if "difference" in each))
    if not methods:
        return None
    figure, axes = _figure("Level", "Difference, percentage points")
    width = 0.8 / len(methods)
    for index, method in enumerate(methods):
        offset = (index - (len(methods) - 1) / 2) * width
        for place, of in enumerate(levels.values()):
            if "difference" in of.get(method, {}):
                mean = of[method]["difference"]["mean"]
                _whisker(axes, mean, place + offset, colour[method], upright=True, label=None if place else method)
    axes.axhline(0, color="#333333", linewidth=1)
    axes.set_xticks(range(len(levels)), list(levels))
    _legend(axes)
    return figure


def by_parameter(
    parameter: str, values: Mapping[str, float], by_method: Mapping[str, Mapping[str, Any]], reference: str
) -> Figure | None:
    """Means over seeds against a parameter in which methods differ, and the reference as a band."""
    points = sorted((value, by_method[method]["mean"]) for method, value in values.items() if method in by_method)
    if len(points) < 2:
        return None
    figure, axes = _figure(parameter, "Mean over seeds, %")
    if reference in by_method:
        of = by_method[reference]["mean"]
        axes.axhline(100 * of["mean"], color="#8a94a6", linewidth=1)
        axes.axhspan(100 * of["low"], 100 * of["high"], color="#8a94a6", alpha=0.15, linewidth=0)
    x = [value for value, _ in points]
    means = [100 * mean["mean"] for _, mean in points]
    errors = [[100 * (m["mean"] - m["low"]) for _, m in points], [100 * (m["high"] - m["mean"]) for _, m in points]]
    axes.errorbar(x, means, yerr=errors, color="#d55e00", marker="o", capsize=3)
    if x[0] > 0 and x[-1] >= 10 * x[0]:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(x, [f"{value:g}" for value in x])
    return figure


def learning_curves(trials: Sequence[Mapping[str, Any]], target: str, best: str) -> Figure | None:
    """A line a trial: the target against the step; that with the id `best` bold, pruned ones end with a cross."""
    figure, axes = _figure("Training step", f"{target}, %")
    curves = [trial for trial in trials if trial["history"]]
    if not curves:
        return None
    for trial in curves:
        steps = [report["step"] for report in trial["history"]]
        values = [100 * report["pass_at_k"] for report in trial["history"]]
        front = trial["id"] == best
        axes.plot(steps, values, color="#d55e00" if front else "#8a94a6", linewidth=2 if front else 1, zorder=2 + front)
        axes.plot(
            steps[-1:],
            values[-1:],
            marker="x" if trial["status"] == "pruned" else "o",
            color=axes.lines[-1].get_color(),
        )
    return figure


def importances(shares: Mapping[str, float]) -> Figure:
    """A bar a value: the share of the variation that it explains, the largest on top."""
    figure, axes = _figure("Share, %", "")
    ordered = sorted(shares.items(), key=lambda item: item[1])
    bars = axes.barh([name for name, _ in ordered], [100 * share for _, share in ordered], color="#0072b2")
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.grid(visible=False)
    return figure


def reward_by_tokens(histories: Mapping[str, Mapping[int, History]], colour: Colours) -> Figure | None:
    """Mean reward over seeds against the completion tokens generated so far; smoothed."""
    figure, axes = _figure("Generated tokens, thousands", "Mean reward")
    for method, by_seed in histories.items():
        curves = [
            np.array([(step["lens/tokens/generated"] / 1000, step["reward"]) for step in steps if "reward" in step]).T
            for steps in by_seed.values()
            if len(steps) > 1
        ]
        if not curves:
            continue
        grid = np.linspace(max(tokens[0] for tokens, _ in curves), min(tokens[-1] for tokens, _ in curves), 100)
        mean = np.mean([np.interp(grid, tokens, rewards) for tokens, rewards in curves], axis=0)
        axes.plot(grid, _smooth(mean), color=colour[method], linewidth=2, label=method)
    if not axes.lines:
        return None
    _legend(axes)
    return figure


def shares(counts: Mapping[str, Mapping[str, int]], xlabel: str) -> Figure | None:
    """Of each series, the share that lies at each value, as grouped bars in percent; None where there is one value."""
    values = list(dict.fromkeys(value for of in counts.values() for value in of))
    if len(values) < 2:
        return None
    figure, axes = _figure(xlabel, "Share, %")
    width = 0.8 / len(counts)
    for index, (label, of) in enumerate(counts.items()):
        total = max(1, sum(of.values()))
        places = np.arange(len(values)) + (index - (len(counts) - 1) / 2) * width
        bars = [100 * of.get(value, 0) / total for value in values]
        axes.bar(places, bars, width * 0.92, color=_OTHERS[index], label=label)
    stride = -(-len(values) // _TICKS)
    axes.set_xticks(np.arange(len(values))[::stride], values[::stride])
    if max(map(len, values)) > _LONG_TICK:
        axes.tick_params(axis="x", rotation=90)
    _legend(axes, below=True)
    return figure


def _whisker(
    axes: Axes, mean: Mapping[str, float], place: float, colour: str, upright: bool = False, label: str | None = None
) -> None:
    """A point with its interval, in percentage points, at `place` of the other axis."""
    interval = (mean["low"], mean["mean"], mean["high"])
    _errorbars(axes, [place], [interval], sideways=not upright, color=colour, label=label, markersize=6)


def measured(entry: Mapping[str, float], key: str) -> bool:
    return key in entry and math.isfinite(entry[key])


def _at(report: PassKReport, level: int, k: int) -> Estimate | None:
    return report.levels.get(level, {}).get(k)


def _legend(axes: Axes, below: bool = False) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure = axes.get_figure(root=True)
    assert figure is not None
    below = below or len(labels) > _LEGEND_INSIDE
    legend = (
        figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=4 if len(labels) < 5 else 2)
        if below
        else axes.legend(handles, labels, frameon=False)
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a `$` in a label is no formula


def _smooth(values: np.ndarray) -> np.ndarray:
    """Centred moving average over a tenth of the run, with a shorter window towards the ends."""
    half = max(1, round(len(values) * _WINDOW_SHARE / 2))
    return np.array([values[max(0, i - half) : i + half + 1].mean() for i in range(len(values))])


def _panels(xlabel: str, ylabel: str, below: str | None) -> tuple[Figure, Axes, Axes | None]:
    """A figure of training curves, with a lower panel of that label where there is one."""
    figure = Figure(figsize=(5.2, 3.2 if below is None else 4.2), layout="constrained")
    if below is None:
        axes = figure.add_subplot()
        _dress(axes, xlabel, ylabel)
    else:
        axes, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        _dress(axes, "", ylabel)
        _dress(lower, xlabel, below)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    return figure, axes, None if below is None else lower


def _figure(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axes = figure.add_subplot()
    _dress(axes, xlabel, ylabel)
    return figure, axes


def _dress(axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_parse_math(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
