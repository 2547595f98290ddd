import pytest
import torch

from lens_core.rollout.engine import SamplingConfig, TransformersEngine, sample_rollouts
from lens_core.rollout.logprobs import SamplingLogprobs, sampling_logprobs
from lens_core.training.ladder_base import character_tokenizer
from tests.helpers.fakes import tiny_policy

QUESTIONS = ["Compute 1+1.", "A longer question than the first, so that prompts are padded."]


def test_sampling_logprobs_are_those_of_a_full_forward_pass() -> None:
    tokenizer, model = character_tokenizer(), tiny_policy()
    # Make <eos> likely enough that rows end at different lengths.
    model.generation_config.eos_token_id = list(range(2, 40))
    config = SamplingConfig(temperature=0.7, max_new_tokens=24)
    (groups,) = sample_rollouts(TransformersEngine(model, tokenizer), QUESTIONS, 8, config, seed=0)
    assert len({len(rollout.token_ids) for group in groups for rollout in group}) > 3
    for question, group in zip(QUESTIONS, groups, strict=True):
        prompt = tokenizer.encode(question + "\n")
        for rollout in group:
            ids = torch.tensor([[*prompt, *rollout.token_ids]])
            with torch.no_grad():
                logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1] / 0.7
            expected = logits.log_softmax(-1).gather(1, ids[0, len(prompt) :, None]).squeeze(1)
            torch.testing.assert_close(torch.tensor(rollout.token_logprobs), expected, rtol=0, atol=1e-5)


def test_sampling_logprobs_without_a_cache_score_the_last_position_of_each_pass() -> None:
    # Each pass sees the whole prefix [B, T]; the rows end after 5, 3 and 1 tokens.
    torch.manual_seed(0)
    model, recorder, temperature = tiny_policy(), SamplingLogprobs(1.3), 1.3
    ids = torch.randint(2, 40, (3, 4))
    with torch.no_grad():
        for _ in range(5):
            logits = model(input_ids=ids).logits
            recorder.observe(ids, logits)
            ids = torch.cat([ids, (logits[:, -1] / temperature).softmax(-1).multinomial(1)], dim=1)
        full = (model(input_ids=ids).logits[:, 3:-1] / temperature).log_softmax(-1)
    expected = full.gather(2, ids[:, 4:, None]).squeeze(2).tolist()
    got = recorder.rows([row[4 : 4 + length] for row, length in zip(ids.tolist(), (5, 3, 1), strict=True)])
    assert [len(row) for row in got] == [5, 3, 1]
    for row, exact in zip(got, expected, strict=True):
        assert row == pytest.approx(exact[: len(row)], abs=1e-5)


def test_model_is_left_without_a_hook_also_after_an_error() -> None:
    model = tiny_policy()
    with sampling_logprobs(model, 1.0):
        assert model._forward_hooks
    assert not model._forward_hooks
    with pytest.raises(ValueError, match="input_ids"), sampling_logprobs(model, 1.0):
        model()
    assert not model._forward_hooks


def test_sampling_is_seeded_and_leaves_the_global_random_state_alone() -> None:
    engine = TransformersEngine(tiny_policy(), character_tokenizer())
    before = torch.get_rng_state()
    draw = [list(sample_rollouts(engine, QUESTIONS, 2, SamplingConfig(max_new_tokens=8), seed)) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert draw[0] == draw[1] != draw[2]


def test_rollouts_say_whether_they_were_cut_off() -> None:
    model = tiny_policy()
    model.generation_config.eos_token_id = list(range(2, 40))
    engine = TransformersEngine(model, character_tokenizer())
    ((group,),) = sample_rollouts(engine, QUESTIONS[:1], 16, SamplingConfig(max_new_tokens=8), 0)
    assert {rollout.truncated for rollout in group} == {True, False}
    for rollout in group:
        ended = rollout.token_ids[-1] in engine.ends
        assert rollout.truncated is not ended
        assert len(rollout.token_ids) == len(rollout.token_logprobs) <= 8
        assert not any(token in engine.ends for token in rollout.token_ids[:-1])
