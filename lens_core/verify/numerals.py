"""Whole numbers in English words: `spelled("twenty-one") -> 21`."""

from __future__ import annotations

import re

_SMALL = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
MAGNITUDES = {
    "hundred": 100, "thousand": 10**3, "lakh": 10**5, "million": 10**6, "crore": 10**7, "billion": 10**9,
    "trillion": 10**12, "dozen": 12,
}  # fmt: skip
"""Words behind a number that multiply it."""
MAGNITUDE = "(" + "|".join(MAGNITUDES) + ")s?"
SPELLED = re.compile(rf"\b(?:{'|'.join([*_SMALL, *_TENS])})\b", re.IGNORECASE)


def leading_number(text: str) -> tuple[int, str] | None:
    """The number that a text begins with, in words, and what follows it; None if it begins with none."""
    total = current = taken = 0
    found = False
    for match in re.finditer(r"[a-z]+|[\s-]+|.", text.lower()):
        word = match[0]
        if word in _SMALL or word in _TENS:
            current += _SMALL.get(word, _TENS.get(word, 0))
        elif found and word.removesuffix("s") in MAGNITUDES:
            scale = MAGNITUDES[word.removesuffix("s")]
            if scale > 100:
                total, current = total + current * scale, 0
            else:
                current *= scale
        elif not found or not (word == "and" or not word.strip(" -")):
            break
        else:
            continue
        found, taken = True, match.end()
    return (total + current, text[taken:].strip()) if found else None
