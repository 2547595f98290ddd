"""Units of measurement in one spelling, to tell 15 cm from 15 m and 8 kN from 8 N."""

from __future__ import annotations

import re
from collections import Counter

_NAMES = {
    "m": "meter metre", "g": "gram gramme", "s": "second sec", "L": "l liter litre", "A": "ampere amp", "K": "kelvin",
    "mol": "mole", "N": "newton", "J": "joule", "W": "watt", "Wh": "",
    "Pa": "pascal", "Hz": "hertz", "V": "volt", "Ω": "ohm",
    "F": "farad", "C": "coulomb", "T": "tesla", "Wb": "weber", "H": "henry", "lm": "lumen", "lx": "lux",
    "cal": "calorie", "eV": "electronvolt", "B": "byte", "bit": "b", "Bq": "becquerel", "Sv": "sievert",
}  # fmt: skip
"""Units that take SI prefixes: symbol -> other names."""
_PREFIXES = {
    "": "", "k": "kilo", "c": "centi", "m": "milli", "d": "deci", "h": "hecto", "µ": "micro", "n": "nano", "p": "pico",
    "M": "mega", "G": "giga", "T": "tera", "P": "peta",
}  # fmt: skip
"""In the order in which they are preferred where letter case was lost: `mw` is mW."""
_OTHERS = {
    "inch": "in inche", "ft": "foot feet", "yard": "yd", "mile": "mi", "mile/h": "mph", "km/h": "kmh kph kmph",
    "pound": "lb lbs", "oz": "ounce", "min": "minute", "h": "hr hour", "day": "d", "week": "wk", "month": "",
    "year": "yr", "gallon": "gal", "dollar": "usd", "cent": "¢", "euro": "eur", "yuan": "rmb", "yen": "jpy",
    "rupee": "rs inr",
    "degree": "deg", "degree C": "celsius", "degree F": "fahrenheit", "atm": "", "bar": "", "acre": "", "hectare": "ha",
    "kB": "kb", "rpm": "", "t": "tonne ton",
    "": "unit point time way radian rad",
}  # fmt: skip
"""Other units, and in the last row words that contradict none."""
_UNITS = {
    prefix + symbol: prefix + symbol
    for symbol in _NAMES
    for prefix in _PREFIXES
    if len(prefix + symbol) > 1 or not prefix
}
_UNITS |= {
    long_prefix + name: prefix + symbol
    for symbol, names in _NAMES.items()
    for name in names.split()
    for prefix, long_prefix in _PREFIXES.items()
    if len(name) > 1 or not prefix
}
_UNITS |= {name: unit for unit, names in _OTHERS.items() for name in [unit, *names.split()]}
_LOWER = {name.lower(): unit for name, unit in reversed(_UNITS.items())}
_CASELESS = frozenset(("cm", "mm", "km", "kg", "mg", "ml", "ft", "hr", "lb", "oz", "in"))
"""Of two letters, those that are no products of variables in any case."""
_FACTOR = re.compile(r"([^\W\d_]+|Ω|°|¢)\.?\^?\{?(-?\d)?\}?")
_SPELLINGS = (
    (r"degrees?\s*(?:C|celsius)\b", "celsius"),
    (r"degrees?\s*(?:F|fahrenheit)\b", "fahrenheit"),
    (r"\b(?:square|sq)\b\.? ?(\w+)", r"\1^2"),
    (r"\b(?:cubic|cu)\b\.? ?(\w+)", r"\1^3"),
    (r" squared\b", "^2"),
    (r" cubed\b", "^3"),
    (r" per |(?<=\w) an? (?=\w)", "/"),
)


def known(word: str) -> str | None:
    """The unit that a word names, in the singular or plural; None if it names none."""
    for name in (word, word.removesuffix("s")):
        if name in _UNITS:
            return _UNITS[name]
    lower = word.lower()
    if len(word) < 3 and lower not in _CASELESS:
        return None
    return _LOWER.get(lower, _LOWER.get(lower.removesuffix("s")))


def parse(text: str) -> str | None:
    """A product of powers of units in one spelling, `kg·m^-3`; None if a word names no unit."""
    text = text.replace("\\cdot", " ").replace("\\text", " ").replace("\\degree", " degree ").replace("Ω", "Ω ")
    for pattern, replacement in _SPELLINGS:
        text = re.sub(pattern, replacement, text, flags=re.IGNORECASE)
    powers: Counter[str] = Counter()
    for place, part in enumerate(text.split("/")):
        if re.sub(r"[\s.*(){}·-]", "", _FACTOR.sub("", part)):
            return None
        for match in _FACTOR.finditer(part):
            unit = known(match[1])
            if unit is None:
                return None
            power = int(match[2] or 1) * (1 if place == 0 else -1)
            for inner_place, inner in enumerate(unit.split("/")):
                powers[inner] += power * (1 if inner_place == 0 else -1)
    powers.pop("", None)
    return "·".join(f"{unit}^{power}" for unit, power in sorted(powers.items()) if power)


def contradict(one: str, other: str) -> bool:
    """Whether two units in one spelling are different ones. Degrees may be of an angle or of temperature."""
    degrees = "degree^1" in (one, other) and one.startswith("degree") and other.startswith("degree")
    return bool(one and other and one != other and not degrees)
