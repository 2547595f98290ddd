"""Units in one spelling, and numbers in words."""

import pytest

from lens_core.verify.numerals import leading_number
from lens_core.verify.units import contradict, parse


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cm", "centimetres"),
        ("kg/m^3", "kg m^-3"),
        ("m/s", "metres per second"),
        ("m^2", "square meters"),
        ("mph", "miles per hour"),
        ("GB", "gigabytes"),
        ("degree C", "degrees Celsius"),
        ("lb", "pounds"),
        ("KM", "km"),
    ],
)
def test_spellings_of_one_unit(one: str, other: str) -> None:
    assert parse(one) == parse(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("kN", "N"), ("MW", "W"), ("mW", "MW"), ("TB", "GB"), ("kPa", "Pa"), ("A", "V"), ("N", "J"), ("kHz", "Hz")),
        *(("degree C", "degree F"), ("dollars", "cents"), ("dollars", "euros"), ("m", "m^2"), ("km/h", "m/s")),
    ],
)
def test_units_that_contradict(one: str, other: str) -> None:
    assert contradict(str(parse(one)), str(parse(other)))


@pytest.mark.parametrize("word", ["apples", "students", "x", "gt", "percent"])
def test_other_words_are_no_units(word: str) -> None:
    assert parse(word) is None


def test_units_that_contradict_none() -> None:
    assert parse("units") == parse("radians") == ""
    assert not contradict(str(parse("degrees")), str(parse("degree C")))  # of an angle or of temperature


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("seven apples", (7, "apples")),
        ("Twenty-one", (21, "")),
        ("one hundred and five", (105, "")),
        ("two thousand three hundred men", (2300, "men")),
        ("apples", None),
        ("", None),
    ],
)
def test_number_in_words(text: str, number: tuple[int, str] | None) -> None:
    assert leading_number(text) == number
