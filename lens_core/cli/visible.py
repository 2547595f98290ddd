"""Text that a terminal shows, and does not obey."""

from __future__ import annotations

import unicodedata

_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of what a terminal obeys instead of showing it: ESC, directions of writing, line separators."""


def visible(text: str) -> str:
    """`text` with control characters as Python writes them, `\\x1b`; line breaks and tabs stay."""
    if text.isprintable():
        return text
    return "".join(
        each.encode("unicode_escape").decode() if each not in "\n\t" and unicodedata.category(each) in _UNSEEN else each
        for each in text
    )
