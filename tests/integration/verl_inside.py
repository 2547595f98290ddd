"""The estimator in verl itself; test_verl.py runs this where verl is installed."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from verl import DataProto
from verl.trainer.ppo import core_algos

import lens_core.integrations.verl as integration
from lens_core.errors import LensError
from lens_core.objective import LensConfig, advantages

# Imported after the integration, as verl's trainers are.
from verl.trainer.ppo.ray_trainer import compute_advantage  # isort: skip
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories  # isort: skip

# Groups a (3 answers), b (2, none right), c (alone), interleaved.
UIDS = np.array(["a", "b", "a", "c", "b", "a"], dtype=object)
REWARDS = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
LENGTHS = (4, 2, 3, 1, 4, 2)


def batch(**logprobs: torch.Tensor) -> DataProto:
    mask = torch.tensor([[1] * length + [0] * (4 - length) for length in LENGTHS])
    rewards = torch.zeros(6, 4)
    for row, length in enumerate(LENGTHS):
        rewards[row, length - 1] = REWARDS[row]
    tensors = {"token_level_rewards": rewards, "response_mask": mask, **logprobs}
    return DataProto.from_dict(tensors=tensors, non_tensors={"uid": UIDS})


def logprobs(*confidences: float) -> torch.Tensor:
    """The same for every token, -7 where none counts: the mean's exp is the confidence."""
    table = torch.tensor(confidences).log().unsqueeze(1).expand(6, 4).clone()
    for row, length in enumerate(LENGTHS):
        table[row, length:] = -7.0
    return table


SURE = (0.9, 0.8, 0.5, 0.4, 0.2, 0.3)


def computed(data: DataProto, **lens: Any) -> torch.Tensor:
    config = OmegaConf.create({"adv_estimator": "lens", "lens": lens} if lens else {"adv_estimator": "lens"})
    return compute_advantage(data, adv_estimator="lens", config=config).batch["advantages"]


def test_estimator_is_in_verls_registry() -> None:
    assert core_algos.get_adv_estimator_fn("lens") is integration.lens_advantage


def test_advantages_are_the_objectives_in_every_group() -> None:
    got = computed(batch(rollout_log_probs=logprobs(*SURE)))
    sure = torch.tensor(SURE)
    for rows in ([0, 2, 5], [1, 4]):
        expected = advantages(REWARDS[rows][None], sure[rows][None], LensConfig())[0]
        torch.testing.assert_close(got[rows, 0], expected)
    assert not got[3].any()  # alone in its group
    for row, length in enumerate(LENGTHS):
        assert (got[row, :length] == got[row, 0]).all()
        assert not got[row, length:].any()


def test_negative_group_by_hand() -> None:
    # c = 0.8 and 0.2: D = 2 * 0.8; c / (D - c) = 1 and 1/7; s = 1/2: r~ = -1/2 and -1/14, mean -2/7
    # advantages: 0.25 * (-1/2 + 2/7) = -3/56 and +3/56
    got = computed(batch(rollout_log_probs=logprobs(*SURE)))
    assert got[1, 0].item() == pytest.approx(-3 / 56, abs=1e-6)
    assert got[4, 0].item() == pytest.approx(3 / 56, abs=1e-6)


def test_switched_off_it_is_verls_own_grpo() -> None:
    data = batch(old_log_probs=logprobs(*SURE))
    got = computed(data, variant="off", eps=1e-6)
    grpo, _ = core_algos.compute_grpo_outcome_advantage(
        data.batch["token_level_rewards"], data.batch["response_mask"], UIDS, epsilon=1e-6
    )
    grpo[3] = 0  # verl gives an answer alone in its group its plain reward
    torch.testing.assert_close(got, grpo)


def test_engines_logprobs_go_before_the_old_policys() -> None:
    rollout, old = logprobs(*SURE), logprobs(*reversed(SURE))
    both = computed(batch(rollout_log_probs=rollout, old_log_probs=old))
    assert torch.equal(both, computed(batch(rollout_log_probs=rollout)))
    assert not torch.equal(both, computed(batch(old_log_probs=old)))


