from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import transformers
from transformers import Qwen2Config
from trl import GRPOTrainer

from lens_core.config import PromptConfig
from lens_core.errors import LensError
from lens_core.rollout.engine import (
    SamplingConfig,
    TransformersEngine,
    encode_prompt,
    end_tokens,
    format_prompt,
    load_policy,
    load_tokenizer,
    require_room,
    sample_rollouts,
)
from lens_core.training.ladder_base import character_tokenizer
from tests.helpers.fakes import save_tiny_policy, tiny_policy
from tests.helpers.trainers import DATASET, checksum_reward, config


def test_load_policy_reads_what_was_saved(tmp_path: Path) -> None:
    model, tokenizer = load_policy(save_tiny_policy(tmp_path))
    assert model.config.hidden_size == 16
    assert tokenizer.padding_side == "left"


@pytest.mark.parametrize("content", [{}, {"config.json": "{}"}, {"config.json": "not json"}])
def test_folder_that_is_no_model_is_named(tmp_path: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(LensError, match="holds no causal language model") as caught:
        load_policy(tmp_path)
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_not_loaded(tmp_path: Path) -> None:
    save_tiny_policy(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(LensError, match="holds no causal language model"):
        load_policy(tmp_path)


def test_prompt_is_plain_without_a_chat_template_and_a_message_with_one() -> None:
    tokenizer = character_tokenizer()
    assert format_prompt("1+1?", tokenizer) == "1+1?\n"
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    (message,) = format_prompt("1+1?", tokenizer)
    assert isinstance(message, dict)
    assert message["role"] == "user"
    assert "\\boxed{}" in message["content"]


@pytest.mark.parametrize("text", ["Compute 3+4.\n", "Ünïcödé ≠ 数学 \t", ""])
def test_character_tokenizer_round_trips_any_text(text: str) -> None:
    tokenizer = character_tokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("47+38")) == 5


def test_prompt_form_is_chosen_by_the_configuration() -> None:
    tokenizer = character_tokenizer()
    plain = PromptConfig(form="plain", system="Be brief.", instruction="Box it.")
    assert format_prompt("1+1?", tokenizer, plain) == "Be brief.\n\n1+1?\n\nBox it.\n"
    with pytest.raises(LensError, match="no chat template: set it to 'plain'"):
        format_prompt("1+1?", tokenizer, PromptConfig(form="chat"))
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}|{% endfor %}"
    assert format_prompt("1+1?", tokenizer, plain) == "Be brief.\n\n1+1?\n\nBox it.\n"
    chat = PromptConfig(system="Be brief.", instruction="")
    assert format_prompt("1+1?", tokenizer, chat) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+1?"},
    ]
    assert tokenizer.decode(encode_prompt("1+1?", tokenizer, chat)) == "system: Be brief.|user: 1+1?|"


def test_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(LensError, match="holds no tokenizer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "template",
    [
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}",
        "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
    ],
    ids=["refused", "dropped"],
)
def test_chat_template_without_a_system_role_is_named(template: str) -> None:
    tokenizer = character_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(LensError, match=r"template has no system role: put the text into prompt\.instruction"):
        format_prompt("1+1?", tokenizer, PromptConfig(system="Be brief."))
    assert format_prompt("1+1?", tokenizer, PromptConfig(instruction="Be brief.")) == [
        {"role": "user", "content": "1+1?\n\nBe brief."}
    ]


@pytest.mark.parametrize(("own", "expected"), [(None, {1}), (7, {1, 7}), ([7, 8], {1, 7, 8}), ([1, 7], {1, 7})])
def test_ends_are_those_of_trls_training(own: int | list[int] | None, expected: set[int], tmp_path: Path) -> None:
    model = tiny_policy()
    model.generation_config.eos_token_id = own
    assert end_tokens(model.generation_config, character_tokenizer()) == expected
    trainer = GRPOTrainer(model, checksum_reward, args=config(tmp_path), train_dataset=DATASET,
                          processing_class=character_tokenizer())  # fmt: skip
    assert set(trainer.eos_token_ids) == expected


def test_generate_ends_where_our_own_decoding_does() -> None:
    model = tiny_policy()
    model.generation_config.update(eos_token_id=list(range(2, 60)), suppress_tokens=[100])
    engine = TransformersEngine(model, character_tokenizer())
    drawn = engine.sample_ids([[40, 41]] * 40, SamplingConfig(max_new_tokens=20), seed=0)
    for ids in drawn.token_ids:
        assert not set(ids[:-1]) & engine.ends
        assert len(ids) == 20 or ids[-1] in engine.ends


@pytest.mark.parametrize(("rope", "fits"), [("default", False), ("llama3", False), ("yarn", True), ("dynamic", True)])
def test_room_is_that_of_the_positions_unless_they_are_scaled(rope: str, fits: bool) -> None:
    configuration = Qwen2Config(max_position_embeddings=64)
    configuration.rope_parameters = {"rope_type": rope, "rope_theta": 1e4}
    require_room(configuration, 32, 32)
    with nullcontext() if fits else pytest.raises(LensError, match="33 tokens and 32 new ones exceed the policy's 64"):
        require_room(configuration, 33, 32)


def test_evaluation_beyond_the_positions_is_refused_before_any_sampling() -> None:
    engine = TransformersEngine(tiny_policy(), character_tokenizer())
    groups = sample_rollouts(engine, ["1+1", "1" * 2050], 2, SamplingConfig(max_new_tokens=4, batch_size=2), seed=0)
    with pytest.raises(LensError, match="exceed the policy's 2048 positions"):
        next(groups)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "does not fit into memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "does not fit into memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "does not fit into memory"),
        (ImportError("X requires the package tiktoken"), "needs a package that cannot be imported: X requires the"),
        (ValueError("no such architecture"), "holds no .*: no such architecture"),
    ],
)
@pytest.mark.parametrize("part", ["AutoModelForCausalLM", "AutoTokenizer"])
def test_what_is_no_fault_of_the_files_is_said(
    part: str, error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(getattr(transformers, part), "from_pretrained", fail)
    with pytest.raises(LensError, match=said) as caught:
        load_policy(save_tiny_policy(tmp_path))
    assert "\n" not in str(caught.value)
