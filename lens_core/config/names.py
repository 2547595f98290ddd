"""What a person may call things that become file names, MLflow's names and words of its queries at once."""

from __future__ import annotations

import re

from lens_core.errors import LensError

_NAME = re.compile(r"\w(?:[\w .+=-]{0,78}[\w.+=-])?")


def checked_name(name: str, what: str) -> str:
    """`name`, if it may be one: letters of any script, digits, spaces, `.`, `_`, `+`, `=` and `-`, at most 80.

    Args:
        what: it is a name of, as the error says it: `the label`.

    Raises:
        LensError: if it may not, before anything is done with it.
    """
    if not _NAME.fullmatch(name):
        raise LensError(
            f"{what} {name[:90]!r} is no name; use at most 80 letters, digits, spaces and . _ + = -, and begin with a "
            "letter or digit"
        )
    return name
