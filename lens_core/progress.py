"""Progress of a stage, as values: made where the work is done, shown where a person looks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

MARK = "lens-progress "


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of `stage`; done == total when the stage has ended."""

    stage: str
    done: int
    total: int
    text: str
    rows: tuple[Mapping[str, str], ...] = ()
    """What the stage does side by side, such as trials: a table below its bar, with equal keys in each row."""


Listener = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """For callers that want no progress."""


def print_marked(progress: Progress) -> None:
    """One marked line on stdout: how a pipeline step tells the process that launched it (see `parse_marked`)."""
    print(MARK + json.dumps(asdict(progress)), flush=True)


def parse_marked(line: str) -> Progress | None:
    """The progress in a line that `print_marked` wrote, whatever was put before it; None for any other line."""
    _, mark, text = line.partition(MARK)
    try:
        if not mark:
            return None
        fields = json.loads(text)
        return Progress(**{**fields, "rows": tuple(fields["rows"])})
    except (json.JSONDecodeError, KeyError, TypeError):  # two processes may have written into one line
        return None
