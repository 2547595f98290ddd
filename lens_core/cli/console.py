"""Tables and lines by Rich: what others wrote is shown as it is written, and nothing in it is obeyed."""

from __future__ import annotations

import sys
from typing import IO, Any

from rich.console import Console
from rich.text import Text

from lens_core.cli.visible import visible


class PlainConsole(Console):
    """A console on which strings are text: no markup, no emoji, control characters visible.

    What is a `Text` already passes as it is: make it of `visible` text.

    Args:
        width: columns where there is no terminal, wide enough for every table; None: Rich's choice.
        file: where to; None: stdout.
    """

    def __init__(self, width: int | None = 140, file: IO[str] | None = None) -> None:
        file = sys.stdout if file is None else file
        super().__init__(width=None if file.isatty() else width, file=file, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Where Rich makes what it prints of every string: cells, titles and lines."""
        return super().render_str(visible(text), **options)
