"""Random streams: one for each row of each batch, whatever the seed, and no two of them alike."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_WORD = 2**64


def row_uniforms(seed: int, first_row: int, rows: int, steps: int) -> Tensor:
    """[rows, steps] in (0, 1]: row `i` is a random stream of its own, that of `(seed, first_row + i)`.

    Philox has a key of two words and a counter of four: row and the seed's low word are the key, what else there is of
    the seed the counter's highest word, which no stream of this length reaches.

    Args:
        seed: below 2**128; a training's has its batch in the low 32 bits.
    """
    counter = np.array([0, 0, 0, seed // _WORD], dtype=np.uint64)
    streams = (
        np.random.Generator(
            np.random.Philox(key=np.array([seed % _WORD, first_row + row], dtype=np.uint64), counter=counter)
        )
        for row in range(rows)
    )
    return torch.from_numpy(np.stack([1 - stream.random(steps, dtype=np.float32) for stream in streams]))


def stream_seed(seed: int, place: int) -> int:
    """63 bits for generators that take one number: of `(seed, place)`, and unlike those of every other such pair.

    A sum of the two would make place 64 of one seed place 0 of the seed that is 64 higher.
    """
    return int(np.random.SeedSequence(seed, spawn_key=(place,)).generate_state(1, np.uint64)[0] >> np.uint64(1))
