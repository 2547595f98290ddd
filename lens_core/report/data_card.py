"""The data card: one HTML file that says what a data folder holds, where from, and what was removed and why."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from lens_core.data.prepare import REMOVED_FILE, TEST_FILE, TRAIN_FILE, VALIDATION_FILE, first_problems
from lens_core.data.summary import LENGTH_STEP, LONGEST, DataSummary, Part, read_summary
from lens_core.files import read_lines, write_text
from lens_core.report import plots
from lens_core.report.run import draw, render

DATA_CARD_FILE = "data_card.html"
_EXAMPLES, _REMOVED_SHOWN, _BARS = 3, 50, 15
_FILES = {"train": TRAIN_FILE, "test": TEST_FILE, "validation": VALIDATION_FILE}


def render_card(folder: Path, title: str) -> Path:
    """Write `data_card.html` into a prepared folder, and each plot as `plots/NAME.png`.

    Raises:
        LensError: if `folder` holds no prepared data.
    """
    summary = read_summary(folder)
    examples = {split: first_problems(folder / _FILES[split], _EXAMPLES) for split in summary.parts}
    page = render(
        "data_card.html.j2",
        title=title,
        answer=_answer(summary),
        summary=summary,
        tables=_tables(summary.parts),
        plots=[plot for each in _plots(summary.parts) if (plot := draw(folder / "plots", *each)) is not None],
        digests={
            "train": summary.train_digest,
            "test": summary.test_digest,
            "validation": summary.validation_digest,
        },
        removals=_removals(summary),
        removed=_removed(folder / REMOVED_FILE),
        examples=examples,
    )
    path = folder / DATA_CARD_FILE
    write_text(path, page)
    return path


def _answer(summary: DataSummary) -> str:
    """The folder in a sentence or two."""
    held = f" and {summary.validation:,} to choose by" if summary.validation else ""
    shortfalls = [
        f"{source.path or source.kind} was asked for {source.asked:,} problems and has {source.taken:,}"
        for source in summary.sources
        if source.asked is not None and source.taken < source.asked
    ]
    short = f" {'; '.join(shortfalls)}." if shortfalls else ""
    conflicts = f" {summary.conflicts_in_words}." if summary.conflicting else ""
    return f"{summary.train:,} problems to train on, {summary.test:,} to evaluate on{held}.{short}{conflicts}"


def _tables(parts: Mapping[str, Part]) -> dict[str, dict[str, dict[str, int]]]:
    """What is counted -> value -> split -> number of problems; nothing that no problem has."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for name in ("levels", "sources", "subjects"):
        values = dict.fromkeys(value for part in parts.values() for value in getattr(part, name))
        if list(values) != ["none"]:
            found[name] = {
                value: {split: getattr(part, name).get(value, 0) for split, part in parts.items()} for value in values
            }
    return found


def _plots(parts: Mapping[str, Part]) -> list[tuple[str, str, str, Any]]:
    """(name, title, caption, figure) of every plot."""
    lengths = {
        split: {
            (str(start) if start < LONGEST else f"{LONGEST}+"): part.lengths.get(start, 0)
            for start in range(0, max(length for each in parts.values() for length in each.lengths) + 1, LENGTH_STEP)
        }
        for split, part in parts.items()
    }
    levels = {split: dict(part.levels) for split, part in parts.items() if set(part.levels) != {"none"}}
    most = {split: dict(islice(part.sources.items(), _BARS)) for split, part in parts.items()}
    share = "Share of each split's problems"
    return [
        ("levels", "Levels", f"{share}, by level.", plots.shares(levels, "Level")),
        (
            "lengths",
            "Length of the prompts",
            f"{share}, by characters in steps of {LENGTH_STEP}.",
            plots.shares(lengths, "Characters"),
        ),
        ("sources", "Sources", f"{share}, by source.", plots.shares(most, "")),
    ]


def _removals(summary: DataSummary) -> dict[str, int]:
    """Why a row or problem is not here -> how many."""
    return {
        "bad rows, set aside": summary.bad_rows,
        "prompt had come before in the same split": summary.duplicates_removed,
        "training problem is an evaluation problem, word for word": summary.overlap_removed - summary.near_removed,
        "training problem is nearly an evaluation problem": summary.near_removed,
        **summary.left_out,
    }


def _removed(path: Path) -> list[dict[str, Any]]:
    """The first training problems that were removed, near duplicates first: they are what a person wants to judge."""
    if not path.exists():
        return []
    near: list[dict[str, Any]] = []
    exact: list[dict[str, Any]] = []
    for row in read_lines(path, "match"):
        rows = near if row["match"]["kind"] == "near" else exact
        if len(rows) < _REMOVED_SHOWN:
            rows.append(row)
    return (near + exact)[:_REMOVED_SHOWN]
