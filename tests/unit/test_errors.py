"""What is shown of another library's exceptions."""

import pytest

from lens_core.errors import first_line


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("no such file\nand more", "no such file"),
        ("\n  the words come late", "the words come late"),
        ("", "ValueError"),
        # A Ray client's, about a server that could not start a driver of its own.
        (
            "Initialization failure from server:\nTraceback (most recent call last):\nTimeoutError: too late",
            "Initialization failure from server: TimeoutError: too late",
        ),
        ("ends with a colon:", "ends with a colon:"),
    ],
)
def test_first_line_says_what_happened(said: str, shown: str) -> None:
    assert first_line(ValueError(said)) == shown