def test_path_of_the_new_trainer_gives_the_same() -> None:
    data = batch(rollout_log_probs=logprobs(*SURE))
    expected = computed(data)
    again = compute_advantage_for_multi_trajectories(
        batch(rollout_log_probs=logprobs(*SURE)), [], "lens", config=OmegaConf.create({"lens": None})
    )
    assert torch.equal(again.batch["advantages"], expected)


def test_ungraded_answer_leaves_its_group() -> None:
    data = batch(rollout_log_probs=logprobs(*SURE))
    data.batch["token_level_rewards"][5, 1] = float("nan")
    got = computed(data)
    assert not got[5].any()
    expected = advantages(REWARDS[[0, 2]][None], torch.tensor([[0.9, 0.5]]), LensConfig())[0]
    torch.testing.assert_close(got[[0, 2], 0], expected)


def test_answer_without_a_counted_token_leaves_its_group() -> None:
    data = batch(rollout_log_probs=logprobs(*SURE))
    data.batch["response_mask"][5] = 0  # as verl's rejection sampling leaves it
    got = computed(data)
    assert not got[5].any()
    expected = advantages(REWARDS[[0, 2]][None], torch.tensor([[0.9, 0.5]]), LensConfig())[0]
    torch.testing.assert_close(got[[0, 2], 0], expected)


def test_nan_logprobs_of_a_graded_answer_are_refused() -> None:
    sure = logprobs(*SURE)
    sure[0, 1] = torch.nan
    with pytest.raises(LensError, match="graded answer are NaN"):
        computed(batch(rollout_log_probs=sure))


def test_reward_out_of_range_names_the_group() -> None:
    data = batch(rollout_log_probs=logprobs(*SURE))
    data.batch["token_level_rewards"][1, 1] = -1.0
    with pytest.raises(LensError, match=r"group b: rewards must lie in \[0, 1\]"):
        computed(data)


def test_estimator_outside_compute_advantage_is_refused() -> None:
    with pytest.raises(LensError, match="sees no batch"):
        integration.lens_advantage(torch.zeros(2, 1), torch.ones(2, 1), ["a", "a"])


def test_command_line_of_the_documentation_is_verls() -> None:
    folder = str(Path(core_algos.__file__).parents[1] / "config")
    variable = "ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES"
    module = "lens_core.integrations.verl"
    overrides = ["algorithm.adv_estimator=lens", "+algorithm.lens.alpha=0.5", f"+{variable}={module}"]
    with initialize_config_dir(folder, version_base=None):
        config = compose("ppo_trainer", overrides=overrides)
    got = compute_advantage(batch(old_log_probs=logprobs(*SURE)), "lens", config=config.algorithm).batch["advantages"]
    assert got[4, 0].item() == pytest.approx(3 / 28, abs=1e-6)  # twice alpha, twice 3/56
    assert OmegaConf.select(config, variable) == module


@pytest.mark.parametrize(
    ("values", "message"),
    [({"alhpa": 1}, r"algorithm.lens has unknown keys \['alhpa'\]"), ({"alpha": -1}, "algorithm.lens: alpha is -1")],
)
def test_bad_configuration_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(LensError, match=message):
        computed(batch(old_log_probs=logprobs(*SURE)), **values)


def test_batch_without_logprobs_is_refused_with_the_remedy() -> None:
    with pytest.raises(LensError, match=r"rollout.calculate_log_probs=True"):
        computed(batch())


def test_verl_loads_it_by_the_documented_variable() -> None:
    code = "import verl; from verl.trainer.ppo.core_algos import get_adv_estimator_fn; get_adv_estimator_fn('lens')"
    environment = {**os.environ, "VERL_USE_EXTERNAL_MODULES": "lens_core.integrations.verl"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
