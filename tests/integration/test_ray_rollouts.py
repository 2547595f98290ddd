"""Rollouts by Ray actors beside the trainers."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import ray

from lens_core.config import RolloutConfig
from lens_core.distributed.count import Workers
from lens_core.distributed.rollout_actors import rollout_workers
from lens_core.errors import LensError
from lens_core.rollout.engine import SamplingConfig, TransformersEngine, load_policy
from tests.helpers.curves import curve
from tests.helpers.fakes import tiny_policy
from tests.helpers.ray_training import assert_same_training, config, dying, on_ray
from tests.helpers.vllm_policy import save_vllm_policy

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_here")]

PROMPTS = [[30 + index % 3, 40, 41] for index in range(7)]
SAMPLING = SamplingConfig(max_new_tokens=12)


def rollouts(**values: Any) -> str:
    settings = ", ".join(f"{key}: {value}" for key, value in values.items())
    return f"rollouts={{{settings}}}"


def test_actors_draw_what_one_engine_draws_and_survive_a_kill(base: Path) -> None:
    engine = TransformersEngine(*load_policy(base))
    with rollout_workers(RolloutConfig(workers=2), base, 64) as workers:
        for seed in range(3):
            weights = tiny_policy(seed).state_dict()
            engine.load_weights(weights)
            workers.load_weights(weights)
            if seed == 2:  # an actor that is started again has the base's weights, and must take these
                os.kill(ray.get(workers.actors[1].ready.remote()), signal.SIGKILL)
            drawn, expected = workers.sample_ids(PROMPTS, SAMPLING, seed), engine.sample_ids(PROMPTS, SAMPLING, seed)
            assert drawn.token_ids == expected.token_ids
            assert [len(row) for row in drawn.logprobs] == [len(row) for row in expected.logprobs]


def test_requests_keep_the_weights_that_they_were_made_with(base: Path) -> None:
    engine = TransformersEngine(*load_policy(base))
    engine.load_weights(tiny_policy(1).state_dict())
    expected = engine.sample_ids(PROMPTS, SAMPLING, 5).token_ids
    with rollout_workers(RolloutConfig(workers=1), base, 64) as workers:
        workers.load_weights(tiny_policy(1).state_dict())
        result = workers.start(PROMPTS, SAMPLING, 5)
        workers.load_weights(tiny_policy(2).state_dict())
        assert workers.sample_ids(PROMPTS, SAMPLING, 5).token_ids != expected
        assert result().token_ids == expected


def test_a_base_that_is_no_model_is_told_on_one_line(tmp_path: Path) -> None:
    workers = rollout_workers(RolloutConfig(workers=1), tmp_path, 64)
    with pytest.raises(LensError, match=r"rollout workers cannot start: .*holds no causal language model"), workers:
        pass


@pytest.mark.long
def test_rollouts_in_turns_train_as_a_process_alone_does(base: Path, alone: Path, tmp_path: Path) -> None:
    output = on_ray(config(rollouts(workers=2)), base, tmp_path / "run", Workers(2, 2))
    assert [step["lens/off_policy_steps"] for step in curve(output)] == [0] * 4
    for step, other in zip(curve(output), curve(alone), strict=True):
        # The old policy's log-probabilities are the actors', and differ from the trainer's by rounding.
        assert {key: step[key] for key in other} == pytest.approx(other, abs=1e-4)


AHEAD = config(rollouts(workers=1, max_off_policy=2), "steps=6", "keep_checkpoints=6", "learning_rate=1e-2")


@pytest.fixture(scope="module")
def ahead(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing disturbed, on batches that were drawn two updates before."""
    return on_ray(AHEAD, base, tmp_path_factory.mktemp("ahead") / "run", Workers(1, 1))


@pytest.mark.long
def test_rollouts_ahead_are_as_old_as_allowed_and_do_not_depend_on_the_trainers(
    ahead: Path, base: Path, tmp_path: Path
) -> None:
    assert [step["lens/off_policy_steps"] for step in curve(ahead)] == [0, 1, 2, 2, 2, 2]
    assert curve(ahead)[0]["clip_ratio/region_mean"] == 0
    assert any(step["clip_ratio/region_mean"] > 0 for step in curve(ahead)), "the ratio is to the older policy"
    assert_same_training(on_ray(AHEAD, base, tmp_path / "run", Workers(2, 2)), ahead, 1e-4)


@pytest.mark.long
def test_killed_trainer_goes_on_with_what_was_drawn_ahead(ahead: Path, base: Path, tmp_path: Path) -> None:
    output = on_ray(dying(AHEAD, 4, tmp_path / "mark"), base, tmp_path / "run", Workers(1, 1))
    assert (tmp_path / "mark").exists()
    assert (output / "checkpoint-2" / "ahead.json").exists()
    assert_same_training(output, ahead, 0.0)


@pytest.mark.long
def test_vllm_on_a_cpu_draws_for_a_trainer(tmp_path: Path) -> None:
    base = save_vllm_policy(tmp_path / "base", seed=0)  # vLLM knows no heads as small as those of the tiny policy
    output = on_ray(
        config(rollouts(workers=1, engine="vllm"), "steps=3", "learning_rate=1e-2"),
        base,
        tmp_path / "run",
        Workers(1, 1),
    )
    policy, before = (load_policy(folder)[0].state_dict() for folder in (output, base))
    assert max((policy[name] - before[name]).abs().max() for name in policy) > 1e-4
    # Ratios to vLLM's own log-probabilities: all are near 1 after an update only if it has the new weights.
    assert [step["clip_ratio/region_mean"] for step in curve(output)] == [0] * 3
