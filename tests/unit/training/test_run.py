"""The training section in TRL's words."""

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import TrainerState

from lens_core.config import TrainConfig, load_config
from lens_core.training.metrics_file import METRICS_FILE
from lens_core.training.run import _merged, _MetricsFile, grpo_config
from tests.helpers.fakes import tiny_policy


@pytest.mark.parametrize(
    ("option", "value", "name", "expected"),
    [
        ("steps", 9, "max_steps", 9),
        ("group_size", 4, "num_generations", 4),
        ("max_new_tokens", 7, "max_completion_length", 7),
        ("temperature", 0.7, "temperature", 0.7),
        ("mask_truncated", True, "mask_truncated_completions", True),
        ("learning_rate", 0.003, "learning_rate", 0.003),
        ("warmup_steps", 2, "warmup_steps", 2),
        ("schedule", "cosine", "lr_scheduler_type", "cosine"),
        ("adam_beta2", 0.9, "adam_beta2", 0.9),
        ("weight_decay", 0.2, "weight_decay", 0.2),
        ("max_grad_norm", 0.3, "max_grad_norm", 0.3),
        ("clip", 0.1, "epsilon", 0.1),
        ("clip_high", 0.4, "epsilon_high", 0.4),
        ("beta", 0.01, "beta", 0.01),
        ("loss_type", "dapo", "loss_type", "dapo"),
        ("gradient_checkpointing", True, "gradient_checkpointing", True),
        ("micro_batch_size", 16, "gradient_accumulation_steps", 8),  # of 8 prompts x 16 completions
        ("updates_per_batch", 3, "steps_per_generation", 3),
        ("checkpoint_every", 5, "save_steps", 5),
        ("keep_checkpoints", 6, "save_total_limit", 6),
        ("log_every", 4, "logging_steps", 4),
        ("seed", 11, "seed", 11),
    ],
)
def test_option_reaches_trl(option: str, value: Any, name: str, expected: Any, tmp_path: Path) -> None:
    values = load_config("demo").train.model_dump() | {option: value}
    assert getattr(grpo_config(TrainConfig.model_validate(values), tmp_path), name) == expected


def test_every_option_is_read_by_the_training_or_what_starts_it() -> None:
    files = [path for room in ("training", "stages", "distributed") for path in Path("lens_core", room).glob("*.py")]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    assert TrainConfig.model_fields.keys() - read == set()


def test_adapters_are_added_in_float32_and_rounded_once() -> None:
    model = tiny_policy().bfloat16()
    wrapped = get_peft_model(model, LoraConfig(r=4, lora_alpha=2, target_modules=["q_proj"], init_lora_weights=False))
    layer = wrapped.base_model.model.model.layers[0].self_attn.q_proj
    weight, (down,), (up,) = layer.base_layer.weight.clone(), layer.lora_A.values(), layer.lora_B.values()
    exact = weight.double() + 0.5 * up.weight.double() @ down.weight.double()  # alpha / r is 2 / 4
    merged = _merged(wrapped)
    found = merged.model.layers[0].self_attn.q_proj.weight
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, exact.float().bfloat16())


@pytest.mark.parametrize(("is_main", "left"), [(True, 2), (False, 3)])
def test_only_the_main_rank_cuts_the_metrics_of_a_resumed_training(is_main: bool, left: int, tmp_path: Path) -> None:
    """Another one would read the file while it is being replaced, and put back nothing."""
    path = tmp_path / METRICS_FILE
    path.write_text("".join(f'{{"step": {step}, "elapsed_s": 1.0}}\n' for step in (1, 2, 3)))
    state = TrainerState(global_step=2, is_world_process_zero=is_main)
    _MetricsFile(path, lambda *_: None).on_train_begin(None, state)  # type: ignore[arg-type]
    assert path.read_text().count("\n") == left
