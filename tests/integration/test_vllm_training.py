"""Training and evaluation with rollouts from vLLM, on the shipped base policy."""

import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lens_core import stages
from lens_core.config import RunConfig, load_config
from lens_core.errors import LensError
from lens_core.evaluation.records import PassKReport, read_results
from lens_core.rollout.engine import load_policy
from lens_core.training.metrics_file import read_metrics
from tests.helpers.prerequisites import missing

pytestmark = pytest.mark.integration

BASE = Path("lens_core/training/ladder-base")
SMALL = [
    "data.train.per_level=4",
    "data.test.per_level=1",
    "train.steps=3",
    "train.warmup_steps=0",
    "train.prompts_per_step=4",
    "train.group_size=4",
    "train.vllm={}",
    "evaluation.n=4",
    "evaluation.ks=[1, 4]",
    "evaluation.engine=vllm",
]


@pytest.fixture(scope="module", autouse=True)
def vllm() -> None:
    if importlib.util.find_spec("vllm") is None:
        missing("vLLM", "make vllm")


@pytest.fixture(scope="module")
def settings() -> RunConfig:
    return load_config("demo", SMALL)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, settings: RunConfig) -> Path:
    return stages.prepare(settings, tmp_path_factory.mktemp("data"))


def test_training_learns_from_vllms_rollouts(tmp_path: Path, data: Path, settings: RunConfig) -> None:
    output = stages.train(settings, "lens", data, BASE, tmp_path / "policy")
    steps = read_metrics(output)
    assert [step["step"] for step in steps] == [1, 2, 3]
    assert sum(step["reward"] for step in steps) > 0  # the policy that was trained before answers, not noise
    assert all(0.3 < step["lens/confidence/wrong"] <= 1 for step in steps if "lens/confidence/wrong" in step)
    # The engine's log-probabilities are the old policy's: within rounding of the trained one, nothing is clipped.
    assert all(step["clip_ratio/region_mean"] == 0 for step in steps)
    before, after = load_file(BASE / "model.safetensors"), load_file(output / "model.safetensors")
    assert any((before[name] - after[name]).abs().max() > 1e-6 for name in before)


def test_weights_of_every_step_reach_the_engine(tmp_path: Path, data: Path, settings: RunConfig) -> None:
    # After a step this large, log-probabilities of the old weights would be far from those of the new ones.
    large = load_config("demo", [*SMALL, "train.learning_rate=3e-3", "train.steps=2", "train.clip=0.05"])
    steps = read_metrics(stages.train(large, "lens", data, BASE, tmp_path / "policy"))
    assert all(step["clip_ratio/region_mean"] == 0 for step in steps)


def test_evaluation_with_vllm_scores_what_the_policy_says(tmp_path: Path, data: Path, settings: RunConfig) -> None:
    output = stages.evaluate(settings, "base", data, BASE, tmp_path / "evaluation")
    report = PassKReport.model_validate_json((output / stages.PASSK_FILE).read_text())
    assert report.problems == 5
    model, tokenizer = load_policy(BASE)
    for result in read_results(output / stages.ROLLOUTS_FILE):
        prompt = tokenizer.encode(result.prompt + "\n")
        for completion in result.completions:
            ids = tokenizer.encode(completion.text) + ([] if completion.truncated else [tokenizer.eos_token_id])
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
            logprobs = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])
            assert completion.confidence == pytest.approx(logprobs.mean().exp().item(), abs=1e-4)


def test_vllm_server_without_a_gpu_is_refused(tmp_path: Path, data: Path) -> None:
    server = load_config("demo", [*SMALL, "train.vllm={mode: server, server_url: http://localhost:1}"])
    with pytest.raises(LensError, match="mode 'server' needs a GPU"):
        stages.train(server, "lens", data, BASE, tmp_path / "policy")
