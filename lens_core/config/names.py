"""What a person may call things that become file names, MLflow's names and words of its queries at once; addresses."""

from __future__ import annotations

import re

from lens_core.credentials import masked_address
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


def checked_address(address: str, what: str, remedy: str) -> str:
    """`address`, if it can be shown, logged and written into manifests: one without a name, a password or a token.

    Args:
        what: it is the address of, as the error says it: `the tracking URI`.
        remedy: where its credentials belong instead.

    Raises:
        LensError: if it holds one, which the error does not repeat.
    """
    if masked_address(address) != address:
        raise LensError(f"{what} holds a name or password: leave it out, and {remedy}")
    if not address.isprintable() or "{{" in address:
        raise LensError(f"{what} {address!r} holds characters that no address has")
    return address
