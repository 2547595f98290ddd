"""The arithmetic ladder: seeded problems in five levels of rising difficulty, with worked solutions.

| level | form                        | example      | worked solution                                        |
|-------|-----------------------------|--------------|--------------------------------------------------------|
| 1     | two digits +- one digit     | `47+8`       | `\\boxed{55}`                                          |
| 2     | two digits +- two digits    | `47+38`      | `47+30=77, 77+8=85 \\boxed{85}`                        |
| 3     | three terms of two digits   | `47+38-19`   | `47+38=85, 85-19=66 \\boxed{66}`                       |
| 4     | product, then +- one digit  | `47*6+8`     | `40*6=240, 7*6=42, 240+42=282, 282+8=290 \\boxed{290}` |
| 5     | two products, + or -        | `47*6+38*2`  | `47*6=282, 38*2=76, 282+76=358 \\boxed{358}`           |

Every worked solution fits in 64 characters, every answer is an integer >= 0.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from lens_core.data.problem import Problem

Worked = tuple[str, int, list[str]]
"""Expression, its value, and the steps that lead there."""

LEVELS = (1, 2, 3, 4, 5)


def _plus_or_minus(rng: random.Random, a: int, b: int) -> tuple[str, int]:
    """`a+b`, or `a-b` where that is not negative, each as often as the other."""
    if b <= a and rng.random() < 0.5:
        return f"{a}-{b}", a - b
    return f"{a}+{b}", a + b


def _two_digits(rng: random.Random) -> int:
    return rng.randint(10, 99)


def _level_1(rng: random.Random) -> Worked:
    expression, value = _plus_or_minus(rng, _two_digits(rng), rng.randint(1, 9))
    return expression, value, []


def _level_2(rng: random.Random) -> Worked:
    a, b = _two_digits(rng), _two_digits(rng)
    expression, value = _plus_or_minus(rng, a, b)
    tens, units = b // 10 * 10, b % 10
    if value < a:
        return expression, value, [f"{a}-{tens}={a - tens}", f"{a - tens}-{units}={value}"]
    return expression, value, [f"{a}+{tens}={a + tens}", f"{a + tens}+{units}={value}"]


def _level_3(rng: random.Random) -> Worked:
    head, subtotal = _plus_or_minus(rng, _two_digits(rng), _two_digits(rng))
    tail, value = _plus_or_minus(rng, subtotal, _two_digits(rng))
    return head + tail.removeprefix(str(subtotal)), value, [f"{head}={subtotal}", f"{tail}={value}"]


def _level_4(rng: random.Random) -> Worked:
    a, b, c = _two_digits(rng), rng.randint(2, 9), rng.randint(1, 9)
    tens, units, product = a // 10 * 10, a % 10, a * b
    tail, value = _plus_or_minus(rng, product, c)
    steps = [
        f"{tens}*{b}={tens * b}",
        f"{units}*{b}={units * b}",
        f"{tens * b}+{units * b}={product}",
        f"{tail}={value}",
    ]
    return f"{a}*{b}" + tail.removeprefix(str(product)), value, steps


def _level_5(rng: random.Random) -> Worked:
    a, b, c, d = _two_digits(rng), rng.randint(2, 9), _two_digits(rng), rng.randint(2, 9)
    sum_or_difference, value = _plus_or_minus(rng, a * b, c * d)
    sign = "+" if value >= a * b else "-"
    steps = [f"{a}*{b}={a * b}", f"{c}*{d}={c * d}", f"{sum_or_difference}={value}"]
    return f"{a}*{b}{sign}{c}*{d}", value, steps


_FORMS: dict[int, Callable[[random.Random], Worked]] = {
    1: _level_1,
    2: _level_2,
    3: _level_3,
    4: _level_4,
    5: _level_5,
}


def boxed(value: int | str) -> str:
    return f"\\boxed{{{value}}}"


def climb(level: int, seed: int) -> Iterator[Problem]:
    """Yield problems of one level without end; the same seed gives the same problems on every machine.

    Repeats are possible, and certain in the long run at level 1, which has about 1,600 distinct problems.
    """
    rng = random.Random(f"ladder/{level}/{seed}")
    index = 0
    while True:
        expression, value, steps = _FORMS[level](rng)
        yield Problem(
            id=f"ladder-{level}-{seed}-{index}",
            prompt=f"Compute {expression}.",
            answer=str(value),
            level=level,
            subject="arithmetic",
            source="ladder",
            solution=" ".join([*([", ".join(steps)] if steps else []), boxed(value)]),
        )
        index += 1


def ladder(per_level: int, seed: int, levels: Sequence[int] = LEVELS) -> list[Problem]:
    """`per_level` *distinct* problems of each level, level after level.

    Raises:
        ValueError: if a level is not 1 to 5, or has no `per_level` distinct problems (level 1 has about 1,600).
    """
    problems: list[Problem] = []
    for level in levels:
        if level not in _FORMS:
            raise ValueError(f"ladder level {level!r} does not exist; choose from 1 to 5")
        distinct: dict[str, Problem] = {}
        for problem in islice(climb(level, seed), 20 * per_level + 1000):
            distinct.setdefault(problem.prompt, problem)
            if len(distinct) == per_level:
                break
        else:
            raise ValueError(
                f"level {level} of the ladder has only about {len(distinct)} distinct problems, not {per_level}"
            )
        problems.extend(distinct.values())
    return problems
