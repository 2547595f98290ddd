"""Our decoding against transformers' own, and the tape that it writes."""

import pytest
import scipy.stats
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from lens_core.progress import drawing_told
from lens_core.rollout import decode
from lens_core.rollout.decode import Sampled, sample
from lens_core.rollout.streams import row_uniforms
from tests.helpers.fakes import tiny_policy

ENDS = set(range(2, 12))
PROMPTS = torch.tensor([[0, 0, 14, 15, 16], [0, 0, 14, 15, 16], [17, 18, 19, 20, 21], [0, 0, 0, 0, 22]] * 4)
MASK = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]] * 4)


def draw(model: PreTrainedModel, seed: int = 0, steps: int = 20, **kwargs: object) -> Sampled:
    torch.manual_seed(seed)
    return sample(model, PROMPTS, MASK, 0.8, steps, ENDS, **kwargs)


def logits_of_one_row(model: PreTrainedModel, row: int, token_ids: list[int]) -> Tensor:
    """[T, V] at temperature 0.8, by a forward pass of the row alone."""
    prompt = PROMPTS[row][MASK[row].bool()].tolist()
    with torch.no_grad():
        return model(input_ids=torch.tensor([prompt + token_ids])).logits[0, len(prompt) - 1 : -1] / 0.8


@pytest.mark.parametrize("steps", [1, 2, 20])
def test_same_seed_draws_what_generate_draws(steps: int) -> None:
    model = tiny_policy()
    ours = draw(model, steps=steps)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    theirs = model.generate(
        input_ids=PROMPTS,
        attention_mask=MASK,
        do_sample=True,
        temperature=0.8,
        top_k=0,
        max_new_tokens=steps,
        eos_token_id=sorted(ENDS),
        pad_token_id=0,
    )[:, 5:]
    for ids, row in zip(ours.token_ids, theirs.tolist(), strict=True):
        assert row[: len(ids)] == ids
        assert not any(row[len(ids) :])
    assert torch.equal(state, torch.get_rng_state())


def test_logprobs_and_entropies_are_those_of_a_full_forward_pass() -> None:
    model = tiny_policy()
    drawn = draw(model, want_entropies=True)
    assert len({len(ids) for ids in drawn.token_ids}) > 4
    for row, (ids, logprobs, entropies) in enumerate(
        zip(drawn.token_ids, drawn.logprobs, drawn.entropies, strict=True)
    ):
        expected = torch.distributions.Categorical(logits=logits_of_one_row(model, row, ids))
        assert logprobs == pytest.approx(expected.log_prob(torch.tensor(ids)).tolist(), abs=1e-5)
        assert entropies == pytest.approx(expected.entropy().tolist(), abs=1e-4)


def test_answers_end_with_their_first_end_token_and_are_reported_as_they_end() -> None:
    events: list[tuple[int, list[int]]] = []
    drawn = draw(tiny_policy(), on_end=lambda row, ids: events.append((row, ids)))
    assert sorted(events) == list(enumerate(drawn.token_ids))
    lengths = [len(ids) for _, ids in events]
    assert lengths == sorted(lengths)  # as soon as they end
    for ids in drawn.token_ids:
        assert not ENDS & set(ids[:-1])
        assert ids[-1] in ENDS or len(ids) == 20


def test_batch_that_takes_long_tells_how_far_it_is() -> None:
    told: list[str] = []
    with drawing_told(told.append, every_s=0.0):
        drawn = draw(tiny_policy(), steps=3)
    assert max(map(len, drawn.token_ids)) == 3
    assert told == [f"drawing, token {place} of at most 3" for place in (1, 2, 3)]
    with drawing_told(told.append, every_s=60.0):
        draw(tiny_policy(), steps=3)
    draw(tiny_policy(), steps=3)
    assert len(told) == 3


def test_rows_that_have_ended_leave_the_batch_and_prompts_are_read_once() -> None:
    model = tiny_policy()
    shapes: list[tuple[int, ...]] = []
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    draw(model)
    hook.remove()
    assert shapes[0] == (3, 5)  # three distinct prompts among sixteen rows
    rows = [shape[0] for shape in shapes[1:]]
    assert rows[0] == 16 or rows[0] < 16 * decode._COMPACT_BELOW
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] < 16


def test_cache_grows_in_place_and_holds_what_the_plain_one_holds() -> None:
    torch.manual_seed(0)
    plain, roomy = DynamicCache(), DynamicCache()
    roomy.layers = [decode._RoomyLayer()]
    for length in (3, 1, 1, 1, 5):
        states = torch.randn(4, 2, length, 8), torch.randn(4, 2, length, 8)
        for one, other in zip(plain.update(*states, 0), roomy.update(*states, 0), strict=True):
            assert torch.equal(one, other)
        if length == 5:
            continue
        keep = torch.tensor([3, 0, 0, 1])
        plain.batch_select_indices(keep)
        roomy.batch_select_indices(keep)
    assert roomy.get_seq_length() == 11


def test_large_layers_are_packed_and_come_back() -> None:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=32, hidden_size=512, intermediate_size=512, num_hidden_layers=1, num_attention_heads=8,
        num_key_value_heads=8, tie_word_embeddings=False,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config).eval()
    layer, x = model.model.layers[0].mlp.up_proj, torch.randn(3, 512)
    before = layer(x)
    with decode._packed_linears(model):
        assert "forward" in vars(layer)
        assert "forward" not in vars(model.lm_head)  # 32 x 512: too small
        torch.testing.assert_close(layer(x), before, rtol=1e-4, atol=1e-5)
    assert "forward" not in vars(layer)
    with pytest.raises(KeyError), decode._packed_linears(model):
        raise KeyError
    assert "forward" not in vars(layer)


def test_a_row_draws_the_same_however_the_batch_is_cut_up() -> None:
    model = tiny_policy()
    whole = draw(model, uniform_BT=row_uniforms(7, 0, 16, 20))
    parts = [
        sample(
            model,
            PROMPTS[cut],
            MASK[cut],
            0.8,
            20,
            ENDS,
            uniform_BT=row_uniforms(7, cut.start, cut.stop - cut.start, 20),
        )
        for cut in (slice(0, 5), slice(5, 6), slice(6, 16))
    ]
    assert [ids for part in parts for ids in part.token_ids] == whole.token_ids
    assert len({tuple(ids) for ids in whole.token_ids}) > 10  # equal prompts draw different answers


def test_row_seeded_draws_follow_the_distribution_and_leave_the_global_state_alone() -> None:
    model, rows = tiny_policy(), 4000
    state = torch.get_rng_state()
    drawn = sample(
        model,
        PROMPTS[:1].repeat(rows, 1),
        MASK[:1].repeat(rows, 1),
        0.8,
        1,
        ENDS,
        uniform_BT=row_uniforms(0, 0, rows, 1),
    )
    assert torch.equal(state, torch.get_rng_state())
    counts = torch.bincount(torch.tensor([ids[0] for ids in drawn.token_ids]), minlength=model.config.vocab_size)
    expected = logits_of_one_row(model, 0, [2]).softmax(dim=-1)[0] * rows
    likely = expected >= 5
    statistic = ((counts - expected).square() / expected)[likely].sum()
    assert scipy.stats.chi2.sf(float(statistic), int(likely.sum()) - 1) > 1e-3


@pytest.mark.parametrize("uniform", [1.0, 2**-24, 0.5])
def test_a_token_of_probability_zero_is_never_drawn(uniform: float) -> None:
    probability = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]])
    drawn = decode._inverse_cdf(probability, torch.tensor([uniform]))
    assert probability[0, drawn] > 0
