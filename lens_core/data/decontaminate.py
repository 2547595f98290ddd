"""Decontamination: training problems that are also evaluation problems, word for word or nearly so.

Two prompts are equal if their tokens are: spacing, case, punctuation, dollar signs, size commands and spellings of the
same LaTeX (`\\dfrac12` and `\\frac{1}{2}`) make no difference. They are near duplicates if the Jaccard similarity of
their sets of token n-grams reaches a threshold. MinHash with banding finds the candidates; the similarity that decides
is computed exactly.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rensa import RMinHash, RMinHashLSH

from lens_core.data.problem import Problem

_TOKEN = re.compile(
    r"\\[a-z]+|\\."  # a LaTeX command, or an escaped character
    r"|\d+(?:(?:,|\{,\}|,\\!)\d{3}(?!\d))*(?:\.\d+)?"  # a number, with thousands separators of any kind
    r"|[^\W\d_]+|\S",
    re.DOTALL,
)
_FRACTION_OF_DIGITS = re.compile(r"(\\[dtc]?frac)(\d)(\d)")
_SEPARATOR = re.compile(r"[^\d.]")
_SAME = {
    **dict.fromkeys((r"\dfrac", r"\tfrac", r"\cfrac"), r"\frac"),
    r"\le": r"\leq",
    r"\ge": r"\geq",
    r"\ne": r"\neq",
    r"\lbrace": r"\{",
    r"\rbrace": r"\}",
    r"\%": "%",
}
_NOTHING = frozenset(
    (
        *(r"\left", r"\right", r"\big", r"\bigl", r"\bigr", r"\bigg", r"\displaystyle", r"\textstyle"),
        *(r"\text", r"\textbf", r"\textit", r"\mathrm", r"\mbox", r"\emph"),
        *(r"\,", r"\;", r"\:", r"\!", "\\ ", "~", r"\quad", r"\qquad"),
        *(r"\(", r"\)", r"\[", r"\]", r"\$", "$"),
        *".,;:?'\"`’‘“”…",
    )
)
_BANDS, _MOST_ROWS = 30, 10
_MISSED = 0.001
"""Chance that a pair of exactly the threshold's similarity does not become a candidate."""
_SEED = 1


@dataclass(frozen=True)
class Overlap:
    """An evaluation problem that a training problem matches."""

    kind: Literal["exact", "near"]
    similarity: float
    evaluation: str
    """Problem.id"""
    source: str
    prompt: str


def tokens(prompt: str) -> list[str]:
    """What a prompt says, without what does not change its meaning."""
    text = prompt.casefold() if prompt.isascii() else unicodedata.normalize("NFKC", prompt).casefold()
    if "frac" in text:
        text = _FRACTION_OF_DIGITS.sub(r"\1 \2 \3", text)
    found = [token for token in _TOKEN.findall(text) if token not in _NOTHING]
    if "\\" in text:
        found = [_SAME.get(token, token) for token in found]
    if "," in text:
        found = [_SEPARATOR.sub("", token) if token[0].isdigit() else token for token in found]
    return _without_single_braces(found) if "}" in text else found


def _without_single_braces(found: list[str]) -> list[str]:
    """`{x}` is `x`."""
    kept: list[str] = []
    for token in found:
        kept.append(token)
        if token == "}" and len(kept) > 2 and kept[-3] == "{":
            kept[-3:] = [kept[-2]]
    return kept


def identity(words: Sequence[str]) -> bytes:
    """16 bytes that stand for a prompt's tokens."""
    return hashlib.blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def ngrams(words: Sequence[str], size: int) -> set[str]:
    """The n-grams of a prompt's tokens; the whole prompt where it is shorter."""
    return {" ".join(words[start : start + size]) for start in range(max(1, len(words) - size + 1))}


def jaccard(one: set[str], other: set[str]) -> float:
    """|A and B| / |A or B|"""
    return len(one & other) / len(one | other)


class EvaluationSet:
    """Evaluation problems, by which training problems are recognised.

    Args:
        near: similarity from which prompts are near duplicates; None: equal prompts only.
        size: tokens in an n-gram.
    """

    def __init__(self, near: float | None, size: int) -> None:
        self._near, self._size = near, size
        self._problems: list[tuple[str, str, str]] = []
        self._by_identity: dict[bytes, int] = {}
        self._permutations = _BANDS * (1 if near is None else _rows(near))
        self._bands = RMinHashLSH(threshold=0.5, num_perm=self._permutations, num_bands=_BANDS)

    def add(self, problem: Problem, words: Sequence[str]) -> None:
        """`words` are the prompt's tokens."""
        place = self._by_identity.setdefault(identity(words), len(self._problems))
        if place < len(self._problems):
            return
        self._problems.append((problem.id, problem.source, problem.prompt))
        if self._near is not None:
            self._bands.insert(place, self._signature(ngrams(words, self._size)))

    def match(self, words: Sequence[str]) -> Overlap | None:
        """The evaluation problem that a prompt with these tokens is, or is most like; None if it is none."""
        place = self._by_identity.get(identity(words))
        if place is not None:
            return self._overlap("exact", 1.0, place)
        if self._near is None or not self._problems:
            return None
        own = ngrams(words, self._size)
        best = (self._near, -1)
        for candidate in sorted(self._bands.query(self._signature(own))):
            similarity = jaccard(own, ngrams(tokens(self._problems[candidate][2]), self._size))
            if similarity > best[0] or (best[1] < 0 and similarity == best[0]):
                best = (similarity, candidate)
        return self._overlap("near", *best) if best[1] >= 0 else None

    def _overlap(self, kind: Literal["exact", "near"], similarity: float, place: int) -> Overlap:
        return Overlap(kind, round(similarity, 4), *self._problems[place])

    def _signature(self, grams: set[str]) -> RMinHash:
        signature = RMinHash(num_perm=self._permutations, seed=_SEED)
        signature.update(list(grams))
        return signature


def _rows(near: float) -> int:
    """Rows of a band: a pair of similarity s becomes a candidate with probability 1 - (1 - s^rows)^bands, and more rows
    make fewer candidates of pairs that are less similar.
    """
    needed = 1 - _MISSED ** (1 / _BANDS)
    return _MOST_ROWS if near == 1 else min(_MOST_ROWS, int(math.log(needed) / math.log(near)))
