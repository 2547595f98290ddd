"""Progress of a stage, as values: made where the work is done, shown where a person looks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass

MARK = "lens-progress "
_MOST = 2**53
"""Of what is counted."""


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
        progress = Progress(**{**fields, "rows": tuple(fields["rows"])})
    except (ValueError, KeyError, TypeError, RecursionError):  # two processes may have written into one line
        return None
    return progress if _is_told(progress) else None


def _is_told(progress: Progress) -> bool:
    """Whether the fields are what they are said to be: whatever a step runs may print a line with the mark."""
    numbers, rows = (progress.done, progress.total), progress.rows
    return (
        all(type(number) is int and 0 <= number < _MOST for number in numbers)
        and isinstance(progress.stage, str)
        and isinstance(progress.text, str)
        and all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows)
        and all(isinstance(value, str) for row in rows for value in row.values())
    )


_on_token: ContextVar[Callable[[int, int], None] | None] = ContextVar("on_token", default=None)


def token_drawn(place: int, most: int) -> None:
    """Said by what draws a batch of completions, at each token: its place, and the last that there may be."""
    listener = _on_token.get()
    if listener is not None:
        listener(place, most)


@contextmanager
def drawing_told(listener: Callable[[str], None], every_s: float = 5.0) -> Iterator[None]:
    """Inside the block, `listener` hears how far a batch of completions is that takes long to draw, every so many
    seconds.
    """
    last = time.monotonic()

    def tell(place: int, most: int) -> None:
        nonlocal last
        if time.monotonic() - last >= every_s:
            last = time.monotonic()
            listener(f"drawing, token {place:,} of at most {most:,}")

    token = _on_token.set(tell)
    try:
        yield
    finally:
        _on_token.reset(token)
