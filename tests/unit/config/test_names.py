"""Names that a person gives: those that pass are file names, MLflow's names and words of its queries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_core.config import checked_name
from lens_core.errors import LensError


@pytest.mark.parametrize("name", ["a", "qwen2.5-0.5b", "lens 2nd", "ünïcode_日本", "x" * 80, "k=4"])
def test_names_that_pass(name: str) -> None:
    assert checked_name(name, "label") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "it's",
        'a "b"',
        "[/x]",
        ":x:",
        "a\nb",
        "\x1b[31m",
        " a",
        "a ",
        "x" * 81,
        "-a",
        "`x`",
    ],
)
def test_names_that_are_refused_on_one_line(name: str) -> None:
    with pytest.raises(LensError, match=r"^label .* is no name; use at most 80 letters, digits, spaces and") as refused:
        checked_name(name, "label")
    assert "\n" not in str(refused.value)
    assert "\x1b" not in str(refused.value)


@given(st.text(max_size=90))
def test_what_passes_is_harmless_everywhere(name: str) -> None:
    try:
        checked_name(name, "label")
    except LensError:
        return
    assert not set(name) & set("/\\'\"`[]<>:\0\n\r\x1b")
    assert name.strip() == name
    assert name not in (".", "..")
    assert name.isprintable()
