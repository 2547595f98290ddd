"""The number of processes that train together, as a command line gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lens_core.errors import LensError

if TYPE_CHECKING:
    from lens_core.config import TrainConfig

_MOST_DIGITS = 5


@dataclass(frozen=True)
class Workers:
    """How many processes train together; with `least` below `most`, as many of them as the cluster has room for."""

    least: int
    most: int

    def require_whole_micro_batches(self, config: TrainConfig) -> None:
        """Check that every number of them that is allowed can train with `config`.

        Raises:
            LensError: if a step's completions do not divide over one of these numbers.
        """
        for ranks in range(self.least, self.most + 1):
            config.micro_batch_of(ranks)

    @classmethod
    def parse(cls, text: str) -> Workers:
        """`4`, or `2:8`.

        Raises:
            LensError: if it is neither.
        """
        least, separator, most = text.partition(":")
        numbers = (least, most) if separator else (least, least)
        if not all(number.isdecimal() for number in numbers):
            raise LensError(f"--workers is {text!r}; give a number, or MIN:MAX for as many as there is room for")
        if any(len(number) > _MOST_DIGITS for number in numbers):
            raise LensError(f"--workers is {text!r}; no cluster has that many")
        workers = cls(int(numbers[0]), int(numbers[1]))
        if workers.least > workers.most or (separator and workers.least == 0):
            raise LensError(f"--workers is {text!r}; it needs 1 <= MIN <= MAX, or 0 to train in this process")
        return workers
