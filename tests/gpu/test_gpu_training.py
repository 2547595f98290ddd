"""What holds on a CPU holds on a GPU: run with `pytest -m gpu` where there is one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from trl import GRPOTrainer

from lens_core.config import EconomyConfig, RunConfig, load_config
from lens_core.data.ladder import ladder
from lens_core.rollout.engine import SamplingConfig, TransformersEngine
from lens_core.training.checkpoint import last_checkpoint
from lens_core.training.ladder_base import character_tokenizer
from lens_core.training.metrics_file import read_metrics
from lens_core.training.run import train_policy
from lens_core.training.spec import TrainingSpec
from lens_core.training.trainer import LensTrainer
from tests.helpers.fakes import save_tiny_policy, tiny_policy
from tests.integration.test_trainer import build, generate

pytestmark = pytest.mark.gpu

OFF = dict.fromkeys(EconomyConfig.model_fields, False)


@pytest.fixture(autouse=True)
def _whole_float32() -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def gradient(trainer: LensTrainer, batch: dict[str, Any], economy: EconomyConfig) -> Tensor:
    trainer.economy = economy
    trainer.model.zero_grad()
    trainer._compute_loss(trainer.model, dict(batch)).backward()
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


def test_gradient_is_stock_trls(tmp_path: Path) -> None:
    trainer = build(LensTrainer, tmp_path, config={"use_cpu": False, "gradient_checkpointing": False})
    trainer.current_gradient_accumulation_steps = 1
    batch = generate(trainer)
    assert batch["completion_ids"].is_cuda
    trainer.model.zero_grad()
    GRPOTrainer._compute_loss(trainer, trainer.model, dict(batch)).backward()
    stock = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])
    assert stock.norm() > 1e-3
    for economy in (EconomyConfig(), EconomyConfig(**OFF)):
        assert (gradient(trainer, batch, economy) - stock).norm() / stock.norm() < 1e-5


def test_completions_depend_on_seed_and_row_alone() -> None:
    engine = TransformersEngine(tiny_policy().to("cuda"), character_tokenizer())
    prompts = [engine.tokenizer.encode(f"{i} + {i} =") for i in range(8)]
    sampling = SamplingConfig(max_new_tokens=24)
    whole = engine.sample_ids(prompts, sampling, 3)
    parts = [engine.sample_ids(prompts[start : start + 4], sampling, 3, start) for start in (0, 4)]
    assert whole.token_ids == [ids for part in parts for ids in part.token_ids]


def settings(*overrides: str) -> RunConfig:
    small = ("train.steps=6", "train.warmup_steps=0", "train.prompts_per_step=4", "train.group_size=8")
    return load_config("demo", [*small, "train.max_new_tokens=24", *overrides])


def train(config: RunConfig, base: Path, output: Path, resume_from: Path | None = None) -> Path:
    spec = TrainingSpec(ladder(4, seed=1), base, config.train, config.methods["lens"], output, resume_from)
    return train_policy(spec)


@pytest.mark.parametrize("bf16", [False, True])
def test_training_moves_float32_weights(bf16: bool, tmp_path: Path) -> None:
    base = save_tiny_policy(tmp_path / "base")
    output = train(settings(f"train.bf16={str(bf16).lower()}"), base, tmp_path / "policy")
    before, after = (load_file(folder / "model.safetensors") for folder in (base, output))
    assert {weight.dtype for weight in after.values()} == {torch.float32}
    assert any((before[name] - after[name]).abs().max() > 0 for name in before)
    assert len(read_metrics(output)) == 6


def test_resumed_training_has_the_curve_of_an_undisturbed_one(tmp_path: Path) -> None:
    base = save_tiny_policy(tmp_path / "base")
    config = settings("train.checkpoint_every=1", "train.keep_checkpoints=10")
    whole = train(config, base, tmp_path / "whole")
    part = train(settings("train.checkpoint_every=1", "train.steps=3"), base, tmp_path / "part")
    resumed = train(config, base, part, last_checkpoint(part))
    for one, other in zip(read_metrics(resumed), read_metrics(whole), strict=True):
        assert json.dumps(one["reward"]) == json.dumps(other["reward"])
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
