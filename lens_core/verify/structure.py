"""What an answer is, read from its normalised LaTeX: a list, an interval, a matrix, an equation, a word, ...

Only the shape is read here; the expressions inside are left as LaTeX for expression.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lens_core.verify.units import known, unit

MAX_DEPTH = 40
"""Of brackets and of structures in one another; no answer to a mathematical question comes near it."""


class TooComplexError(ValueError):
    """The answer is nested too deeply to be looked at."""


@dataclass(frozen=True)
class Expr:
    """One mathematical expression, with what stood behind it."""

    latex: str
    unit: str = ""
    percent: bool = False


@dataclass(frozen=True)
class Text:
    """Words, in lower case."""

    words: str


@dataclass(frozen=True)
class Choice:
    """A letter of a multiple-choice question, with the answer that stood beside it."""

    letter: str
    rest: Node | None = None


@dataclass(frozen=True)
class Series:
    """Answers side by side: `1, 2`, `x=1 or x=2`, `3 \\pm \\sqrt 2`. In no order."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Bracket:
    """`(1, 2)`, `[0, 1)`, `\\{1, 2, 3\\}`."""

    opening: str
    items: tuple[Node, ...]
    closing: str


@dataclass(frozen=True)
class Union:
    """Sets joined by `operators`, each `\\cup`, `\\cap` or `\\setminus`."""

    sets: tuple[Node, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True)
class Relation:
    """`a < b <= c`: sides, and the operators between them."""

    sides: tuple[Node, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True)
class Matrix:
    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True)
class Ratio:
    """`2:3`, `1:2:3`, and the time of day `12:30`."""

    parts: tuple[str, ...]


@dataclass(frozen=True)
class Based:
    """Digits in a base: `204_5`."""

    digits: str
    base: str


Node = Expr | Text | Choice | Series | Bracket | Union | Relation | Matrix | Ratio | Based

_OPERATORS = ("\\leq", "\\geq", "\\neq", "\\approx", "\\equiv", "=", "<", ">")
_SET_OPERATORS = ("\\cup", "\\cap", "\\setminus")
_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|[a-zA-Z]+|.", re.DOTALL)
_MATRIX = re.compile(r"\\begin\{([pb]?(?:small)?matrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}", re.DOTALL)
_LEAD_IN = re.compile(
    r"^(?:\\text\{[^{}]*?(?:\b(?:is|are|be|equals|answer)|[:=])\s*\}|(?:the )?(?:final )?answer(?: is|:)"
    r"|\\therefore|\\approx|=)\s*(?=\S)"
)
_CHOICE = re.compile(r"\(?([A-Ja-j])\)?")
_CHOICE_WITH_REST = re.compile(
    r"(?:\(([A-J])\)|\\text\{\(?([A-J])[).:]\s*\}|([A-J])(?:[.:] |\) ?)|\\text\{\(([A-J])\)\s*)(?! ?,)(.+)"
)
_BASED = re.compile(r"\(?(?:\\text\{)?([\dA-F.]*\d[\dA-F.]*)\}?\)?_(?:\{?(\d+)\}?|\{\\text\{([a-z]+)\}\})")


