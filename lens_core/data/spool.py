"""Lines that wait on disk: what is too much for memory while a data folder is made."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType


class Spool:
    """A temporary file of lines without a name, which are read back in any order; it is gone when it is closed.

    Args:
        beside: the file lies on the disk of this path, which need not exist yet.
    """

    def __init__(self, beside: Path) -> None:
        folder = beside.absolute()
        while not folder.is_dir():
            folder = folder.parent
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed in __exit__
        self._end = 0
        self.count = 0

    def append(self, line: bytes) -> int:
        """Add a line without its end, and return where it begins."""
        start = self._end
        self._file.seek(start)
        self._end += self._file.write(line + b"\n")
        self.count += 1
        return start

    def read(self, start: int) -> bytes:
        """The line that begins at `start`, with its end."""
        self._file.seek(start)
        return self._file.readline()

    def lines(self, starts: array[int] | None = None) -> Iterator[bytes]:
        """The lines that begin at `starts`, in that order; None: all."""
        if starts is None:
            self._file.seek(0)
            yield from self._file
        else:
            yield from map(self.read, starts)

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
