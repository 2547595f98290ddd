from pathlib import Path

import pytest

from lens_core.config import PromptConfig
from lens_core.errors import LensError
from lens_core.rollout.engine import encode_prompt, format_prompt, load_policy, load_tokenizer
from lens_core.training.ladder_base import character_tokenizer
from tests.helpers.fakes import save_tiny_policy


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