def split(text: str, separators: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Parts of `text` between separators that stand in no bracket, and the separators."""
    parts, found, start, depth, bars = [], [], 0, 0, 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in ("(", "[", "{", "\\{", "\\begin", "\\lfloor", "\\lceil", "\\langle"):
            depth += 1
        elif token in (")", "]", "}", "\\}", "\\end", "\\rfloor", "\\rceil", "\\rangle"):
            depth -= 1
        elif token == "|":
            bars ^= 1
        elif depth == 0 and token in separators and not (bars and token in (",", ";")):
            parts.append(text[start : match.start()].strip())
            found.append(token)
            start = match.end()
    return [*parts, text[start:].strip()], found


def parse(text: str, depth: int = 0) -> Node:
    """Read a normalised answer.

    Raises:
        TooComplexError: if it is nested too deeply.
    """
    if depth > MAX_DEPTH or (depth == 0 and _nesting(text) > MAX_DEPTH):
        raise TooComplexError(f"nested deeper than {MAX_DEPTH}")
    text = _LEAD_IN.sub("", text).strip().rstrip(".,;:").strip()
    while _encloses(text, "{", "}"):
        text = text[1:-1].strip()
    for read in (_word, _series, _plus_minus, _membership, _relation, _union, _matrix, _bracket, _based, _ratio):
        node = read(text, depth + 1)
        if node is not None:
            return node
    return _quantity(text)


def _nesting(text: str) -> int:
    """How many brackets are open at most."""
    depth = deepest = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    return deepest


def flatten(items: list[Node]) -> tuple[Node, ...]:
    """`3, \\pm 1` is three answers."""
    return tuple(inner for item in items for inner in (item.items if isinstance(item, Series) else (item,)))


def _encloses(text: str, opening: str, closing: str) -> bool:
    """Whether the first bracket of `text` closes with its last."""
    if not (text.startswith(opening) and text.endswith(closing)) or len(text) < len(opening) + len(closing):
        return False
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        depth += token in ("(", "[", "{", "\\{")
        depth -= token in (")", "]", "}", "\\}")
        if depth == 0:
            return match.end() == len(text)
    return False


def _word(text: str, depth: int) -> Node | None:
    """Text, a letter of a multiple choice, or None where `text` is mathematics."""
    plain = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text)
    plain = " ".join(plain.split()).strip(" .,:;")
    wrapped = "\\text{" in text
    if _CHOICE.fullmatch(plain) and (wrapped or plain.startswith("(")):
        return Choice(plain.strip("()").upper())
    match = _CHOICE_WITH_REST.fullmatch(text)
    if match:
        letter = next(group for group in match.groups()[:4] if group)
        rest = match[5] if match[4] is None else f"\\text{{{match[5]}"
        return Choice(letter, parse(rest, depth))
    if wrapped and re.search(r"[a-zA-Z]{2}", plain) and not re.search(r"[\d\\=<>^_{}|+*/]", plain):
        return Text(words(plain))
    if wrapped and text.startswith("\\text{") and text.count("\\text") == 1 and text.endswith("}") and " " in plain:
        return Text(words(plain))  # a sentence, whatever symbols it holds
    if re.fullmatch(r"[a-zA-Z][a-zA-Z'.-]+(?:,? [a-zA-Z'.-]+)*", plain) and not re.search(r"\b(?:and|or)\b", plain):
        is_word = " " in plain or len(plain) > 3 or plain.lower() in _SHORT_WORDS
        return Text(words(plain)) if is_word else None
    return None


_SHORT_WORDS = set("yes no odd red one two six ten may mon tue wed thu fri sat sun dne all am pm".split())  # noqa: SIM905
_SAME_WORDS = {
    **dict.fromkeys(
        ("no solution", "no solutions", "no real solution", "no real solutions", "none", "empty set"), "none"
    ),
    **dict.fromkeys(("does not exist", "dne", "undefined"), "undefined"),
}


def words(text: str) -> str:
    """Words without case, articles and punctuation."""
    text = re.sub(r"(?<=\b[a-zA-Z])\.(?=[a-zA-Z]|$|\s)", "", text.lower())  # p.m.
    text = re.sub(r"[^\w\s+*/=<>-]", " ", text)
    text = " ".join(word for word in text.split() if word not in ("the", "a", "an") or len(text.split()) == 1)
    return _SAME_WORDS.get(text, text)


def _series(text: str, depth: int) -> Node | None:
    text = re.sub(r",?\s*(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])\s*,?|,\s*\\text\{(?:and|or)\b\s*\}", ", ", text)
    text = re.sub(r"(?<=[)\]}])\s+(?=[(\[])", ", ", text) if text.startswith("(") and ")" in text else text
    for separator in (";", ","):
        parts, found = split(text, (separator,))
        parts = [part for part in parts if part]
        if found and len(parts) > 1:
            items = [parse(part, depth) for part in parts]
            grouped = separator == ";" and any(split(part, (",",))[1] for part in parts)  # p=5, q=2; p=7, q=2
            return Series(tuple(items) if grouped else flatten(items))
        if found and parts:
            return parse(parts[0], depth)
    return None


def _plus_minus(text: str, depth: int) -> Node | None:
    r"""`a \pm b` is two answers; all signs of an answer change together, `\mp` the other way."""
    if "\\pm" not in text and "\\mp" not in text:
        return None
    upper = text.replace("\\pm", "+").replace("\\mp", "-")
    lower = text.replace("\\pm", "-").replace("\\mp", "+")
    both = [parse(re.sub(r"(^|[=({,])\+", r"\1", sign).replace("+ ", "+"), depth) for sign in (upper, lower)]
    return Series(tuple(both)) if not isinstance(both[0], Bracket) else _signed_set(both[0], both[1])


def _signed_set(upper: Node, lower: Node) -> Node:
    r"""`\{1 \pm \sqrt 5, -2\}` is one set with three members."""
    assert isinstance(upper, Bracket)
    assert isinstance(lower, Bracket)
    if upper.opening != "\\{":
        return Series((upper, lower))
    return Bracket("\\{", tuple(dict.fromkeys(upper.items + lower.items)), "\\}")


def _membership(text: str, depth: int) -> Node | None:
    r"""`x \in S` is the set S."""
    parts, found = split(text, ("\\in",))
    return parse(parts[-1], depth) if found and parts[-1] else None


def _relation(text: str, depth: int) -> Node | None:
    sides, operators = split(text, _OPERATORS)
    if not operators or not all(sides):
        return None
    return Relation(tuple(parse(side, depth) for side in sides), tuple(operators))


def _union(text: str, depth: int) -> Node | None:
    sets, operators = split(text, _SET_OPERATORS)
    if not operators or not all(sets):
        return None
    return Union(tuple(parse(part, depth) for part in sets), tuple(operators))


def _matrix(text: str, depth: int) -> Node | None:
    for opening, closing in (("(", ")"), ("[", "]")):
        if text.startswith(opening + "\\begin") and _encloses(text, opening, closing):
            text = text[1:-1]
    match = _MATRIX.fullmatch(text)
    if match is None or "\\begin" in match[2]:
        return None
    rows = [row.strip() for row in match[2].replace("\\hline", "").split("\\cr")]
    return Matrix(tuple(tuple(parse(cell, depth) for cell in row.split("&")) for row in rows if row))


def _bracket(text: str, depth: int) -> Node | None:
    opening = next((sign for sign in ("\\{", "(", "[", "]") if text.startswith(sign)), None)
    closing = next((sign for sign in ("\\}", ")", "]", "[") if text.endswith(sign)), None)
    if opening is None or closing is None or "\\begin" in text or len(text) < len(opening) + len(closing):
        return None
    inner = text[len(opening) : -len(closing)].strip()
    if (opening, closing) in (("]", "["), ("]", "]"), ("[", "[")):  # ]0, 1[ is (0, 1) in much of Europe
        opening, closing = opening.replace("]", "("), closing.replace("[", ")")
    elif not _closes(inner):
        return None
    parts, found = split(inner, (";",))
    if not found:
        parts, found = split(inner, (",",))
    if not found and opening == "\\{":
        condition = re.fullmatch(r"[a-zA-Z](?:\\in ?\\mathbb\{R\})? ?[|:](.+)", inner)  # {x | x > 2}
        return parse(condition[1], depth) if condition else Bracket("\\{", flatten([parse(inner, depth)]), "\\}")
    if not found:
        return parse(inner, depth) if opening == "(" and closing == ")" and not re.search(r"[+*/^-]", inner) else None
    items = [parse(part, depth) for part in parts if part and part != "\\ldots"]
    return Bracket(opening, flatten(items) if opening == "\\{" else tuple(items), closing)


def _closes(inner: str) -> bool:
    """Whether brackets inside are balanced, so that the outer ones belong together: not in `(1, 2), (3, 4)`."""
    depth = 0
    for match in _TOKEN.finditer(inner):
        depth += match[0] in ("(", "[", "{", "\\{")
        depth -= match[0] in (")", "]", "}", "\\}")
        if depth < 0:
            return False
    return depth == 0


_NUMERALS = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "twelve": "12", "sixteen": "16",
}  # fmt: skip


def _based(text: str, depth: int) -> Node | None:
    match = _BASED.fullmatch(text)
    base = match and (match[2] or _NUMERALS.get(match[3]))
    return Based(match[1].lstrip("0") or "0", base) if match and base else None


def _ratio(text: str, depth: int) -> Node | None:
    parts, found = split(text, (":",))
    if not found or not all(parts):
        return None
    tail = re.fullmatch(r"(\d+)\s*(?:\\text\{\s*)?([apAP]\.?\s*[mM]\.?|noon|midnight|hours|h)\s*\}?", parts[-1])
    if tail:
        return Text(words(f"{':'.join(parts[:-1])}:{tail[1]} {tail[2]}").replace(" m", "m"))
    return Ratio(tuple(parts))


_UNIT = re.compile(
    r"(?P<value>.*[\d)}\]|'a-zA-Z])"
    r"(?:\s*\\text\{(?P<text>[^{}]*)\}|(?<=[\d)}])(?P<gap>\s*)(?P<plain>[a-zA-Z][a-zA-Z/. ]*?))"
    r"(?:\^\{?(?P<power>\d)\}?)?\s*",
    re.DOTALL,
)
_FUNCTIONS = re.compile(r"(?:sin|cos|tan|cot|sec|csc|ln|log|exp|sqrt|pi|mod)\b")


def _quantity(text: str) -> Expr:
    """An expression with its unit and percent sign taken off."""
    text = re.sub(r"(?<=\d) ?(?:\^?\{?\\text\{)?(?:st|nd|rd|th)\}{0,2}$", "", text)  # 11th
    percent = text.endswith("\\%")
    text = text.removesuffix("\\%").rstrip()
    degree = text.endswith("\\degree") and not re.search(r"\\(?:sin|cos|tan|cot|sec|csc)", text)
    text = text.removesuffix("\\degree").rstrip() if degree else text
    match = _UNIT.fullmatch(text)
    if match and (match["text"] is not None or _is_unit(match["plain"], bool(match["gap"]))):
        name = match["text"] if match["text"] is not None else match["plain"]
        inner = _quantity(match["value"].strip())
        return Expr(inner.latex, unit(name, match["power"]) or inner.unit, percent or inner.percent)
    text = re.sub(r"(?<=\d),(?=\d)", ".", text) if re.fullmatch(r"-?\d+,\d+", text) else text
    while _encloses(text, "(", ")"):
        text = text[1:-1].strip()
    return Expr(text, "degree" if degree else "", percent)


def _is_unit(name: str, set_off: bool) -> bool:
    """Bare letters are a unit if they are a known one of two letters or more, or a word set off by a space."""
    word = name.split()[0] if name.split() else ""
    if _FUNCTIONS.match(name):
        return False
    return (len(word) > 1 and (known(word) is not None or word in ("sq", "cu"))) or (set_off and len(word) > 2)
