"""LensTrainer beside stock TRL on tiny models of many architectures: completions, loss and gradient of an update."""

import logging

import pytest
import torch

from benchmarks.conformance import (
    DATA,
    ENDS,
    KINDS,
    OFF,
    TOKENIZER,
    Kind,
    build,
    gradient_distance,
    ours,
    reason,
    stock,
)
from lens_core.rollout.engine import SamplingConfig, TransformersEngine
from lens_core.rollout.exact import NUMBERS_PADDING, PROVEN, inexact_decoding

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_update_is_stock_trls_with_economies_and_without(kind: Kind) -> None:
    theirs = stock(kind)
    assert theirs.gradient.norm() > 1e-2  # there is something to be equal to
    assert len({len(ids) for ids in theirs.completions}) > 1
    for mine in (ours(kind), ours(kind, OFF)):
        assert mine.completions == theirs.completions
        assert mine.loss == pytest.approx(theirs.loss, abs=1e-5)
        assert gradient_distance(mine, theirs) < 1e-5
        assert mine.clipped == theirs.clipped


# Keys in the cache of a dynamic NTK keep the rotation of the length at which they were computed.
EVALUATED = {name: kind for name, kind in KINDS.items() if kind.adapter is None and "dynamic" not in name}


@pytest.mark.parametrize("kind", EVALUATED.values(), ids=EVALUATED)
def test_evaluation_draws_with_the_probabilities_of_the_model(kind: Kind) -> None:
    model = build(kind)
    engine = TransformersEngine(model, TOKENIZER)
    engine.ends = ENDS
    model.generation_config.eos_token_id = ENDS
    prompts = [TOKENIZER.encode(row["prompt"]) for row in DATA]
    drawn = engine.sample_ids(prompts, SamplingConfig(max_new_tokens=12), seed=3)
    for prompt, ids, logprobs in zip(prompts, drawn.token_ids, drawn.logprobs, strict=True):
        with torch.no_grad():  # alone, without padding or a cache
            logits = model(torch.tensor([prompt + ids]), use_cache=False).logits[0, len(prompt) - 1 : -1].float()
        alone = logits.log_softmax(-1).gather(1, torch.tensor(ids).unsqueeze(1)).squeeze(1)
        rounding = 1e-4 if kind.weights == torch.float32 else 0.1
        torch.testing.assert_close(torch.tensor(logprobs), alone, rtol=0, atol=rounding)
    assert not {token for ids in drawn.token_ids for token in ids} & set(kind.generation.get("suppress_tokens", ()))


def test_every_kind_on_the_list_is_compared() -> None:
    assert {kind.model_type for kind in KINDS.values() if reason(kind) is None} == PROVEN
    assert {kind.model_type for kind in KINDS.values()} >= NUMBERS_PADDING


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("GPT-2", "numbers the padding of prompts (gpt2)"),
        ("GPT-2 with dropout", "numbers the padding of prompts (gpt2)"),
        ("LFM2", "not on the list of those tested (lfm2, Lfm2ForCausalLM)"),
        ("Llama, bfloat16 weights", "is computed in bfloat16"),
        ("Llama, dynamic NTK", "positions that are not on the list of those tested (dynamic)"),
        ("Llama, long rope", "positions that are not on the list of those tested (longrope)"),
        ("Llama, prompt tuning", "adapters that are not on the list of those tested (PROMPT_TUNING)"),
        ("Llama, suppressed tokens", "rules of its own for generation (suppress_tokens)"),
    ],
)
def test_one_line_says_why_a_model_is_computed_as_trl_does(
    name: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="lens_core.training.trainer"):
        ours(KINDS[name])
    assert [record.getMessage() for record in caplog.records if words in record.getMessage()]
    assert len([record for record in caplog.records if record.name == "lens_core.training.trainer"]) == 1


def test_dropout_of_a_function_counts() -> None:
    kind = Kind("llama", {**KINDS["Llama"].values, "attention_dropout": 0.1})
    assert "dropout" in str(reason(kind))


def test_a_users_own_class_is_not_on_the_list() -> None:
    model = build(KINDS["Llama"])

    class Own(type(model)):  # type: ignore[misc]
        def forward(self, *args: object, **kwargs: object) -> torch.Tensor:
            return super().forward(*args, **kwargs)

    model.__class__ = Own
    assert "llama, Own" in str(inexact_decoding(model))
