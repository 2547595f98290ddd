"""Progress as a person or a log sees it: bars, lines, or JSON."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING

from lens_core.cli.visible import visible
from lens_core.progress import Progress

if TYPE_CHECKING:
    from rich.progress import TaskID


class Pace:
    """How long stages will still take, by how long they took so far.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._starts: dict[str, tuple[float, int]] = {}

    def left_s(self, progress: Progress) -> float | None:
        """Seconds to the end of its stage; None where nothing has been done since the stage's first progress.

        What was done before that, by an interrupted run, took none of this one's time.
        """
        now = self._clock()
        start, before = self._starts.setdefault(progress.stage, (now, progress.done))
        if progress.done <= before:
            return None
        return (now - start) / (progress.done - before) * (progress.total - progress.done)


class JsonLines:
    """A listener for a log: each progress as one JSON object on a line of stdout, with the time it was told (UTC)."""

    def __init__(self) -> None:
        self._stdout = sys.stdout  # of now: pipeline runs redirect sys.stdout later
        self._pace = Pace()

    def __call__(self, progress: Progress) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        left_s = self._pace.left_s(progress)
        told = {"time": now, **asdict(progress), "left_s": None if left_s is None else round(left_s, 1)}
        print(json.dumps(told), file=self._stdout, flush=True)


class Display:
    """A listener for a person: live bars on a terminal, else a line for each tenth of a stage."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Mapping[str, str], ...]] = {}
        from rich.console import RenderableType
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars
        from rich.table import Column, Table

        from lens_core.cli.console import PlainConsole

        rows = self._rows

        class BarsAndRows(Bars):
            """Each stage's bar, and its rows below."""

            def get_renderables(self) -> Iterable[RenderableType]:
                yield from super().get_renderables()
                for of_stage in rows.values():
                    table = Table(*of_stage[0])
                    for row in of_stage:
                        table.add_row(*row.values())
                    yield table

        # Bound to the stdout of now: pipeline runs redirect sys.stdout later.
        self.console = PlainConsole(None, sys.stdout)
        self._bars = BarsAndRows(
            TextColumn("{task.description:<16}", style="bold", markup=False),
            BarColumn(bar_width=16),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[text]}", markup=False, table_column=Column(ratio=1, overflow="fold")),
            console=self.console,
            disable=not self.console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
            expand=True,
        )
        self._pace = Pace()
        self._tasks: dict[str, TaskID] = {}
        self._tenths: dict[str, int] = {}
        self._start = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        left = _left(self._pace.left_s(progress))
        if not self.console.is_terminal:
            self._print(progress, left)
            return
        if progress.stage not in self._tasks:
            stage = visible(progress.stage)
            self._tasks[progress.stage] = self._bars.add_task(stage, total=progress.total, text="", left="")
        if progress.rows:
            self._rows[progress.stage] = progress.rows
        task = self._tasks[progress.stage]
        self._bars.update(task, completed=progress.done, total=progress.total, text=visible(progress.text), left=left)

    def _print(self, progress: Progress, left: str) -> None:
        tenth = 10 * progress.done // progress.total
        if self._tenths.get(progress.stage) == tenth:
            return
        self._tenths[progress.stage] = tenth
        spent, count = _clock(time.monotonic() - self._start), f"{progress.done}/{progress.total}"
        said = ", ".join(part for part in (" ".join(progress.text.split()), left) if part)
        self.console.print(f"{spent}  {progress.stage:<16} {count:>9}  {said}", soft_wrap=True)

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()


def _left(seconds: float | None) -> str:
    """`1:05 left`; nothing where there is nothing to say."""
    return "" if seconds is None or seconds <= 0 else f"{_clock(math.ceil(seconds))} left"


def _clock(seconds: float) -> str:
    """`1:05`, `2:00:05`"""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
