"""Whether an answer says what the gold answer says: `agree(gold, answer)`, by the shape that the gold answer has.

The rules and their reasons are in docs/verifier.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

import sympy

from lens_core.verify import expression
from lens_core.verify.connectives import HEDGE
from lens_core.verify.numerals import leading_number
from lens_core.verify.sets import NAMED_SETS, as_set, is_solved
from lens_core.verify.structure import (
    Based,
    Bracket,
    Choice,
    Congruence,
    Expr,
    Matrix,
    Node,
    Ratio,
    Relation,
    Series,
    Text,
    TooComplexError,
    Union,
    words,
)
from lens_core.verify.units import contradict, parse

MAX_ITEMS = 200
"""Of a list or set; more are not compared."""
_GREEK = "alpha|beta|gamma|delta|epsilon|theta|lambda|mu|rho|sigma|tau|phi|psi|omega|Delta|Gamma|Omega|Sigma|ell"
_NAME = re.compile(
    r"\|?(?:\\(?:angle|triangle|overline|vec|mathbf|mathrm|measuredangle|widehat) ?|m(?=\\angle)"
    r"|\\text\{[^{}]*\}|[{}])*"
    rf"(?:[a-zA-Z]'*|\\(?:{_GREEK}) ?)"
    r"(?:[a-zA-Z{}' ]|_\w|_\{[^{}]*\}|\\(?:circ|cdot|triangle|angle|text\{[^{}]*\})|\^\{-1\})*(?:\([^()]*\))?\|?"
)
_FUNCTION_VALUE = re.compile(r"[a-zA-Z]\(\w\)|y")
"""`y` and `f(x)` name the same, the value of the function that is asked for."""
_FLIPPED = {"<": ">", ">": "<", "\\leq": "\\geq", "\\geq": "\\leq", "=": "=", "\\neq": "\\neq"}


def agree(gold: Node, answer: Node) -> bool:
    """Whether `answer` is right.

    Raises:
        UnreadableError, TooLargeError, TooComplexError: if it cannot be told.
    """
    if gold == answer:
        return True
    gold, answer = _alone(gold), _alone(answer)
    if isinstance(gold, Choice) or isinstance(answer, Choice):
        return _same_choice(gold, answer)
    if isinstance(gold, Text) or isinstance(answer, Text):
        return _same_text(gold, answer)
    if isinstance(gold, Congruence) and isinstance(answer, Congruence):
        return _same_class(gold, answer)
    if isinstance(gold, Relation) or isinstance(answer, Relation):
        return _same_relation(gold, answer)
    if isinstance(gold, Series) or isinstance(answer, Series):
        return _same_series(gold, answer)
    if isinstance(gold, Matrix) or isinstance(answer, Matrix):
        return _same_matrix(gold, answer)
    if isinstance(gold, Based | Ratio) or isinstance(answer, Based | Ratio):
        return _same_notation(gold, answer)
    if isinstance(gold, Bracket) and isinstance(answer, Bracket):
        return _same_bracket(gold, answer)
    if isinstance(gold, Expr) and isinstance(answer, Expr):
        return _same_expr(gold, answer)
    return _same_set(gold, answer)


def _alone(node: Node) -> Node:
    r"""A list or set with one member stands for it: `\{5\}` answers "find all x" as 5 does."""
    if isinstance(node, Bracket) and node.items == (Expr("\\emptyset"),):
        return node  # the set that holds the empty set is not empty
    if (isinstance(node, Series) and len(set(node.items)) == 1) or (isinstance(node, Bracket) and len(node.items) == 1):
        return _alone(node.items[0])
    return node


def too_many(nodes: Sequence[Node]) -> bool:
    """Whether one of them has more members than are compared."""
    return any(len(_items(node)) > MAX_ITEMS for node in nodes)


_COMMANDS = re.compile(r"\\(?:int|iint|oint|sum|prod|lim|gcd|lcm|max|min|det)(?![a-zA-Z])")
_TASK = re.compile(r"\\text\{[^{}]*\b(?:expand|simplify|factor|solve|evaluate|compute|calculate|find)\b", re.IGNORECASE)
_ARITHMETIC = re.compile(r"\d\)? ?(?:[-+*]|\\cdot ?(?!10\^))\(?[-+]?\d")


def is_unevaluated(answer: Node, gold: Node) -> bool:
    """Whether an answer leaves to the reader what the gold answer has worked out: `\\int_0^1 x dx`, `17+25`."""
    texts = [node.latex if isinstance(node, Expr) else "" for node in (answer, gold)]
    if _TASK.search(texts[0]) or (_COMMANDS.search(texts[0]) and not _COMMANDS.search(texts[1])):
        return True
    value = expression.rational(texts[1])
    return value is not None and value.denominator == 1 and _ARITHMETIC.search(texts[0]) is not None


# Words and letters ----------------------------------------------------------------------------------------------


def _same_choice(gold: Node, answer: Node) -> bool:
    """The letter decides where the gold answer is one; otherwise what stands beside the letter."""
    if isinstance(gold, Choice):
        letter = answer.letter if isinstance(answer, Choice) else _letters(answer).upper()
        if letter == gold.letter:
            return True
        return gold.rest is not None and not isinstance(answer, Choice) and agree(gold.rest, answer)
    assert isinstance(answer, Choice)
    gold_letters = _letters(gold)
    if len(gold_letters) == 1:
        return gold_letters.upper() == answer.letter
    return answer.rest is not None and agree(gold, answer.rest)


def _letters(node: Node) -> str:
    """The letters of a word, or of what was read as a product of variables; empty for anything else."""
    if isinstance(node, Text):
        return node.words
    if isinstance(node, Choice):
        return node.letter
    return node.latex if isinstance(node, Expr) and re.fullmatch(r"[a-zA-Z ]+", node.latex) else ""


def _same_text(gold: Node, answer: Node) -> bool:
    a, b = words(_letters(gold)), words(_letters(answer))
    if a in _VERDICTS and b.partition(" ")[0] == a:  # Yes, it is
        return not (_VERDICTS | {"or"}) & set(b.split()[1:])
    if a in _VERDICTS and isinstance(answer, Series):  # Yes, k = 9
        verdicts = [item.words for item in answer.items if isinstance(item, Text)]
        return verdicts == [a] == [words(_letters(answer.items[0]))]
    counts = [_count(node) for node in (gold, answer)]
    if None not in counts:
        return counts[0] == counts[1]
    return a == b != "" or _same_set(gold, answer)


def _count(node: Node) -> Fraction | None:
    """The value of a number, or of one in words with what it counts: `seven apples`."""
    if isinstance(node, Expr):
        return expression.rational(node.latex)
    spelled = leading_number(node.words) if isinstance(node, Text) else None
    if spelled is None or HEDGE.search(spelled[1]) or leading_number(spelled[1].rpartition(" ")[2]):
        return None
    return Fraction(spelled[0])


_VERDICTS = {"yes", "no", "true", "false"}


# Equations and inequalities ---------------------------------------------------------------------------------------


def _is_chain(node: Node) -> bool:
    return isinstance(node, Relation) and set(node.operators) <= {"=", "\\approx", "\\equiv"}


def _name(node: Node) -> str | None:
    r"""What an equation gives a value to: `x`, `f(x)`, `|AB|`, `A:B`, `(x, y)`, `\frac{NO}{BO}`; None if it is none."""
    if isinstance(node, Expr):
        latex = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2", node.latex)
        parts = re.split(r"[/:]", latex)
        return node.latex.replace(" ", "") if all(_NAME.fullmatch(part.strip()) for part in parts) else None
    if isinstance(node, Ratio):
        return ":".join(node.parts) if all(_NAME.fullmatch(part.strip()) for part in node.parts) else None
    if isinstance(node, Text):
        return node.words
    if isinstance(node, Bracket):
        names = [_name(item) for item in node.items]
        return ",".join(map(str, names)) if None not in names else None
    return None


def _value(chain: Relation) -> Node:
    r"""What a chain of equations comes to: its last side before any `\approx`; the first, where the last is a name."""
    exact = [side for side, before in zip(chain.sides, ("=", *chain.operators), strict=True) if before != "\\approx"]
    if len(exact) == 1:
        return chain.sides[-1] if _name(chain.sides[0]) else chain.sides[0]
    return exact[0] if _name(exact[-1]) and not _name(exact[0]) else exact[-1]


def _contradicts(gold: Node, chain: Relation) -> bool:
    r"""Whether another side of a chain says something else, in what the gold answer speaks of: `36 = 37`.

    Sides with other letters, `\pi r^2 = 9\pi`, and with other units, `5000 m = 5 km`, are working; so is what stands
    between a name and the value that it has in the end: `x = 5 + 5 + 1 = 11`.
    """
    if _name(chain.sides[0]) is not None:
        return False
    exact = [side for side, before in zip(chain.sides, ("=", *chain.operators), strict=True) if before == "="]
    return any(_is_alike(gold, side, _value(chain)) and not agree(gold, side) for side in exact)


def _is_alike(gold: Node, side: Node, value: Node) -> bool:
    if not isinstance(gold, Expr) or not isinstance(side, Expr):
        return type(gold) is type(side) and not isinstance(gold, Text) and _name(side) is None
    if side.unit not in (gold.unit, getattr(value, "unit", "")):
        return False
    try:
        unknown = expression.read(side.latex).free_symbols - expression.read(gold.latex).free_symbols
    except expression.UnreadableError:
        return False
    return not unknown


def _is_constant(node: Node) -> bool:
    return isinstance(node, Expr) and not expression.read(node.latex).free_symbols


def _same_class(gold: Congruence, answer: Congruence) -> bool:
    """Representatives of one class stand for each other."""
    if gold.side != answer.side or gold.modulus != answer.modulus:
        return False
    modulus = expression.read(gold.modulus)
    difference = expression.read(gold.residue) - expression.read(answer.residue)
    return bool(difference == 0 or (modulus.is_Integer and difference.is_Integer and difference % modulus == 0))


def _same_relation(gold: Node, answer: Node) -> bool:
    if _is_chain(gold) and _is_chain(answer):
        assert isinstance(gold, Relation)
        assert isinstance(answer, Relation)
        return _same_equation(gold, answer)
    if _is_chain(gold) and not isinstance(answer, Relation):
        assert isinstance(gold, Relation)
        return (_name(gold.sides[0]) is not None or all(map(_is_constant, gold.sides))) and agree(_value(gold), answer)
    if _is_chain(answer) and not isinstance(gold, Relation):
        assert isinstance(answer, Relation)
        if isinstance(gold, Series) and not isinstance(answer.sides[0], Bracket):
            return _same_series(gold, Series((answer,)))
        return agree(gold, _value(answer)) and not _contradicts(gold, answer)
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        return _same_inequality(gold, answer)
    if isinstance(gold, Series) or isinstance(answer, Series):
        return _same_series(gold, answer)
    return _same_set(gold, answer)


def _same_equation(gold: Relation, answer: Relation) -> bool:
    names = _name(gold.sides[0]), _name(answer.sides[0])
    named_alike = names[0] == names[1] or all(_FUNCTION_VALUE.fullmatch(str(name)) for name in names)
    if None not in names and named_alike and agree(_value(gold), _value(answer)):
        return True
    if is_solved(gold):  # an equation that has the same solution is the question
        return is_solved(answer) and _name(answer.sides[0]) is None and _same_equation(gold, _turned(answer))
    ends = [(chain.sides[0], chain.sides[-1]) for chain in (gold, answer)]
    if not all(isinstance(side, Expr) for pair in ends for side in pair):
        return len(gold.sides) == len(answer.sides) and all(map(agree, gold.sides, answer.sides))
    a, b = (_difference(*pair) for pair in ends)
    return _same_curve(a, b)


def _turned(relation: Relation) -> Relation:
    operators = tuple(_FLIPPED.get(operator, operator) for operator in reversed(relation.operators))
    return Relation(relation.sides[::-1], operators)


def _difference(left: Node, right: Node) -> sympy.Expr:
    assert isinstance(left, Expr)
    assert isinstance(right, Expr)
    return expression.read(left.latex) - expression.read(right.latex)


def _same_curve(a: sympy.Expr, b: sympy.Expr) -> bool:
    """Whether a = 0 and b = 0 say the same: one is a multiple of the other, with or without denominators."""
    if not a.free_symbols or a.free_symbols != b.free_symbols:
        return False
    if _ratio_sign(a, b) is not None:
        return True
    numerators = [sympy.fraction(sympy.together(side))[0] for side in (a, b)]
    return _ratio_sign(*numerators) is not None


def _ratio_sign(a: sympy.Expr, b: sympy.Expr) -> int | None:
    """The sign of the constant a / b; None if it is no constant other than 0."""
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    point = {symbol: sympy.Rational(7 + 4 * place, 5) for place, symbol in enumerate(symbols)}
    at_a, at_b = a.subs(point), b.subs(point)
    if at_a.is_zero or at_b.is_zero or not at_a.is_real or not at_b.is_real:
        return None
    if not expression.same_value(sympy.expand(a * at_b), sympy.expand(b * at_a)):
        return None
    return 1 if (at_a / at_b).is_positive else -1


def _same_inequality(gold: Relation, answer: Relation) -> bool:
    for turned in (answer, _turned(answer)):
        if gold.operators == turned.operators and all(map(_quietly, gold.sides, turned.sides)):
            return True
    if is_solved(gold) and not is_solved(answer):
        return False
    if len(gold.sides) == len(answer.sides) == 2 and all(isinstance(side, Expr) for side in gold.sides + answer.sides):
        a, b = _difference(*gold.sides), _difference(*answer.sides)
        sign = _ratio_sign(a, b)
        wanted = gold.operators[0] if sign == 1 else _FLIPPED.get(gold.operators[0])
        if sign is not None:
            return answer.operators[0] == wanted
    return _unknowns(gold) == _unknowns(answer) and _same_set(gold, answer)


def _unknowns(relation: Relation) -> set[sympy.Symbol]:
    sides = [expression.read(side.latex).free_symbols for side in relation.sides if isinstance(side, Expr)]
    return set().union(*sides)


def _quietly(gold: Node, answer: Node) -> bool:
    """`agree` for one of several ways to compare: what cannot be read is not equal."""
    try:
        return agree(gold, answer)
    except expression.UnreadableError:
        return False


# Lists, tuples, sets, intervals -------------------------------------------------------------------------------------


def _same_series(gold: Node, answer: Node) -> bool:
    """Lists in any order. Against a tuple, a list has the tuple's order, or that of its names: `y = 2, x = 1`."""
    if not isinstance(gold, Series) and isinstance(answer, Series) and all(map(_is_inequality, answer.items)):
        return _same_set(gold, answer)
    shapes = {(node.opening, node.closing) for node in (gold, answer) if isinstance(node, Bracket)}
    if ("(", ")") in shapes:
        return _all_agree(_ordered(gold), _ordered(answer))
    if shapes - {("\\{", "\\}")} and len(_items(gold)) == 2:
        return False  # [1, 3] is an interval, [1, 2, 3] a list
    if _joined_letters(gold) and _joined_letters(gold) == _joined_letters(answer):
        return True
    if not all(isinstance(node, Series | Bracket) for node in (gold, answer)):
        if isinstance(gold, Union | Relation) or isinstance(answer, Union):
            return _same_set(gold, answer)
        if not isinstance(gold, Series) or not isinstance(answer, Expr | Relation):
            return False
    return _matched(_items(gold), _items(answer))


