"""Progress of a stage, as values: made where the work is done, shown where a person looks."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID

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


class JsonLines:
    """A listener for a log: each progress as one JSON object on a line of stdout, with the time it was told (UTC)."""

    def __init__(self) -> None:
        self._stdout = sys.stdout  # of now: pipeline runs redirect sys.stdout later

    def __call__(self, progress: Progress) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        print(json.dumps({"time": now, **asdict(progress)}), file=self._stdout, flush=True)


class Display:
    """A listener for a person: live bars on a terminal, else a line for each tenth of a stage."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Mapping[str, str], ...]] = {}
        from rich.console import Console, RenderableType
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars
        from rich.table import Table

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
        self.console = Console(file=sys.stdout, highlight=False)
        self._bars = BarsAndRows(
            TextColumn("[bold]{task.description:<16}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}"),
            console=self.console,
            disable=not self.console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._tenths: dict[str, int] = {}
        self._start = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if not self.console.is_terminal:
            self._print(progress)
            return
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._bars.add_task(progress.stage, total=progress.total, text="")
        if progress.rows:
            self._rows[progress.stage] = progress.rows
        task = self._tasks[progress.stage]
        self._bars.update(task, completed=progress.done, total=progress.total, text=progress.text)

    def _print(self, progress: Progress) -> None:
        tenth = 10 * progress.done // progress.total
        if self._tenths.get(progress.stage) == tenth:
            return
        self._tenths[progress.stage] = tenth
        minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
        count = f"{progress.done}/{progress.total}"
        self.console.print(f"{minutes}:{seconds:02d}  {progress.stage:<16} {count:>9}  {progress.text}", soft_wrap=True)

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
