"""For which models our own decoding is used; `tests/integration/test_conformance.py` shows that it is exact."""

from typing import Any

import pytest
from transformers import Qwen2Config

from lens_core.rollout.exact import inexact_decoding, inexact_passes
from tests.helpers.fakes import tiny_policy


def test_policies_of_the_ladder_are_computed_with_less_work() -> None:
    assert inexact_decoding(tiny_policy()) is None
    assert inexact_passes(tiny_policy(), mixed_precision=False) is None


def test_another_memory_is_left_to_generate() -> None:
    model = tiny_policy()
    model._is_stateful = True
    assert inexact_decoding(model) == "has another memory than keys and values"


@pytest.mark.parametrize(
    "rule",
    [
        {"suppress_tokens": [3]},
        {"begin_suppress_tokens": [3]},
        {"bad_words_ids": [[3]]},
        {"forced_eos_token_id": 0},
        {"min_new_tokens": 1},
        {"no_repeat_ngram_size": 1},
        {"sequence_bias": [[[3], -1.0]]},
        {"min_p": 0.1},
        {"typical_p": 0.9},
        {"stop_strings": ["."]},
        {"renormalize_logits": True},
        {"num_beams": 2},
    ],
    ids=lambda rule: next(iter(rule)),
)
def test_rules_for_generation_are_left_to_generate(rule: dict[str, Any]) -> None:
    model = tiny_policy()
    model.generation_config.update(**rule)
    assert inexact_decoding(model) == f"has rules of its own for generation ({next(iter(rule))})"


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "repetition_penalty": 1.05, "do_sample": True},
        {"min_length": 0, "num_beams": 1, "typical_p": 1.0, "suppress_tokens": None, "bad_words_ids": []},
        {"eos_token_id": [1, 2], "max_length": 4096, "output_scores": False, "renormalize_logits": False},
    ],
)
def test_what_our_own_values_replace_or_changes_nothing_is_no_rule(fields: dict[str, Any]) -> None:
    model = tiny_policy()
    model.generation_config.update(**fields)
    assert inexact_decoding(model) is None


@pytest.mark.parametrize("rope", ["dynamic", "longrope"])
def test_positions_are_found_in_every_kind_of_layer(rope: str) -> None:
    model = tiny_policy()
    kinds = {"full_attention": {"rope_type": rope}, "sliding_attention": {"rope_type": "default"}}
    model.config = Qwen2Config(**{**model.config.to_dict(), "rope_parameters": None})
    model.config.rope_parameters = kinds
    assert inexact_decoding(model) == f"has positions that are not on the list of those tested ({rope})"


def test_half_precision_is_for_trainings_that_ask_for_it() -> None:
    model = tiny_policy().bfloat16()
    assert "is computed in bfloat16" in str(inexact_passes(model, mixed_precision=False))
    assert inexact_passes(model, mixed_precision=True) is None
    assert inexact_decoding(model) is None
