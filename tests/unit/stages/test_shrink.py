"""A recipe in miniature: what decides which code runs is the recipe's own, and the rest is small."""

from fnmatch import fnmatch
from importlib import resources
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoTokenizer, LlamaConfig

from lens_core.config import RunConfig, differing, load_config, recipe_names
from lens_core.data.prepare import TRAIN_FILE, read_problems
from lens_core.errors import LensError
from lens_core.stages.preparation import prepare
from lens_core.stages.shrink import shrink
from tests.helpers.fakes import save_tiny_policy

SIZES = (
    *("about.hardware", "about.hours", "about.reported", "base", "base_shape.*"),
    *("data.train", "data.test.path", "data.test.per_level", "data.test.size", "data.validation"),
    "data.decontamination.against",
    *(f"{part}train.{name}" for part in ("", "methods.*.") for name in ("steps", "max_tokens", "prompts_per_step")),
    *(f"train.{name}" for name in ("group_size", "micro_batch_size", "max_new_tokens", "warmup_steps", "log_every")),
    *("train.checkpoint_every", "evaluation.n", "evaluation.ks", "evaluation.max_new_tokens", "evaluation.traces"),
    *("study.seeds", "sweep.trials", "sweep.validate_every"),
)
"""What decides how long a recipe takes."""


@pytest.mark.parametrize("recipe", recipe_names())
def test_all_that_decides_which_code_runs_stays(recipe: str, tmp_path: Path) -> None:
    whole = load_config(recipe)
    small = shrink(whole, tmp_path / "tiny.yaml")
    assert load_config(tmp_path / "tiny.yaml") == small
    changed = differing(whole, small)
    assert not [path for path in changed if not any(fnmatch(path, allowed) for allowed in SIZES)]
    was = [(each.kind, each.split, each.subset, each.limit is None) for each in whole.data.train]
    assert [(each.kind, each.split, each.subset, each.limit is None) for each in small.data.train] == was
    for name in whole.methods:
        train, tiny = whole.train_for(name), small.train_for(name)
        assert tiny.steps >= 2 * tiny.updates_per_batch
        assert tiny.warmup_steps == 0 if train.warmup_steps == 0 else tiny.warmup_steps > 0
        several = tiny.prompts_per_step * tiny.group_size > (tiny.micro_batch_size or tiny.prompts_per_step * 16)
        assert several == (train.micro_batch_size is not None)
    assert len(small.data.train) == len(whole.data.train)


def test_training_problems_that_are_test_problems_are_there_to_be_removed(tmp_path: Path) -> None:
    small = shrink(load_config("qwen2.5-3b-math-dapo"), tmp_path / "tiny.yaml")
    prepare(small, tmp_path / "data")
    assert (tmp_path / "data/removed.jsonl").read_text().count("\n") >= 1
    assert len(read_problems(tmp_path / "data" / TRAIN_FILE)) >= small.train.prompts_per_step * 4


@pytest.mark.parametrize(
    ("recipe", "kind", "template"),
    [
        ("qwen2.5-0.5b-gsm8k", "qwen2", "qwen2_5"),
        ("qwen2.5-3b-math-dapo", "qwen2", "qwen2_5"),
        ("llama-3.1-8b-math-dapo", "llama", "llama3_1"),
        ("smollm2-135m", "llama", "qwen2_5"),
    ],
)
def test_base_is_of_the_models_family(recipe: str, kind: str, template: str, tmp_path: Path) -> None:
    """Known facts of the published folders: special tokens, tied weights, rotary embedding."""
    small = shrink(load_config(recipe), tmp_path / "tiny.yaml")
    config, tokenizer = AutoConfig.from_pretrained(small.base), AutoTokenizer.from_pretrained(small.base)
    assert config.model_type == kind
    of_trl = resources.files("trl") / f"chat_templates/{template}.jinja"
    assert tokenizer.chat_template == of_trl.read_text(encoding="utf-8")
    text = "What is $47\\times6$?\n\n  Ünïcode, 日本, \\boxed{282}"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text
    if recipe == "smollm2-135m":
        assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token) == ("<|im_end|>", "<|im_end|>", None)
        assert (config.tie_word_embeddings, config.rope_parameters["rope_theta"]) == (True, 100000.0)
    elif kind == "llama":
        assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
            "<|begin_of_text|>",
            "<|eot_id|>",
            None,
        )
        assert config.rope_parameters["rope_type"] == "llama3"
        assert not config.tie_word_embeddings
        assert tokenizer("x").input_ids[0] == tokenizer.bos_token_id
    else:
        end = "<|im_end|>" if "0.5b" in recipe else "<|endoftext|>"  # the 3B of the recipe is no instruct model
        assert (tokenizer.eos_token, tokenizer.pad_token) == (end, "<|endoftext|>")
        assert config.tie_word_embeddings


def with_base(base: str) -> RunConfig:
    return load_config("demo", [f"base={base}"])


def test_folders_own_architecture_and_tokenizer_are_kept(tmp_path: Path) -> None:
    base = save_tiny_policy(tmp_path / "base")
    LlamaConfig(vocab_size=258, tie_word_embeddings=True, rms_norm_eps=0.5).save_pretrained(base)
    small = shrink(with_base(str(base)), tmp_path / "tiny.yaml")
    assert small.base_shape is not None
    config = AutoConfig.from_pretrained(small.base)
    assert (config.model_type, config.rms_norm_eps, config.num_hidden_layers) == ("llama", 0.5, 2)
    assert AutoTokenizer.from_pretrained(small.base).get_vocab() == AutoTokenizer.from_pretrained(base).get_vocab()


def test_base_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LensError, match=r"^somebody/model is out of reach, and no family that is known by name"):
        shrink(with_base("somebody/model"), tmp_path / "tiny.yaml")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["tiny.yaml", "tiny"])
def test_nothing_is_overwritten(there: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(LensError, match=f"{there} is there already: give another name, or remove it"):
        shrink(load_config("demo"), tmp_path / "tiny.yaml")
    assert (tmp_path / there).read_text() == "mine"


def test_name_without_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LensError, match=r"must be the name of a YAML file, for example tiny\.yaml"):
        shrink(load_config("demo"), tmp_path / "tiny")


def test_sources_with_pass_rates_keep_problems(tmp_path: Path) -> None:
    rates = "data.pass_rate={path: rates.jsonl, low: 0.1, high: 0.9}"
    small = shrink(load_config("qwen2.5-0.5b-gsm8k", [rates]), tmp_path / "tiny.yaml")
    prepare(small, tmp_path / "data")
    assert len(read_problems(tmp_path / "data" / TRAIN_FILE)) >= 20
