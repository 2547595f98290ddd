"""What of a batch goes through the policy: rows, weights and buckets, by hand and by property."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

from lens_core.training.economy import (
    filled_up,
    length_buckets,
    loss_factor,
    pass_overhead_tokens,
    sharing_pays,
    thin,
    trimmed,
)
from tests.helpers.fakes import tiny_policy


def batch(advantages: list[float], completions: list[list[int]]) -> dict[str, torch.Tensor]:
    ids = torch.tensor(completions)
    return {
        "prompt_ids": torch.ones(len(ids), 2, dtype=torch.long),
        "completion_ids": ids,
        "completion_mask": (ids > 0).long(),
        "advantages": torch.tensor(advantages),
        "num_items_in_batch": (ids > 0).sum(),
    }


def test_rows_without_advantage_go_and_denominators_stay() -> None:
    whole = batch([1.0, 0.0, -1.0, 0.0], [[5, 0, 0], [6, 7, 8], [7, 7, 0], [8, 0, 0]])
    thinned = thin(whole, skip_zeros=True, merge=False)
    assert thinned is not None
    assert thinned["completion_ids"].tolist() == [[5, 0, 0], [7, 7, 0]]
    assert loss_factor(thinned, whole, "grpo") == 0.5  # 2 of 4 rows
    assert loss_factor(thinned, whole, "bnpo") == pytest.approx(3 / 7)  # 3 of 7 tokens
    assert loss_factor(thinned, whole, "dapo") == 1.0
    assert thinned["num_items_in_batch"] == 7


def test_identical_answers_become_one_with_the_sum_of_their_advantages() -> None:
    whole = batch([0.5, 0.25, -1.0, 0.5], [[5, 6], [5, 6], [5, 6], [5, 0]])
    thinned = thin(whole, skip_zeros=True, merge=True)
    assert thinned is not None
    # The third is the same text with the other sign, where clipping differs; the fourth is another text.
    assert thinned["completion_ids"].tolist() == [[5, 6], [5, 6], [5, 0]]
    assert thinned["advantages"].tolist() == [0.75, -1.0, 0.5]


def test_answers_to_different_prompts_or_with_other_old_logprobs_stay_apart() -> None:
    whole = batch([1.0, 1.0, 1.0], [[5], [5], [5]])
    whole["prompt_ids"][1] = 9
    whole["old_per_token_logps"] = torch.tensor([[-0.5], [-0.5], [-0.6]])
    thinned = thin(whole, skip_zeros=True, merge=True)
    assert thinned is not None
    assert len(thinned["advantages"]) == 3


def test_batch_without_advantages_is_nothing() -> None:
    assert thin(batch([0.0, 0.0], [[5], [6]]), skip_zeros=True, merge=True) is None


def test_short_ranks_repeat_a_row_without_gradient() -> None:
    filled = filled_up(batch([1.0, 2.0], [[5], [6]]), 4)
    assert filled["advantages"].tolist() == [1.0, 2.0, 0.0, 0.0]
    assert filled["completion_ids"].tolist() == [[5], [6], [5], [5]]


def test_one_long_answer_gets_a_bucket_of_its_own() -> None:
    # Together: 10 x 1000 tokens. Apart: 1000 + 9 x 10, and 256 for the second pass.
    assert sorted(map(len, length_buckets([10] * 9 + [1000], 256))) == [1, 9]
    # 10 x 20 tokens against 20 + 9 x 10 + 256: together.
    assert length_buckets([20] + [10] * 9, 256) == [list(range(10))]


@given(lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=40), overhead=st.sampled_from([256, 4096]))
def test_buckets_hold_every_row_once_and_cost_no_more_than_one_bucket(lengths: list[int], overhead: int) -> None:
    buckets = length_buckets(lengths, overhead)
    assert sorted(row for bucket in buckets for row in bucket) == list(range(len(lengths)))
    cost = sum(len(bucket) * max(lengths[row] for row in bucket) + overhead for bucket in buckets)
    assert cost <= len(lengths) * max(lengths) + overhead
    ranges = sorted((min(lengths[r] for r in b), max(lengths[r] for r in b)) for b in buckets)
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(ranges))


def test_overhead_of_a_pass_on_a_gpu_is_that_of_its_layers_launches() -> None:
    model = tiny_policy()  # of two layers
    assert pass_overhead_tokens(model, "cpu") == 256
    assert pass_overhead_tokens(model, "cuda") == pytest.approx(2 * 3e11 / model.num_parameters())


def test_overhead_of_a_multimodal_model_is_that_of_its_text_layers() -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    text = {**sizes, "num_hidden_layers": 3, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 32}
    vision = {**sizes, "num_hidden_layers": 1, "image_size": 8, "patch_size": 4}
    model = Gemma3ForConditionalGeneration(Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4))
    assert pass_overhead_tokens(model, "cuda") == pytest.approx(3 * 3e11 / model.num_parameters())


def test_padding_that_every_row_has_is_trimmed() -> None:
    prompts, mask = trimmed(torch.tensor([[0, 0, 1], [0, 2, 3]]), torch.tensor([[0, 0, 1], [0, 1, 1]]))
    assert prompts.tolist() == [[0, 1], [2, 3]]
    assert mask.tolist() == [[0, 1], [1, 1]]


def test_sharing_pays_where_prompts_repeat_and_are_long() -> None:
    prompts, mask = torch.ones(8, 11, dtype=torch.long), torch.ones(8, 11, dtype=torch.long)
    # 7 repeated prompts x 10 tokens = 70 saved, of 88 prompt tokens and the completions.
    assert sharing_pays(prompts, mask, [10] * 8)  # of 168
    assert not sharing_pays(prompts, mask, [100] * 8)  # of 888
    assert not sharing_pays(prompts, mask, [10] * 8, overhead_tokens=71)  # saved: 7 x 10
    assert not sharing_pays(torch.arange(88).view(8, 11), mask, [10] * 8)  # nothing repeats
