"""Results as tables in a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from lens_core.cli.console import PlainConsole
from lens_core.cli.output import say
from lens_core.cli.visible import visible
from lens_core.evaluation.by_problem import PairedComparison
from lens_core.evaluation.metrics import METRICS, METRICS_BY_K, in_words
from lens_core.evaluation.passk import FEW, FEW_NOTE, Estimate
from lens_core.evaluation.records import PassKReport, Slice
from lens_core.evaluation.verdict import Verdict, signed
from lens_core.tracking import differing

if TYPE_CHECKING:
    from lens_core.cli.doctor import Check
    from lens_core.tracking import RunRow

_DUELS = 5
"""Problems shown from each end of the list of wins and losses; the report has them all."""


def print_tables(reports: Sequence[PassKReport]) -> None:
    """Pass@k of each model, then its Pass@1 by level, in percent with 95 % intervals."""
    ks, levels = reports[0].ks, sorted({level for report in reports for level in report.levels})
    console = PlainConsole()
    table = Table(title=f"Pass@k, % [95 % interval], {reports[0].problems} problems x {reports[0].n} completions")
    by_level = Table(title=f"Pass@{ks[0]} by level, %")
    table.add_column("")
    by_level.add_column("")
    for k in ks:
        table.add_column(f"Pass@{k}", justify="right")
    for level in levels:
        by_level.add_column(f"level {level}", justify="right")
    for report in reports:
        table.add_row(report.model, *(_cell(report.overall, k) for k in ks))
        by_level.add_row(report.model, *(_cell(report.levels.get(level, {}), ks[0]) for level in levels))
    console.print(table)
    if levels:
        console.print(by_level)


def print_verdict(verdict: Verdict) -> None:
    """A blank line, and the verdict's sentences, a line each."""
    for line in ("", *filter(None, (*verdict.lines, verdict.scope))):
        say(line)


def print_evaluation(report: PassKReport) -> None:
    """All that an evaluation found: every metric and the reliability table; by level, subject and source as well."""
    console = PlainConsole()
    table = Table(title=f"{report.model}, % [95 % interval], {report.problems} problems x {report.n} completions")
    for title in ("", *(f"k = {k}" for k in report.ks)):
        table.add_column(title, justify="right" if title else "left")
    for metric in METRICS_BY_K:
        table.add_row(f"{metric.title}k", *(_cell(report.by_k.get(metric.name, {}), k) for k in report.ks))
    console.print(table)
    for name, parts in report.slices.items():
        console.print(_slices_table(name, parts, report.ks))
    if report.few:
        console.print(FEW_NOTE)
    console.print(in_words(report))
    if report.reliability:
        console.print(_reliability_table(report))


def _slices_table(name: str, parts: Mapping[str, Slice], ks: Sequence[int]) -> Table:
    """Pass@k for the first and the last k, the others for the last: more would not fit a terminal."""
    first, *others = METRICS_BY_K
    by_k = [*((first, k) for k in dict.fromkeys((ks[0], ks[-1]))), *((metric, ks[-1]) for metric in others)]
    columns = [metric for metric in METRICS if metric.column]
    table = Table(title=f"By {name}, %")
    table.add_column(name)
    titles = [
        *(f"{metric.title}{k}" for metric, k in by_k),
        *(metric.title.replace(" ", "\n") for metric in columns),
        "Problems",
    ]
    for title in titles:
        table.add_column(title, justify="right")
    for value, of in parts.items():
        table.add_row(
            value,
            *(_cell(of.by_k.get(metric.name, {}), k) for metric, k in by_k),
            *(metric.text(of.values.get(metric.name)) for metric in columns),
            str(of.problems),
        )
    return table


def _reliability_table(report: PassKReport) -> Table:
    table = Table(title="Confidence and correctness")
    for title in ("confidence", "answers", "mean confidence, %", "right, %"):
        table.add_column(title, justify="right")
    for row in report.reliability:
        between = f"{row.low:.1f} to {row.high:.1f}"
        table.add_row(between, str(row.answers), f"{100 * row.confidence:.1f}", f"{100 * row.right:.1f}")
    return table


