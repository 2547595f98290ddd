"""VllmEngine with vLLM itself, against transformers with the same weights."""

import importlib.util
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen2ForCausalLM

from lens_core.errors import LensError
from lens_core.rollout.decode import Sampled
from lens_core.rollout.engine import SamplingConfig, load_policy, sample_rollouts
from lens_core.rollout.vllm_engine import VllmEngine
from lens_core.training.ladder_base import character_tokenizer
from tests.helpers.prerequisites import missing
from tests.helpers.vllm_policy import ENDS, save_vllm_policy

pytestmark = pytest.mark.integration

PROMPTS = [[30, 31, 32], [40, 41, 42, 43, 44, 45, 46, 47], [50]]
TOLERANCE = 5e-5
"""Of a log-probability; 2e-6 is measured."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vllm_policy(tmp_path_factory.mktemp("policy"), seed=0)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[VllmEngine]:
    if importlib.util.find_spec("vllm") is None:
        missing("vLLM", "make vllm")
    importlib.import_module("vllm.entrypoints.llm")
    importlib.import_module("flask")  # MLflow's server loads it; its proxies raise outside of a request
    before = global_state()
    engine = VllmEngine(folder, max_length=256)
    assert global_state() == before
    yield engine
    engine.close()


def global_state() -> tuple[Any, ...]:
    """What sampling must not change in the process that trains."""
    generators = torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state())
    return *generators, torch.get_num_threads(), torch.set_num_threads


def model_of(folder: Path) -> Qwen2ForCausalLM:
    return load_policy(folder)[0].eval()


@torch.no_grad()
def teacher_forced(
    model: Qwen2ForCausalLM, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], temperature: float
) -> list[float]:
    """Log-probability of every completion token, one prompt after the other."""
    values: list[float] = []
    for prompt, completion in zip(prompts, completions, strict=True):
        logits = model(torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1] / temperature
        values += logits.log_softmax(dim=-1).gather(1, torch.tensor(completion).unsqueeze(1)).squeeze(1).tolist()
    return values


def difference(
    model: Qwen2ForCausalLM, prompts: Sequence[Sequence[int]], drawn: Sampled, temperature: float = 1.0
) -> float:
    """Largest one between the log-probabilities that came with `drawn` and those of `model`."""
    got = torch.tensor([value for row in drawn.logprobs for value in row])
    return (got - torch.tensor(teacher_forced(model, prompts, drawn.token_ids, temperature))).abs().max().item()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_those_of_the_softmax_at_the_temperature(
    engine: VllmEngine, folder: Path, temperature: float
) -> None:
    model, prompts = model_of(folder), PROMPTS * 16
    drawn = engine.sample_ids(prompts, SamplingConfig(temperature=temperature, max_new_tokens=24), seed=1)
    largest = difference(model, prompts, drawn, temperature)
    print(f"temperature {temperature}: largest difference of a log-probability {largest:.1e}")
    assert largest < TOLERANCE
    assert difference(model, prompts, drawn, temperature=1.5) > 0.1  # it would show


def test_tokens_are_drawn_from_the_whole_softmax(engine: VllmEngine, folder: Path) -> None:
    count = 4096
    drawn = engine.sample_ids([PROMPTS[0]] * count, SamplingConfig(max_new_tokens=1), seed=1)
    share = torch.bincount(torch.tensor(drawn.token_ids).flatten(), minlength=len(character_tokenizer())) / count
    with torch.no_grad():
        expected = model_of(folder)(torch.tensor([PROMPTS[0]])).logits[0, -1].softmax(dim=-1)
    # Five standard errors of each share: sqrt(p (1 - p) / count).
    assert (share - expected).abs().max() < 5 * (expected * (1 - expected) / count).sqrt().max()


def test_a_seed_draws_the_same_again_and_another_seed_others(engine: VllmEngine) -> None:
    prompts, sampling = PROMPTS * 4, SamplingConfig(max_new_tokens=8)
    first = engine.sample_ids(prompts, sampling, seed=1)
    assert engine.sample_ids(prompts, sampling, seed=1) == first
    others = engine.sample_ids(prompts, sampling, seed=2).token_ids
    assert all(one != other for one, other in zip(first.token_ids, others, strict=True))


def test_answers_of_a_group_differ(engine: VllmEngine) -> None:
    drawn = engine.sample_ids([PROMPTS[0]] * 16, SamplingConfig(max_new_tokens=8), seed=1)
    assert len(set(map(tuple, drawn.token_ids))) == 16


def test_only_the_models_own_ends_end_an_answer(engine: VllmEngine) -> None:
    rows = engine.sample_ids(PROMPTS * 100, SamplingConfig(max_new_tokens=12), seed=1).token_ids
    assert engine.ends == {*ENDS, 1}  # and the tokenizer's
    for ids in rows:
        assert not set(ids[:-1]) & engine.ends
        assert len(ids) == 12 or ids[-1] in engine.ends
    assert any(ids[-1] == 1 for ids in rows)


def test_an_end_that_only_the_tokenizer_names_ends_an_answer(
    engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "ends", {1})  # what a model that names none gets
    rows = engine.sample_ids(PROMPTS * 100, SamplingConfig(max_new_tokens=12), seed=1).token_ids
    assert any(ids[-1] == 1 for ids in rows)
    assert not any(1 in ids[:-1] for ids in rows)


def test_rollouts_include_the_end_and_know_whether_they_reached_it(engine: VllmEngine) -> None:
    sampling = SamplingConfig(max_new_tokens=12)
    (groups,) = sample_rollouts(engine, ["1+1", "What is 2+2?"], n=16, sampling=sampling, seed=1)
    assert [len(group) for group in groups] == [16, 16]
    rollouts = [rollout for group in groups for rollout in group]
    assert {rollout.truncated for rollout in rollouts} == {True, False}
    for rollout in rollouts:
        assert rollout.truncated == (rollout.token_ids[-1] not in engine.ends)
        assert len(rollout.token_logprobs) == len(rollout.token_ids)
        assert rollout.text == character_tokenizer().decode(rollout.token_ids, skip_special_tokens=True)


def test_new_weights_replace_the_old_ones_and_what_they_computed(
    engine: VllmEngine, folder: Path, tmp_path: Path
) -> None:
    prompts = [list(range(30, 230))] * 4  # long enough for keys and values to be kept for the next call
    sampling = SamplingConfig(max_new_tokens=8)
    old = engine.sample_ids(prompts, sampling, seed=1)
    engine.load_weights(model_of(save_vllm_policy(tmp_path, seed=1)).state_dict())
    new = engine.sample_ids(prompts, sampling, seed=1)
    assert difference(model_of(tmp_path), prompts, new) < TOLERANCE
    assert difference(model_of(folder), prompts, new) > 0.1
    engine.load_weights(model_of(folder).state_dict())
    assert engine.sample_ids(prompts, sampling, seed=1) == old


def test_more_prompt_tokens_than_go_through_at_once(engine: VllmEngine, folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(30, 250, (100, 200), generator=generator).tolist()
    drawn = engine.sample_ids(prompts, SamplingConfig(max_new_tokens=2), seed=1)
    assert difference(model_of(folder), prompts, drawn) < TOLERANCE


def test_the_process_is_left_as_it_was(engine: VllmEngine, folder: Path) -> None:
    weights = model_of(folder).state_dict()
    before = global_state()
    engine.sample_ids(PROMPTS, SamplingConfig(max_new_tokens=2), seed=1)
    engine.load_weights(weights)
    assert global_state() == before


def test_a_prompt_without_room_for_its_answer_is_refused(engine: VllmEngine) -> None:
    with pytest.raises(LensError, match="prompt of 250 tokens and 8 new ones exceed the 256"):
        engine.sample_ids([[30] * 250], SamplingConfig(max_new_tokens=8), seed=1)


@pytest.mark.usefixtures("engine")
def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(LensError, match=f"vLLM cannot run {tmp_path}"):
        VllmEngine(tmp_path)


@pytest.mark.usefixtures("engine")
def test_ranks_on_a_cpu_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LensError, match="without torchrun"):
        VllmEngine(folder)


def test_a_missing_vllm_is_one_line_with_the_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)  # Python then raises ImportError
    with pytest.raises(LensError, match="make vllm") as caught:
        VllmEngine(folder)
    assert "\n" not in str(caught.value)
