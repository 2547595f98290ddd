from importlib import resources
from itertools import islice
from pathlib import Path

import torch

from lens_core.rollout.engine import load_policy
from lens_core.training.ladder_base import BaseConfig, character_tokenizer, corpus, train_base
from tests.helpers.fakes import TINY

SHIPPED = Path(str(resources.files("lens_core.training") / "ladder-base"))
SHORT = TINY.model_copy(update={"steps": 3, "batch_size": 4})


def test_shipped_weights_are_those_of_the_default_recipe() -> None:
    assert BaseConfig.model_validate_json((SHIPPED / "recipe.json").read_text()) == BaseConfig()


def test_shipped_weights_are_small_and_load() -> None:
    assert (SHIPPED / "model.safetensors").stat().st_size <= 4 << 20
    model, tokenizer = load_policy(SHIPPED)
    assert 0.8e6 < sum(parameter.numel() for parameter in model.parameters()) < 1.2e6
    assert model.config.model_type == "qwen2"
    assert model.config.vocab_size == len(tokenizer)
    ours, text = character_tokenizer(), "Compute 47*6+8.\nÜnïcödé  <|endoftext|> 数学"
    assert tokenizer.encode(text) == ours.encode(text)
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (model.config.pad_token_id, model.config.eos_token_id)


def test_corpus_holds_worked_and_bare_answers_in_the_recipe_s_share() -> None:
    pairs = [completion for prompt, completion in islice(corpus(BaseConfig()), 4000) if "*" in prompt]
    worked = sum("=" in completion for completion in pairs) / len(pairs)
    assert 0.45 < worked < 0.55  # worked_share 0.5; about 1,400 draws: standard error 0.013


def test_training_the_base_learns_repeatably_and_saves_a_policy(tmp_path: Path) -> None:
    losses: dict[str, list[float]] = {"a": [], "b": []}
    for name, seen in losses.items():
        train_base(SHORT, tmp_path / name, lambda step, loss, seen=seen: seen.append(loss))
    assert losses["a"] == losses["b"]
    assert losses["a"][-1] < losses["a"][0]
    first, second = (load_policy(tmp_path / name)[0].state_dict() for name in losses)
    assert all(torch.equal(first[key], second[key]) for key in first)
