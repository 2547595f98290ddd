"""Every row of every batch has random numbers of its own, for every seed that a configuration takes."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lens_core.config import load_config
from lens_core.errors import LensError
from lens_core.rollout.engine import SamplingConfig, TransformersEngine
from lens_core.rollout.streams import row_uniforms, stream_seed
from lens_core.training.ladder_base import character_tokenizer
from tests.helpers.fakes import tiny_policy

SEEDS = [0, 1, 7, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2**16 - 1]
"""Of `train.seed`, the largest one included."""


def batch_seed(seed: int, batch: int) -> int:
    """What a training hands to an engine."""
    return seed * 2**32 + batch


def test_row_uniforms_are_streams_of_their_own() -> None:
    table = row_uniforms(1, 0, 2000, 3)
    assert 0 < table.min() <= table.max() <= 1
    assert torch.equal(row_uniforms(1, 10, 5, 3), table[10:15])
    assert not torch.equal(row_uniforms(2, 10, 5, 3), table[10:15])
    assert (
        torch.corrcoef(torch.stack([table[:-1, 0], table[1:, 0], table[:-1, 1]])).fill_diagonal_(0).abs().max() < 0.08
    )


def test_row_is_numpys_philox_of_seed_and_row() -> None:
    """The streams of before for seeds below 2**31: NumPy's own generator with the key spelt out."""
    for seed, batch, row in [(0, 1, 0), (7, 3, 11), (2**31 - 1, 100, 5)]:
        key = np.array([seed * 2**32 + batch, row], dtype=np.uint64)
        expected = 1 - np.random.Generator(np.random.Philox(key=key)).random(4, dtype=np.float32)
        assert row_uniforms(batch_seed(seed, batch), row, 1, 4)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_batches_of_a_training_are_all_different(seed: int) -> None:
    tables = {row_uniforms(batch_seed(seed, batch), 0, 2, 8).numpy().tobytes() for batch in range(1, 101)}
    assert len(tables) == 100


def test_seeds_batches_and_rows_share_no_stream() -> None:
    places = list(itertools.product([*SEEDS, 2**32, 2**40], (1, 2, 64, 65), (0, 1, 64)))
    rows = {row_uniforms(batch_seed(seed, batch), row, 1, 8).numpy().tobytes() for seed, batch, row in places}
    assert len(rows) == len(places)
    assert len({stream_seed(batch_seed(seed, batch), row) for seed, batch, row in places}) == len(places)


@given(seed=st.integers(0, 2**96), place=st.integers(1, 2**31))
def test_seed_of_a_stream_fits_every_generator_and_is_no_sum(seed: int, place: int) -> None:
    own = stream_seed(seed, place)
    assert 0 <= own < 2**63
    assert own not in {stream_seed(seed + 1, place), stream_seed(seed, place + 1), stream_seed(seed + place, 0)}


def test_engine_without_our_decoding_draws_other_completions_in_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lens_core.rollout.engine.inexact_decoding", lambda model: "is another")
    engine = TransformersEngine(tiny_policy(), character_tokenizer())
    sampling = SamplingConfig(max_new_tokens=16)
    # A sum of seed and row would draw the same for (batch 1, row 64) and (batch 65, row 0).
    drawn = [engine.sample_ids([[14, 15]] * 4, sampling, batch_seed(3, 1), 64).token_ids]
    drawn.append(engine.sample_ids([[14, 15]] * 4, sampling, batch_seed(3, 65), 0).token_ids)
    assert drawn[0] != drawn[1]
    assert drawn[0] == engine.sample_ids([[14, 15]] * 4, sampling, batch_seed(3, 1), 64).token_ids


def test_seed_that_numpy_does_not_take_is_refused_before_any_work() -> None:
    assert load_config("demo", [f"train.seed={SEEDS[-1]}"]).train.seed == SEEDS[-1]
    for seed in (SEEDS[-1] + 1, 2**32, -1):
        with pytest.raises(LensError, match=r"train\.seed: must be"):
            load_config("demo", [f"train.seed={seed}"])
