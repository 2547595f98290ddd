"""Answers as sets of real numbers: intervals, unions, inequalities in one unknown."""

from __future__ import annotations

import re

import sympy

from lens_core.verify import expression
from lens_core.verify.structure import Bracket, Expr, Node, Relation, Series, Text, Union

_REALS = {"all real numbers", "all reals", "real numbers", "all real number"}
NAMED_SETS = {
    "\\mathbb{R}": sympy.S.Reals,
    "\\mathbb{Z}": sympy.S.Integers,
    "\\mathbb{N}": sympy.S.Naturals,
    "\\mathbb{Q}": sympy.S.Rationals,
    "\\emptyset": sympy.S.EmptySet,
}


def as_set(node: Node, solved: bool = False) -> sympy.Set | None:
    """A set of real numbers, as sympy has it; None if the answer is none.

    Args:
        solved: take only inequalities that are solved for their unknown.
    """
    if isinstance(node, Expr):
        return NAMED_SETS.get(node.latex.replace(" ", ""))
    if isinstance(node, Text):
        return sympy.S.EmptySet if node.words == "none" else sympy.S.Reals if node.words in _REALS else None
    if isinstance(node, Bracket):
        if not all(isinstance(item, Expr) for item in node.items):
            return None
        if any(item.latex in NAMED_SETS for item in node.items if isinstance(item, Expr)):
            return None
        values = [expression.read(item.latex) for item in node.items if isinstance(item, Expr)]
        if node.opening == "\\{":
            return sympy.FiniteSet(*values)
        real = len(values) == 2 and all(value.is_extended_real for value in values)
        return sympy.Interval(*values, node.opening == "(", node.closing == ")") if real else None
    if isinstance(node, Union):
        sets = [as_set(part, solved) for part in node.sets]
        if any(part is None for part in sets):
            return None
        whole = sets[0]
        for operator, part in zip(node.operators, sets[1:], strict=True):
            join = {"\\cup": sympy.Union, "\\cap": sympy.Intersection, "\\setminus": sympy.Complement}[operator]
            whole = join(whole, part)
        return whole
    if isinstance(node, Series):
        sets = [as_set(item, solved) for item in node.items]
        if any(part is None for part in sets):
            return None
        both = sympy.Intersection(*sets) if all(isinstance(item, Relation) for item in node.items) else sympy.S.EmptySet
        # A comma is an `or` where both cannot hold: x < -1, x > 2.
        holds = node.joint == "and" or (node.joint == "" and both != sympy.S.EmptySet)
        return both if holds else sympy.Union(*sets)
    if not isinstance(node, Relation) or (solved and not is_solved(node)):
        return None
    return _solutions(node)


_ALONE = re.compile(r"[-+]?\|?(?:[a-zA-Z]|\\[a-zA-Z]+)(?:_\w|_\{\w+\})?'?(?:\([a-zA-Z]\))?\|?")


def is_solved(relation: Relation) -> bool:
    """Whether a name stands alone on one side, and numbers on the others: `-2 < x <= 5`, `x = 3`, `|x| < 1`."""
    names = [isinstance(side, Expr) and _ALONE.fullmatch(side.latex.strip()) is not None for side in relation.sides]
    return names.count(True) == 1 and all(
        is_name or (isinstance(side, Expr) and not expression.read(side.latex).free_symbols)
        for side, is_name in zip(relation.sides, names, strict=True)
    )


def _solutions(relation: Relation) -> sympy.Set | None:
    """The real numbers for which inequalities in one unknown hold; `f(x)` in `0 < f(x) < 1` counts as one."""
    unknown = sympy.Symbol("unknown", real=True)
    sides = []
    for side in relation.sides:
        if not isinstance(side, Expr):
            return None
        sides.append(expression.read(side.latex))
    names = set().union(*(side.free_symbols for side in sides))
    if len(names) != 1:
        return None
    sides = [side.subs(dict.fromkeys(names, unknown)) for side in sides]
    kinds = {"<": sympy.Lt, ">": sympy.Gt, "\\leq": sympy.Le, "\\geq": sympy.Ge, "\\neq": sympy.Ne, "=": sympy.Eq}
    whole: sympy.Set = sympy.S.Reals
    for left, operator, right in zip(sides, relation.operators, sides[1:], strict=False):
        if operator not in kinds:
            return None
        holds = kinds[operator](left, right)
        if holds == sympy.false:
            return sympy.S.EmptySet
        if holds != sympy.true:
            try:
                whole = whole.intersect(holds.as_set())
            except NotImplementedError as error:
                raise expression.UnreadableError(str(error)) from error
    return whole
