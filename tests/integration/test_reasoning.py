"""Tasks of reasoning-gym from data to Pass@k by family, graded by their own rules."""

from pathlib import Path

import pytest

from lens_core import stages
from lens_core.config import load_config
from lens_core.evaluation.records import read_evaluation
from lens_core.training.metrics_file import read_metrics
from tests.helpers.prerequisites import package

pytestmark = pytest.mark.integration
TASKS = "kind: reasoning_gym, tasks: {chain_sum: {max_terms: 2}, word_sorting: {}}"


def test_tasks_go_from_data_to_pass_at_k_by_family(base: Path, tmp_path: Path) -> None:
    package("reasoning_gym", "reasoning-gym", "make reasoning-gym")
    config = load_config(
        "demo",
        [
            f"data.train={{{TASKS}, size: 24, seed: 1}}",
            f"data.test={{{TASKS}, size: 8, seed: 2}}",
            "data.decontamination.near=null",
            *("train.steps=2", "train.prompts_per_step=2", "train.group_size=4", "train.max_new_tokens=8"),
            *("train.warmup_steps=0", "evaluation.n=2", "evaluation.ks=[1, 2]", "evaluation.max_new_tokens=8"),
        ],
    )
    data = stages.prepare(config, tmp_path / "data")
    policy = stages.train(config, "lens", data, base, tmp_path / "policy")
    assert [step["lens/ungraded"] for step in read_metrics(policy)] == [0.0, 0.0]
    report, results = read_evaluation(stages.evaluate(config, "lens", data, policy, tmp_path / "evaluation"))
    assert report.slices["subject"].keys() == {"chain_sum", "word_sorting"}
    assert {each.source for each in results} == {"reasoning_gym"}
    reasons = {completion.reason for result in results for completion in result.completions}
    assert any("scores it" in reason for reason in reasons) or reasons == {"no answer found"}
    assert "Apache-2.0" in (data / "data_card.html").read_text()