def print_comparison(found: PairedComparison) -> None:
    """Paired differences for every k, and wins and losses."""
    one, other = found.one.model, found.other.model
    table = Table(title=f"{other} minus {one}, pp [95 % interval]")
    for title in ("", one, other, "difference", "p", "problems"):
        table.add_column(title, justify="right" if title else "left")
    for name, each in found.rows().items():
        of = each.difference
        table.add_row(
            name,
            f"{100 * each.one:.1f}",
            f"{100 * each.other:.1f}",
            f"{signed(of.estimate)} [{signed(of.low)}, {signed(of.high)}]",
            f"{each.p:.2g}",
            f"{of.problems} {FEW}" if of.few else str(of.problems),
        )
    console = PlainConsole()
    console.print(table)
    if any(each.difference.few for each in found.rows().values()):
        console.print(FEW_NOTE)
    wins = f"wins {found.wins} problems, loses {found.losses}, ties {found.ties}"
    console.print(f"{other} {wins} (sign test: p = {found.sign_p:.2g})")
    duels = [duel for duel in found.duels if duel.difference]
    shown = duels if len(duels) <= 2 * _DUELS else duels[:_DUELS] + duels[-_DUELS:]
    table = Table(title=f"Largest losses and wins of {other}, correct completions")
    for title in ("problem", "level", one, other, "difference"):
        table.add_column(title, justify="left" if title == "problem" else "right", overflow="fold")
    for duel in shown:
        assert duel.difference is not None
        counts = (f"{right} of {graded}" for graded, right in (duel.one, duel.other))
        table.add_row(duel.problem, "" if duel.level is None else str(duel.level), *counts, signed(duel.difference))
    if shown:
        console.print(table)


def _cell(estimates: Mapping[int, Estimate], k: int) -> str:
    if k not in estimates:
        return "not graded"
    return estimates[k].text


def print_study(found: Mapping[str, Any]) -> None:
    """Pass@k of each method over seeds, with the paired differences to the reference."""
    k, by_method = next(iter(found["pass_at_k"].items()))
    table = Table(title=f"Pass@{k}, %, mean over {len(found['seeds'])} seeds [95 % interval]")
    for title in ("", f"Pass@{k}", f"minus {found['reference']}, pp", "p", "p corrected"):
        table.add_column(title, justify="right" if title else "left")
    for method, of in by_method.items():
        mean, each = of["mean"], of.get("difference")
        cells = [f"{100 * mean['mean']:.1f} [{100 * mean['low']:.1f}, {100 * mean['high']:.1f}]"]
        if each is not None:
            low, high = signed(each["mean"]["low"]), signed(each["mean"]["high"])
            cells += [f"{signed(each['mean']['mean'])} [{low}, {high}]", f"{each['p']:.3f}", f"{each['p_holm']:.3f}"]
        table.add_row(method, *cells)
    PlainConsole().print(table)


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
    PlainConsole().print(table)


def print_runs(rows: Sequence[RunRow]) -> None:
    """Pipeline runs, with their stages and trials indented below them."""
    table = Table(title=f"Runs, the newest first, at {datetime.now():%H:%M}")
    for title in ("run", "status", "method", "Pass@1", "age", "took", "id"):
        table.add_column(title, justify="right" if title in ("Pass@1", "age", "took") else "left")
    colours = {"FINISHED": "green", "RUNNING": "cyan", "FAILED": "red", "KILLED": "yellow"}
    now = time.time()
    for row in rows:
        name = Text(visible("  " * row.depth + row.name), style="bold" if row.depth == 0 else "")
        status = Text(visible(row.status.lower()), style=colours.get(row.status, ""))
        reached = "" if row.pass_at_1 is None else f"{100 * row.pass_at_1:.1f} %"
        took = duration((now if row.ended_s is None else row.ended_s) - row.started_s)
        table.add_row(name, status, row.method or "", reached, duration(now - row.started_s), took, row.id[:8])
    PlainConsole().print(table)


def print_two_runs(a: RunRow, b: RunRow) -> None:
    """Parameters that differ, and the metrics that either has; those of the machine are left out."""
    titles = [f"{row.run} / {row.name}\n{row.id[:8]}" for row in (a, b)]
    params = Table("parameter", *titles, title="Parameters that differ")
    for key, pair in differing(a.params, b.params).items():
        params.add_row(key, *("-" if value is None else value for value in pair))
    metrics = Table("metric", *titles, "difference", title="Metrics, the last of each")
    for key in sorted({*a.metrics, *b.metrics}):
        if not key.startswith("system/"):
            values = [row.metrics.get(key) for row in (a, b)]
            known = [value for value in values if value is not None]
            difference = f"{known[1] - known[0]:+.4g}" if len(known) == 2 else ""
            metrics.add_row(key, *("-" if value is None else f"{value:.4g}" for value in values), difference)
    for table in (params, metrics):
        if table.row_count:
            PlainConsole().print(table)


def print_checks(checks: Sequence[Check]) -> None:
    """What `lens doctor` has looked at, and below it how to mend what is not in order."""
    colours = {"ok": "green", "missing": "yellow", "broken": "red"}
    table = Table(show_header=False)
    for check in checks:
        table.add_row(check.name, Text(check.status, colours[check.status]), check.found)
    console = PlainConsole()
    console.print(table)
    for check in checks:
        if check.remedy:
            console.print(f"{check.name}: {check.remedy}", soft_wrap=True)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h`, `2 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def print_plan(plan: Mapping[str, Mapping[str, str]]) -> None:
    """What a training would generate, update and occupy (see `lens_core.stages.plan`)."""
    for title, rows in plan.items():
        table = Table(title=title, title_justify="left", show_header=False)
        for name, value in rows.items():
            table.add_row(name, value)
        PlainConsole().print(table)
