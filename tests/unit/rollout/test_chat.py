"""Chat templates that fail, never end or write without end; tokenizers that belong to another model."""

import threading
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from lens_core.config import PromptConfig
from lens_core.errors import LensError
from lens_core.rollout import chat
from lens_core.rollout.engine import encode_prompt, format_prompt, load_policy, load_tokenizer
from tests.helpers.fakes import save_tiny_policy

GOOD = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
ENDLESS = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_policy(tmp_path_factory.mktemp("policies") / "tiny")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('no\nway') }}", "fails .TemplateError: no"),
        ("{{ messages[7].content }}", "fails .UndefinedError"),
        ("{{ 1 // 0 }}", "fails .ZeroDivisionError"),
        ("{% if %}", "fails .TemplateSyntaxError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "fails .RecursionError"),
        ("{{ messages.__class__.__mro__[1].__subclasses__() }}", "fails .SecurityError"),
        ("{{ 'x' * 3000000 }}", "writes 3,000,000 characters"),
        (ENDLESS, "does not end within"),
    ],
)
def test_template_that_does_not_work_is_one_line(
    policy: Path, template: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "_LIMIT_S", 0.5)
    tokenizer = load_tokenizer(policy)
    tokenizer.chat_template = template
    for system in (None, "Be brief."):
        with pytest.raises(LensError, match=f"the policy's chat template {message}") as refused:
            format_prompt("2+2", tokenizer, PromptConfig(form="chat", system=system))
        assert "\n" not in str(refused.value)
    for thread in [each for each in threading.enumerate() if each.name == "chat-template"]:
        thread.join(10)
        assert not thread.is_alive(), "the template still runs"


def test_template_may_fail_for_one_question_alone(policy: Path) -> None:
    tokenizer = load_tokenizer(policy)
    tokenizer.chat_template = "{{ raise_exception('no') if 'bad' in messages[0].content }}" + GOOD
    assert encode_prompt("2+2", tokenizer)
    with pytest.raises(LensError, match=r"fails .TemplateError: no"):
        encode_prompt("bad", tokenizer)


def test_prompts_are_encoded_as_transformers_does(policy: Path) -> None:
    tokenizer = load_tokenizer(policy)
    tokenizer.chat_template = GOOD
    messages = format_prompt("What is 2+2?", tokenizer)
    whole = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert encode_prompt("What is 2+2?", tokenizer) == list(whole)


def test_tokenizer_of_a_larger_model_is_refused(policy: Path, tmp_path: Path) -> None:
    model, tokenizer = load_policy(policy)
    tokenizer.add_tokens([f"<extra{n}>" for n in range(3)])
    for each in (model, tokenizer):
        each.save_pretrained(tmp_path / "mixed")
    with pytest.raises(LensError, match=r"mixed: its tokenizer has token ids up to \d+, its model embeddings for \d+"):
        load_policy(tmp_path / "mixed")


@pytest.mark.parametrize("damage", [b"", b"\xff" * 100, b"{}"])
def test_weights_that_are_damaged_are_named(policy: Path, tmp_path: Path, damage: bytes) -> None:
    for file in policy.iterdir():
        (tmp_path / file.name).write_bytes(damage if file.suffix == ".safetensors" else file.read_bytes())
    with pytest.raises(LensError, match="holds no causal language model in Hugging Face format"):
        load_policy(tmp_path)


def test_weights_of_another_shape_are_named(policy: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(policy)
    model.save_pretrained(tmp_path)
    model.config.hidden_size *= 2
    model.config.save_pretrained(tmp_path)
    with pytest.raises(LensError, match="holds no causal language model"):
        load_policy(tmp_path)
