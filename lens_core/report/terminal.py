"""Results as tables in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from lens_core.evaluation.records import PassKReport
from lens_core.passk import Estimate
from lens_core.report.study import signed


def _console() -> Console:
    """Of the terminal's width; wide enough for every table where there is none."""
    return Console(width=None if sys.stdout.isatty() else 140)


def print_tables(reports: Sequence[PassKReport]) -> None:
    """Pass@k of each model, then its Pass@1 by level, in percent with 95 % intervals."""
    def cell(estimates: Mapping[int, Estimate], k: int) -> str:
        if k not in estimates:
            return "not graded"
        return f"{100 * estimates[k].estimate:.1f} [{100 * estimates[k].low:.1f}, {100 * estimates[k].high:.1f}]"

    ks, levels = reports[0].ks, sorted({level for report in reports for level in report.levels})
    console = _console()
    table = Table(title=f"Pass@k, % [95 % interval], {reports[0].problems} problems x {reports[0].n} answers")
    by_level = Table(title=f"Pass@{ks[0]} by level, %")
    table.add_column("")
    by_level.add_column("")
    for k in ks:
        table.add_column(f"Pass@{k}", justify="right")
    for level in levels:
        by_level.add_column(f"level {level}", justify="right")
    for report in reports:
        table.add_row(report.model, *(cell(report.overall, k) for k in ks))
        by_level.add_row(report.model, *(cell(report.levels.get(level, {}), ks[0]) for level in levels))
    console.print(table)
    if levels:
        console.print(by_level)


def print_study(found: Mapping[str, Any]) -> None:
    """Pass@k of each method over seeds, with the paired differences to the reference."""
    k, by_method = next(iter(found["pass_at_k"].items()))
    table = Table(title=f"Pass@{k}, %, mean over {len(found['seeds'])} seeds [95 % interval]")
    for title in ("", f"Pass@{k}", f"less {found['reference']}", "p", "p corrected"):
        table.add_column(title, justify="right" if title else "left")
    for method, of in by_method.items():
        mean, each = of["mean"], of.get("difference")
        cells = [f"{100 * mean['mean']:.1f} [{100 * mean['low']:.1f}, {100 * mean['high']:.1f}]"]
        if each is not None:
            low, high = signed(each["mean"]["low"]), signed(each["mean"]["high"])
            cells += [f"{signed(each['mean']['mean'])} [{low}, {high}]", f"{each['p']:.3f}", f"{each['p_holm']:.3f}"]
        table.add_row(method, *cells)
    _console().print(table)


def print_sweep(found: Mapping[str, Any], most: int = 10) -> None:
    """The best trials with their values."""
    trials = sorted(found["trials"], key=lambda trial: -1 if trial["value"] is None else trial["value"], reverse=True)
    table = Table(
        title=f"{found['target']} on held-out problems, the best {min(most, len(trials))} of {len(trials)} trials"
    )
    for title in (found["target"], "", "step", *(path.rsplit(".", 1)[-1] for path in trials[0]["values"])):
        table.add_column(title, justify="right")
    for trial in trials[:most]:
        last = trial["history"][-1] if trial["history"] else {"step": 0}
        values = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in trial["values"].values()]
        result = "" if trial["value"] is None else f"{100 * trial['value']:.1f} %"
        table.add_row(result, trial["status"], f"{last['step']:.0f}", *values)
    _console().print(table)


def print_plan(plan: Mapping[str, Mapping[str, str]]) -> None:
    """What a training would generate, update and occupy (see `lens_core.plan`)."""
    for title, rows in plan.items():
        table = Table(title=title, title_justify="left", show_header=False)
        for name, value in rows.items():
            table.add_row(name, value)
        _console().print(table)
