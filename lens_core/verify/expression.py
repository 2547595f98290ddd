"""Whether two LaTeX expressions have the same value: read by latex2sympy, compared exactly or to many digits.

Floats never decide. Decimals are read as fractions; what is not rational is evaluated to 50 digits or more, and
expressions with variables at several points.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from sympy.core.function import AppliedUndef

MAX_DIGITS = 20_000
"""Larger numbers are not computed."""
MAX_TERMS = 10_000
"""Longer sums and products are not computed."""
ROUNDED_DIGITS = 6
"""A decimal with at least so many significant digits stands for the exact value that it rounds or cuts off."""
_DIGITS = 50
_INFINITE = (sympy.nan, sympy.zoo, sympy.oo, -sympy.oo)
"""Values that differ from everything, themselves included: no difference of theirs is larger than a tolerance."""
_POINTS = tuple(
    tuple(Fraction(prime * step % 997, 307) + Fraction(1, 7) for prime in (211, 401, 563, 631, 739, 829, 907, 953))
    for step in (1, 3, 7, 12)
)
"""Values of the variables, the first for the first variable in the order of their names."""
_CONFIG = ConversionConfig(lowercase_symbols=False, interpret_as_mixed_fractions=False)
_NUMBER = re.compile(r"([+-]?)\(?(\d+(?:\.\d+)?)\)?")
_POWER_OF_TEN = re.compile(r"([+-]?\d+(?:\.\d+)?) ?\\cdot ?10\^\{?([+-]?\d{1,3})\}?")
_FRACTION = re.compile(r"([+-]?)(?:\\frac\{([+-]?\d+)\}\{([+-]?\d+)\}|(\d+)/(\d+))")


class UnreadableError(ValueError):
    """The text is no mathematical expression, or none that latex2sympy reads."""


class TooLargeError(ValueError):
    """The value has more than MAX_DIGITS digits."""


@lru_cache(4096)
def rational(latex: str) -> Fraction | None:
    """The value of a plain number, fraction or power of ten; None for anything else."""
    match = _NUMBER.fullmatch(latex)
    if match:
        return Fraction(match[1] + match[2])
    match = _FRACTION.fullmatch(latex)
    if match:
        above, below = int(match[2] or match[4]), int(match[3] or match[5])
        return (-1 if match[1] == "-" else 1) * Fraction(above, below) if below else None
    match = _POWER_OF_TEN.fullmatch(latex)
    return Fraction(match[1]) * Fraction(10) ** int(match[2]) if match else None


def decimals(latex: str) -> tuple[int, int] | None:
    """Decimal places and significant digits of a decimal; None if it is none."""
    match = re.fullmatch(r"[+-]?(\d+)\.(\d+)(?: ?\\cdot ?10\^\{?([+-]?\d{1,3})\}?)?", latex)
    if match is None:
        return None
    return len(match[2]) - int(match[3] or 0), len((match[1] + match[2]).lstrip("0"))


@lru_cache(4096)
def read(latex: str) -> sympy.Expr:
    """The sympy expression.

    Raises:
        UnreadableError: if latex2sympy cannot read it.
        TooLargeError: if its value is too large to compute.
    """
    exact = rational(latex)
    if exact is not None:
        return sympy.Rational(exact.numerator, exact.denominator)
    if re.search(r"(?<![_^\d])\d+ \d", latex):
        raise UnreadableError(latex)  # latex2sympy takes `1 2` for 12
    text = re.sub(r"(\d+(?:\.\d+)?) ?\\degree", r"(\\frac{\1 \\cdot \\pi}{180})", latex)
    text = re.sub(r"(?<![\d.])\d+\.\d+", _as_fraction, text)
    text = re.sub(r"\\text\{([a-zA-Z])\}", r"\1", text).replace("\\degree", "").replace("\\cr", "\\\\")
    try:
        expression = latex2sympy(text, normalization_config=None, conversion_config=_CONFIG)
    except RecursionError:
        raise
    except Exception as error:  # latex2sympy raises bare Exception for a syntax error, and what sympy makes of others
        raise UnreadableError(latex) from error
    if not isinstance(expression, sympy.Expr | sympy.MatrixBase | sympy.MatrixExpr):
        raise UnreadableError(latex)
    if _log10(expression) > MAX_DIGITS:
        raise TooLargeError(latex)
    if any(
        _bound(limit[2] - limit[1]) > MAX_TERMS
        for part in expression.atoms(sympy.Sum, sympy.Product)
        for limit in part.limits
        if len(limit) == 3 and not (limit[2] - limit[1]).free_symbols and limit[2] != sympy.oo
    ):
        raise TooLargeError(latex)
    named = {symbol: sympy.I for symbol in expression.free_symbols if symbol.name in ("i", "\\imath")}
    return _evaluated(expression.subs(named) if named else expression)


def _as_fraction(match: re.Match[str]) -> str:
    value = Fraction(match[0])
    return f"(\\frac{{{value.numerator}}}{{{value.denominator}}})"


def _evaluated(expression: sympy.Expr) -> sympy.Expr:
    try:
        expression = expression.doit()
    except (ValueError, TypeError, AttributeError, NotImplementedError) as error:
        raise UnreadableError(str(type(error).__name__)) from error
    if isinstance(expression, sympy.MatrixBase):
        return expression
    return expression.replace(lambda part: isinstance(part, AppliedUndef), lambda part: sympy.Symbol(str(part)))


def _log10(expression: sympy.Basic) -> float:
    """An upper bound of the digits of a value and of its inverse, without computing it."""
    if isinstance(expression, sympy.Rational):
        return (max(abs(expression.p), expression.q).bit_length() + 1) * 0.30103
    if isinstance(expression, sympy.Pow | sympy.exp):
        base, exponent = expression.as_base_exp() if isinstance(expression, sympy.exp) else expression.args
        return _bound(exponent) * max(_log10(base), 0.44)
    if isinstance(expression, sympy.factorial | sympy.factorial2 | sympy.gamma):
        size = _bound(expression.args[0])
        return size * max(math.log10(size), 1) if 0 < size < math.inf else size
    inner = [_log10(part) for part in expression.args if isinstance(part, sympy.Basic)]
    return sum(inner) if isinstance(expression, sympy.Mul) else max(inner, default=1.0) + math.log10(len(inner) + 1)


def _bound(expression: sympy.Basic) -> float:
    """An upper bound of the absolute value; infinite where floats end. Variables count as 10."""
    if isinstance(expression, sympy.Rational):
        return abs(expression.p) / expression.q if expression.p.bit_length() < 1000 else math.inf
    inner = [_bound(part) for part in expression.args if isinstance(part, sympy.Basic)]
    try:
        if isinstance(expression, sympy.Add):
            return sum(inner)
        if isinstance(expression, sympy.Mul):
            return math.prod(inner)
        if isinstance(expression, sympy.Pow):
            exponent = expression.args[1]
            return (
                inner[0] ** float(exponent)
                if isinstance(exponent, sympy.Rational) and inner[0]
                else max(inner[0], 10) ** inner[1]
            )
        if isinstance(expression, sympy.factorial | sympy.exp):
            return math.gamma(inner[0] + 2)
    except OverflowError:
        return math.inf
    return max(inner, default=10.0)


def is_larger(latex: str, bound: Fraction) -> bool:
    """Whether a tower of whole numbers that is too large to compute is surely above `bound`."""
    try:
        tower = latex2sympy(latex, normalization_config=None, conversion_config=_CONFIG)
    except Exception as error:
        raise UnreadableError(latex) from error
    grows = isinstance(tower, sympy.Pow) and not any(
        (isinstance(part, sympy.Integer) and part < 2) or not isinstance(part, sympy.Integer | sympy.Pow)
        for part in sympy.preorder_traversal(tower)
    )
    return grows and abs(bound) < 2**1000


def equal(gold: str, answer: str) -> bool:
    """Whether two expressions have the same value, as functions of their variables.

    Raises:
        UnreadableError: if one of them cannot be read.
        TooLargeError: if one of them is too large to compute.
    """
    if _despaced(gold) == _despaced(answer):
        return True
    a, b = rational(gold), rational(answer)
    if a is not None and b is not None:
        return a == b or _rounds(gold, answer, a, b) or _rounds(answer, gold, b, a)
    if same_value(read(gold), read(answer)):
        return True
    return _rounds_to(gold, answer) or _rounds_to(answer, gold)


def _despaced(latex: str) -> str:
    """Without spaces that TeX ignores: all but those that end a command, or part two numbers."""
    return re.sub(r"(?<![a-zA-Z\d]) | (?![a-zA-Z\d])", "", latex)


def _rounds(decimal: str, other: str, value: Fraction, exact: Fraction) -> bool:
    places, other_places = decimals(decimal), decimals(other)
    if places is None or places[1] < ROUNDED_DIGITS:
        return False
    if other_places is None and re.fullmatch(r"[+-]?\d+", other):
        return False  # 1.999999 is not 2: a whole number needs no rounding
    if other_places is not None and other_places[0] <= places[0]:
        return False
    return _is_rounded(value, exact, places[0])


def _is_rounded(value: Fraction, exact: Fraction, places: int) -> bool:
    """Whether a decimal of so many places is `exact` rounded, or cut off: 0.666667 and 0.666666 are 2/3."""
    ulp = Fraction(1, 10) ** places
    return abs(value - exact) <= ulp / 2 or 0 <= abs(exact) - abs(value) < ulp


def _rounds_to(decimal: str, exact: str) -> bool:
    """Whether `decimal` is the value of `exact`, rounded or cut off, with ROUNDED_DIGITS or more."""
    places, value = decimals(decimal), read(exact)
    if places is None or places[1] < ROUNDED_DIGITS or isinstance(value, sympy.MatrixBase) or value.free_symbols:
        return False
    if value.is_Integer:
        return False
    number = value.evalf(places[1] + 20)
    if not (number.is_Float or number.is_Rational):
        return False
    return _is_rounded(rational(decimal) or Fraction(0), Fraction(str(sympy.Float(number, places[1] + 20))), places[0])


def same_value(a: sympy.Expr, b: sympy.Expr) -> bool:
    """Whether two sympy expressions are equal."""
    if isinstance(a, sympy.MatrixBase) or isinstance(b, sympy.MatrixBase):
        matrices = isinstance(a, sympy.MatrixBase) and isinstance(b, sympy.MatrixBase) and a.shape == b.shape
        return matrices and all(same_value(x, y) for x, y in zip(a.flat(), b.flat(), strict=True))
    if a.has(sympy.nan, sympy.zoo) or b.has(sympy.nan, sympy.zoo):
        return False
    if a == b:
        return True
    if a.is_Rational and b.is_Rational:
        return False
    if a.has(*_INFINITE) or b.has(*_INFINITE):
        return False
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    return _same_at_points(a, b, symbols) if symbols else _same_number(a, b, {})


def _same_number(a: sympy.Expr, b: sympy.Expr, values: dict[sympy.Symbol, sympy.Rational]) -> bool:
    digits = _DIGITS + int(min(_spread(a) + _spread(b), MAX_DIGITS))
    x, y = (part.evalf(digits, subs=values or None) for part in (a, b))
    if not (x.is_number and y.is_number) or x.has(*_INFINITE) or y.has(*_INFINITE):
        return False
    difference, scale = abs(x - y).evalf(digits), max(abs(x).evalf(15), abs(y).evalf(15))
    return bool(scale == 0 or difference <= scale * sympy.Float(10, digits) ** (_DIGITS // 2 - digits))


def _spread(expression: sympy.Expr) -> float:
    """Digits by which terms can differ and still matter: of the numbers and powers in the expression."""
    powers = (part for part in sympy.preorder_traversal(expression) if isinstance(part, sympy.Pow | sympy.Rational))
    return sum(min(abs(_log10(part)), MAX_DIGITS) for part in powers if part.is_number)


def _same_at_points(a: sympy.Expr, b: sympy.Expr, symbols: list[sympy.Symbol]) -> bool:
    """Whether `a` and `b` agree wherever both are real (everywhere, if one holds i), at three points or more."""
    is_complex = a.has(sympy.I) or b.has(sympy.I)
    compared = 0
    for row, signs in enumerate((0b00000000, 0b11111111, 0b01010101, 0b10101010, 0, 0b11111111)):
        values = {}
        for place, symbol in enumerate(symbols):
            point = _POINTS[row % len(_POINTS)][place % 8] + place // 8
            values[symbol] = sympy.Rational(point.numerator, point.denominator) * (-1 if signs >> place % 8 & 1 else 1)
        x, y = a.evalf(30, subs=values), b.evalf(30, subs=values)
        if not (x.is_number and y.is_number) or x.has(*_INFINITE) or y.has(*_INFINITE):
            if x.is_number != y.is_number:
                return False
            continue
        if x.free_symbols or y.free_symbols or not _evaluates(x) or not _evaluates(y):
            return bool(sympy.simplify(a - b) == 0)
        if not is_complex and not (_is_real(x) and _is_real(y)):
            if _is_real(x) != _is_real(y) and row in (0, 4):
                return False  # on positive values both sides of an identity are real together
            continue
        if not is_complex and not all(_roots_are_real(side, values) for side in (a, b)):
            continue  # \sqrt{ab} is \sqrt a \sqrt b where those are real
        if abs(x - y) > max(abs(x), abs(y)) * sympy.Float("1e-20", 30):
            return False
        compared += 1
    return compared >= 2 or (compared > 0 and bool(sympy.simplify(a - b) == 0))


def _roots_are_real(expression: sympy.Expr, values: dict[sympy.Symbol, sympy.Rational]) -> bool:
    roots = (part for part in expression.atoms(sympy.Pow) if not part.exp.is_integer and part.base.free_symbols)
    return all(root.base.evalf(15, subs=values).is_nonnegative for root in roots)


def _evaluates(value: sympy.Expr) -> bool:
    return all(part.is_Number or part == sympy.I for part in sympy.preorder_traversal(value) if not part.args)


def _is_real(value: sympy.Expr) -> bool:
    real, imaginary = value.as_real_imag()
    return bool(abs(imaginary) <= max(abs(real), 1) * sympy.Float("1e-20", 30))
