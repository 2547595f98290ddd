"""What an answer is, read from its normalised LaTeX: a list, an interval, a matrix, an equation, a word, ...

Only the shape is read here; the expressions inside are left as LaTeX for expression.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lens_core.verify import units
from lens_core.verify.connectives import AND, HEDGE, OR
from lens_core.verify.numerals import SPELLED

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
    joint: str = field(default="", compare=False)
    """`and` or `or`, where one of them joins them all; empty for a comma."""


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
class Congruence:
    """`x \\equiv 2 \\pmod{7}`."""

    side: str
    residue: str
    modulus: str


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


Node = Expr | Text | Choice | Series | Bracket | Union | Relation | Congruence | Matrix | Ratio | Based

_OPERATORS = ("\\leq", "\\geq", "\\neq", "\\approx", "\\equiv", "=", "<", ">")
_SET_OPERATORS = ("\\cup", "\\cap", "\\setminus")
_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|[a-zA-Z]+|.", re.DOTALL)
_MATRIX = re.compile(r"\\begin\{([pb]?(?:small)?matrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}", re.DOTALL)
_LEAD_IN = re.compile(
    r"^(?:\\text\{[^{}]*?(?:\b(?:is|are|be|equals|answer)|[:=])\s*\}"
    r"|\\text\{\s*(?:approximately|about|exactly|roughly|nearly)\s*\}|(?:the )?(?:final )?answer(?: is|:)"
    r"|\\therefore|\\approx|=)\s*(?=\S)"
)
_CHOICE = re.compile(
    r"(?P<named>(?:(?:the|la|el|die|le) )?"
    r"(?:option|choice|answer|letter|opción|letra|réponse|antwort|вариант|选项|選択肢) ?:? ?)?"
    r"\(?(?P<letter>[A-Ja-j])\)?",
    re.IGNORECASE,
)
_OPTION = re.compile(r"[\s,;\d]\(?[A-J][.):]|^\([A-J]\)$")
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
    if depth == 0:
        text = _unconditional(text)
    for read in _READERS:
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
    choice = _CHOICE.fullmatch(plain)
    if choice and (wrapped or plain.startswith("(") or choice["named"]):
        return Choice(choice["letter"].upper())
    text = re.sub(r"^\\text\{(\(?[A-J][).:]) *([^{}]+)\}$", r"\1 \2", text)
    match = _CHOICE_WITH_REST.fullmatch(text)
    if match and not _OPTION.search(match[5]):
        letter = next(group for group in match.groups()[:4] if group)
        rest = match[5] if match[4] is None else f"\\text{{{match[5]}"
        return Choice(letter, parse(rest, depth))
    if re.fullmatch(r"[^\W\d_]+(?:(?:, (?:and |or )?| and | or )[^\W\d_]{3,})+", plain) and not _VERDICT.match(plain):
        names = re.split(r", (?:and |or )?| and | or ", plain)
        if len(min(names, key=len)) > 2:
            return Series(tuple(Text(words(name)) for name in names))
    if wrapped and re.search(r"[^\W\d_]{2}", plain) and not re.search(r"[\d\\=<>^_{}|+*/]", plain):
        return Text(words(plain))
    if wrapped and text.startswith("\\text{") and text.count("\\text") == 1 and text.endswith("}") and " " in plain:
        return Text(words(plain))  # a sentence, whatever symbols it holds
    if re.fullmatch(r"[a-zA-Z][a-zA-Z'.-]+(?:,? [a-zA-Z'.-]+)*", plain) and not re.search(r"\b(?:and|or)\b", plain):
        is_word = " " in plain or len(plain) > 3 or plain.lower() in _SHORT_WORDS
        return Text(words(plain)) if is_word else None
    return None


_VERDICT = re.compile(r"(?:yes|no|true|false)\b", re.IGNORECASE)
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
    text = re.sub(r"^there (?:is|are|exists?) ", "", re.sub(r"[^\w\s+*/=<>-]", " ", text))
    text = " ".join(word for word in text.split() if word not in ("the", "a", "an") or len(text.split()) == 1)
    return _SAME_WORDS.get(text, text)


def _series(text: str, depth: int) -> Node | None:
    joint = re.compile(
        rf",?\s*(?<![a-zA-Z\\])(?P<word>{AND}|{OR})(?![a-zA-Z])\s*,?|,\s*\\text\{{(?P<text>{AND}|{OR})\s*\}}"
    )
    joints = {"and" if re.fullmatch(AND, match["word"] or match["text"]) else "or" for match in joint.finditer(text)}
    text = joint.sub(", ", text)
    text = re.sub(r"(?<=[)\]}])\s+(?=[(\[])", ", ", text) if text.startswith("(") and ")" in text else text
    for separator in (";", ","):
        parts, found = split(text, (separator,))
        parts = [part for part in parts if part]
        if found and len(parts) > 1:
            items = [parse(part, depth) for part in parts]
            grouped = separator == ";" and any(split(part, (",",))[1] for part in parts)  # p=5, q=2; p=7, q=2
            return Series(tuple(items) if grouped else flatten(items), joints.pop() if len(joints) == 1 else "")
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


_CONGRUENCE = re.compile(r"(.+?)\\equiv ?(.+?) ?,? ?\\pmod\{(\w+)\}")


def _congruence(text: str, depth: int) -> Node | None:
    match = _CONGRUENCE.fullmatch(text)
    return Congruence(match[1].replace(" ", ""), match[2], match[3]) if match and "\\equiv" not in match[2] else None


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


_TRANSPOSED = re.compile(r"(.*[)\]}])\^\{?(?:T|\\top ?|\\intercal ?|\\text\{T\}|'|\\mathsf T)\}?", re.DOTALL)


def _matrix(text: str, depth: int) -> Node | None:
    transposed = _TRANSPOSED.fullmatch(text)
    if transposed:
        node = _matrix(transposed[1], depth) or _bracket(transposed[1], depth)
        return Matrix(tuple(zip(*node.rows, strict=False))) if isinstance(node, Matrix) else node
    for opening, closing in (("(", ")"), ("[", "]")):
        if text.startswith(opening + "\\begin") and _encloses(text, opening, closing):
            text = text[1:-1]
    match = _MATRIX.fullmatch(text)
    if match is None or "\\begin" in match[2]:
        return None
    rows = [row.strip() for row in match[2].replace("\\hline", "").split("\\cr")]
    return Matrix(tuple(tuple(parse(cell, depth) for cell in row.split("&")) for row in rows if row))


def _bracket(text: str, depth: int) -> Node | None:
    if re.match(r"[A-Z](?:_\w|')?\([^()]*,", text) and text.endswith(")"):  # a point with its name
        text = text[text.index("(") :]
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


_FACTOR = r"(?:\\text\{[^{}]*\}|(?<![a-zA-Z\\])[^\W\d_]+\.?|[°¢])(?:\^\{?-?\d\}?)?"
_UNIT = re.compile(
    r"(?P<value>.*(?:[\d)}\]|'!]|\\(?:pi|degree|infty) ?|[a-zA-Z](?=\s*\\text)))"
    rf"(?P<unit>\s*{_FACTOR}(?:(?: |/|\\cdot ?)*{_FACTOR})*)\s*",
    re.DOTALL,
)
_FUNCTIONS = re.compile(r"(?:sin|cos|tan|cot|sec|csc|ln|log|exp|sqrt|pi|mod)\b")


_CHANGES = re.compile(
    r"^and\b|^(?:squared|cubed)\b|\b(?:tenth|hundredth|thousandth|millionth|halve|third|fifth|eighth)s\b"
    rf"|\b(?:plus|minus|times|over) {SPELLED.pattern}",
    re.IGNORECASE,
)
"""Words behind a number that make another number of it."""


def _quantity(text: str) -> Node:
    """An expression with its unit and percent sign taken off; Text where what stands behind it is no mere unit."""
    text = re.sub(r"(?<=\d) ?(?:\^?\{?\\text\{)?(?:st|nd|rd|th)\}{0,2}$", "", text)  # 11th
    percent = text.endswith("\\%")
    text = text.removesuffix("\\%").rstrip()
    degree = text.endswith("\\degree") and not re.search(r"\\(?:sin|cos|tan|cot|sec|csc)", text)
    text = text.removesuffix("\\degree").rstrip() if degree else text
    match = _UNIT.fullmatch(text)
    if match and ("\\text" in match["unit"] or _is_unit(match["unit"])):
        name = re.sub(r"\\text\{([^{}]*)\}", r"\1", match["unit"])
        has_digits = re.search(r"\d", re.sub(r"\^\{?-?\d", "", name)) is not None
        if HEDGE.search(name) or _CHANGES.search(name.strip()) or (has_digits and not units.parse(name)):
            return Text(words(f"{match['value']} {name}"))
        value = match["value"].strip()
        if value.endswith("\\degree"):
            value, name = value.removesuffix("\\degree").rstrip(), f"degree {name.strip()}"
        inner = _quantity(value)
        if not isinstance(inner, Expr):
            return inner
        return Expr(inner.latex, units.parse(name) or inner.unit, percent or inner.percent)
    text = re.sub(r"(?<=\d),(?=\d)", ".", text) if re.fullmatch(r"-?\d+,\d+", text) else text
    while _encloses(text, "(", ")"):
        text = text[1:-1].strip()
    return Expr(text, "degree^1" if degree else "", percent)


def _is_unit(name: str) -> bool:
    """Bare letters are a unit if they are known ones, not a single letter, or a word set off by a space."""
    word = re.split(r"[\s/^]", name.strip())[0]
    if _FUNCTIONS.match(word):
        return False
    if not word.isascii():  # 元, 人, яблок
        return True
    compound = name[0].isspace() and "/" in name
    is_known = (len(word) > 1 or compound) and units.parse(name) is not None
    return is_known or (name[0].isspace() and len(word) > 2)


# Conditions ---------------------------------------------------------------------------------------------------------

_CONDITION = re.compile(
    r"[,;]? ?\(? ?(?:\\text\{[\s,;(]*(?:where|for|with|when|whenever|if|provided|given|such that|as long as|assuming)\b"
    r"|\\forall|(?<![a-zA-Z\\])(?:where|for (?:all|any|every|each|some)|with|when|if|provided|such that)(?![a-zA-Z]))"
)
_INEQUALITIES = ("\\in", "\\leq", "\\geq", "\\neq", "<", ">")


def _unconditional(text: str) -> str:
    """An answer without what it says of its letters: `5k, k \\in \\mathbb{Z}`, `3n (n \\geq 1)`, `x^2 for all x`.

    A condition on letters that the answer has not is none, and stays.
    """
    match = _CONDITION.search(text, 1)
    if match and _conditions(text[: match.start()], text[match.start() :]):
        text = text[: match.start()].strip(" ,;(")
    bracketed = re.fullmatch(r"(.*\S) ?\(([^()]*(?:\\in(?![a-zA-Z])|\\leq|\\geq|\\neq|<|>)[^()]*)\)", text)
    if bracketed and _conditions(bracketed[1], bracketed[2]):
        text = bracketed[1].rstrip(" ,;")
    parts, found = split(text, (",", ";"))
    while len(parts) > 1 and split(parts[-1], _INEQUALITIES)[1]:
        main = "".join(map("".join, zip(parts[:-1], [*found[:-1], ""], strict=True)))
        of_its_own = split(main, _INEQUALITIES)[1] and "\\mathbb" not in parts[-1]  # x > 2, x < 5
        if of_its_own or not _conditions(main, parts[-1]):
            break
        parts, found, text = parts[:-1], found[:-1], main
    return text


def _conditions(main: str, condition: str) -> bool:
    """Whether `condition` speaks of letters of the main part alone, and takes nothing back."""
    written = set(re.findall(r"\\[a-zA-Z]+|[a-zA-Z]", re.sub(r"\\text\{[^{}]*\}", " ", main)))
    letters = set(_LETTER.findall(_SETS.sub(" ", condition)))
    if re.fullmatch(r"\s*[A-J]?\s*", main) or HEDGE.search(condition):  # of a letter that is chosen, nothing is said
        return False
    return letters <= written and (bool(letters) or re.search(r"\d", condition) is None)


_LETTER = re.compile(
    r"\\(?:alpha|beta|gamma|delta|epsilon|theta|lambda|mu|rho|sigma|tau|phi|psi|omega)(?![a-zA-Z])"
    r"|(?<![a-zA-Z\\])(?:[b-zB-Z](?![a-zA-Z])|a(?= ?[,=<>}]|$))"
)
_SETS = re.compile(r"\\mathbb ?\{?[A-Z]\}?(?:\^\{?[+*-]\}?|_\{?[+\d]\}?)?")


_READERS = (
    _word, _congruence, _series, _plus_minus, _membership, _relation, _union, _matrix, _bracket, _based, _ratio,
)  # fmt: skip