def _is_inequality(node: Node) -> bool:
    return isinstance(node, Relation) and not _is_chain(node)


def _joined_letters(node: Node) -> str:
    """The letters of several choices: `A, C` and `AC`."""
    letters = "".join(sorted(map(_letters, node.items))) if isinstance(node, Series) else _letters(node)
    return letters if re.fullmatch(r"[A-J]{2,}", letters) else ""


def _items(node: Node) -> list[Node]:
    return list(node.items) if isinstance(node, Series | Bracket) else [node]


def _ordered(node: Node) -> list[Node]:
    items = _items(node)
    chains = [item for item in items if isinstance(item, Relation) and _is_chain(item) and _name(item.sides[0])]
    if len(chains) != len(items):
        return items
    names = [str(_name(chain.sides[0])) for chain in chains]
    values = {name: _value(chain) for name, chain in zip(names, chains, strict=True)}
    return [values[name] for name in sorted(names)] if len(values) == len(items) else list(map(_value, chains))


def _all_agree(gold: Sequence[Node], answer: Sequence[Node]) -> bool:
    return len(gold) == len(answer) and all(map(agree, gold, answer))


def _matched(gold: list[Node], answer: list[Node]) -> bool:
    """Whether the members can be paired off; one that is repeated counts once."""
    if max(len(gold), len(answer)) > MAX_ITEMS:
        raise TooComplexError(f"more than {MAX_ITEMS} members")
    gold, answer = _distinct(gold), _distinct(answer)
    if len(gold) != len(answer):
        return False
    left = list(answer)
    for wanted in gold:
        found = next((item for item in left if item == wanted), None)
        if found is None:
            found = next((item for item in left if _quietly(wanted, item)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _distinct(items: list[Node]) -> list[Node]:
    distinct: list[Node] = []
    for item in items:
        if item not in distinct and not any(_quietly(other, item) for other in distinct):
            distinct.append(item)
    return distinct


def _same_bracket(gold: Bracket, answer: Bracket) -> bool:
    sets = [node.opening == "\\{" for node in (gold, answer)]
    if all(sets):
        return _matched(list(gold.items), list(answer.items))
    same = (gold.opening, gold.closing) == (answer.opening, answer.closing)
    return not any(sets) and same and _all_agree(gold.items, answer.items)


def _same_set(gold: Node, answer: Node) -> bool:
    a, b = as_set(gold), as_set(answer, solved=True)
    if isinstance(gold, Expr) and a is None and isinstance(answer, Union):
        a = sympy.FiniteSet(expression.read(gold.latex))
    if a is None or b is None:
        return False
    return bool(a == b or sympy.SymmetricDifference(a, b).doit().is_empty)


# Matrices, other notations ------------------------------------------------------------------------------------------


def _same_matrix(gold: Node, answer: Node) -> bool:
    r"""Entry by entry. A column or row is the tuple of its entries; a sum of matrices is worked out by sympy."""
    if isinstance(gold, Matrix) and isinstance(answer, Matrix):
        shapes = [[len(row) for row in node.rows] for node in (gold, answer)]
        return shapes[0] == shapes[1] and all(map(_all_agree, gold.rows, answer.rows))
    matrix, other = (gold, answer) if isinstance(gold, Matrix) else (answer, gold)
    assert isinstance(matrix, Matrix)
    if isinstance(other, Bracket) and other.opening != "\\{":
        entries = [entry for row in matrix.rows for entry in row]
        is_vector = len(matrix.rows) == 1 or all(len(row) == 1 for row in matrix.rows)
        return is_vector and _all_agree(entries, other.items)
    if isinstance(other, Expr) and "matrix" in other.latex:
        rows = [[expression.read(entry.latex) for entry in row if isinstance(entry, Expr)] for row in matrix.rows]
        return expression.same_value(sympy.Matrix(rows), expression.read(other.latex))
    return False


_TIME = re.compile(r"\d{1,2}:[0-5]\d")


def _same_notation(gold: Node, answer: Node) -> bool:
    """Digits in a base, where a missing base is the gold answer's; ratios, cancelled; times as they are written."""
    if isinstance(gold, Based) and isinstance(answer, Based):
        return (gold.digits, gold.base) == (answer.digits, answer.base)
    if isinstance(gold, Based) or isinstance(answer, Based):
        based, other = (gold, answer) if isinstance(gold, Based) else (answer, gold)
        assert isinstance(based, Based)
        return isinstance(other, Expr) and other.latex.lstrip("0") == based.digits
    texts = [":".join(node.parts) if isinstance(node, Ratio) else None for node in (gold, answer)]
    if all(text is not None and _TIME.fullmatch(text) for text in texts):
        return texts[0] == texts[1]
    parts = [_terms(node) for node in (gold, answer)]
    if len(parts[0]) != len(parts[1]):
        return False
    (first, *rest), (other_first, *other_rest) = (list(map(expression.read, terms)) for terms in parts)
    return all(expression.same_value(a * other_first, b * first) for a, b in zip(rest, other_rest, strict=True))


def _terms(node: Node) -> tuple[str, ...]:
    if isinstance(node, Ratio):
        return node.parts
    if isinstance(node, Expr):
        return (node.latex, "1")
    return ()


# Expressions --------------------------------------------------------------------------------------------------------


def _same_expr(gold: Expr, answer: Expr) -> bool:
    is_plain = expression.rational(gold.latex) is not None and not gold.unit
    gold, answer = _unit_off(gold, answer), _unit_off(answer, gold, is_plain)
    if contradict(gold.unit, answer.unit) or _percent_of_something(gold, answer) or _percent_of_something(answer, gold):
        return False
    if any(side.latex.replace(" ", "") in NAMED_SETS for side in (gold, answer)):
        return gold.latex.replace(" ", "") == answer.latex.replace(" ", "")
    if expression.equal(gold.latex, answer.latex):
        return _percent_may_drop(gold, answer)
    if gold.percent != answer.percent:  # 50% is 0.5
        percent, other = (gold, answer) if gold.percent else (answer, gold)
        return expression.equal(f"\\frac{{{percent.latex}}}{{100}}", other.latex)
    if {gold.unit, answer.unit} == {_DEGREE, ""}:  # 90 degrees is \pi/2, where the angle is written with \pi
        degree, other = (gold, answer) if gold.unit else (answer, gold)
        return "\\pi" in other.latex and expression.equal(f"\\frac{{({degree.latex})\\pi}}{{180}}", other.latex)
    degrees = [_IN_DEGREES.search(side.latex) is not None for side in (gold, answer)]
    if degrees[0] != degrees[1]:  # 90^\circ - x, and 90 - x
        return expression.equal(*(side.latex.replace("\\degree", "") for side in (gold, answer)))
    return False


_DEGREE = "degree^1"
_IN_DEGREES = re.compile(r"^(?!.*\\(?:sin|cos|tan|cot|sec|csc)).*\\degree", re.DOTALL)


def _unit_off(side: Expr, other: Expr, beside_number: bool = False) -> Expr:
    """`1200 m^2` where a number is asked for, or square metres: m is that unit there, and otherwise a variable."""
    match = re.fullmatch(r"(.*\d) ?((?:[a-zA-Z]{1,3}(?:\^\{?-?\d\}?)?[ /]?)+)", side.latex)
    if match is None or side.unit:
        return side
    unit = parse(match[2])
    if unit and (beside_number or unit == other.unit):
        return Expr(match[1].strip(), unit, side.percent)
    return side


def _percent_of_something(one: Expr, other: Expr) -> bool:
    """12% is not 12 dollars."""
    return one.percent and bool(other.unit)


def _percent_may_drop(gold: Expr, answer: Expr) -> bool:
    """50% is 50, the unit left out. But 0.5% is not 0.5: up to 1, a number without a percent sign is a share."""
    if gold.percent == answer.percent:
        return True
    value = expression.rational(gold.latex)
    return value is None or abs(value) > Fraction(1)
