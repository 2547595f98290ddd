"""Words that join answers, leave them open, or take them back, in several languages; for regular expressions."""

from __future__ import annotations

import re

AND = r"and|und|et|和|与|與|及|и|と"
OR = r"or|ou|oder|или|または|又は|或者?|또는|أو"
OPEN = rf"\b(?:{OR}|maybe|perhaps|possibly|probably|either|neither|else|alternatively)\b|\?"
HEDGE = re.compile(rf"{OPEN}|\b(?:not|never|incorrect|wrong|false)\b|n't\b", re.IGNORECASE)
"""What takes an answer back, or leaves it open."""
