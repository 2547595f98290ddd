"""Units of measurement in one spelling, to tell 15 cm from 15 m."""

from __future__ import annotations

_SPELLINGS = {
    "cm": "cm centimeter centimetre", "mm": "mm millimeter millimetre", "m": "m meter metre",
    "km": "km kilometer kilometre",
    "inch": "in inch inche", "ft": "ft foot feet", "yard": "yd yard", "mile": "mi mile", "mile/h": "mph",
    "km/h": "kmh kph", "g": "g gram", "kg": "kg kilogram", "mg": "mg milligram", "lb": "lb pound", "oz": "oz ounce",
    "ton": "ton", "s": "s sec second", "min": "min minute", "h": "h hr hour", "day": "day", "week": "week",
    "month": "month", "year": "year", "l": "l liter litre", "ml": "ml", "gallon": "gallon", "dollar": "dollar usd",
    "cent": "cent", "euro": "euro", "yuan": "yuan", "rupee": "rupee", "degree": "degree deg", "radian": "radian rad",
    "": "unit point time way",
}  # fmt: skip
_UNITS = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()}
"""Units that contradict one another. Other words behind a number (`3 apples`) say nothing about its value."""


def known(word: str) -> str | None:
    """The unit that a word names, in the singular or plural; None if it names none."""
    word = word.lower().strip(".")
    return _UNITS.get(word, _UNITS.get(word.removesuffix("s")))


def unit(name: str, power: str | None) -> str:
    """A unit in one spelling; empty if it is none that could contradict another."""
    name = name.lower().replace(" per ", "/").replace("square", "sq").replace("cubic", "cu").strip(" .")
    if name.startswith(("sq ", "cu ")):
        name, power = name[3:], "2" if name.startswith("sq") else "3"
    parts = [known(part.strip()) for part in name.split("/")]
    if None in parts:
        return ""
    return "/".join(part for part in parts if part) + (power or "")
