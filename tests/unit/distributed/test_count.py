"""How `--workers` is read."""

import pytest

from lens_core.distributed.count import Workers
from lens_core.errors import LensError


@pytest.mark.parametrize(("text", "workers"), [("4", Workers(4, 4)), ("1:3", Workers(1, 3)), ("0", Workers(0, 0))])
def test_number_or_range(text: str, workers: Workers) -> None:
    assert Workers.parse(text) == workers


@pytest.mark.parametrize("text", ["", "two", "-1", "1.5", "3:2", "0:2", ":", "2:", "1:2:3"])
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(LensError, match=rf"--workers is '{text}'"):
        Workers.parse(text)
