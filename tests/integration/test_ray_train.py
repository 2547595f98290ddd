"""Ray Train: the same training on any number of workers, and after the death of one of them."""

import os
from pathlib import Path

import pytest

from lens_core.config import EvaluationConfig
from lens_core.data.ladder import ladder
from lens_core.distributed.count import Workers
from lens_core.distributed.train import OnRay, train_with_ray
from lens_core.distributed.validation import Validation
from lens_core.errors import LensError
from tests.helpers.ray_processes import training_workers
from tests.helpers.ray_training import assert_same_training, config, dying, on_ray, training

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_here")]

TWO = Workers(2, 2)


@pytest.mark.long
def test_workers_that_share_groups_train_what_a_process_alone_does(base: Path, alone: Path, tmp_path: Path) -> None:
    # 12 answers in groups of 4, on 4 workers of 3. A single worker trains in test_ray_cluster.py.
    steps: list[int] = []
    output = on_ray(config(), base, tmp_path / "run", Workers(4, 4), lambda step, _: steps.append(step))
    assert_same_training(output, alone, 1e-4)
    assert steps == [1, 2, 3, 4]


@pytest.mark.long
def test_elastic_training_takes_the_workers_there_is_room_for_and_is_validated_as_it_goes_on(
    base: Path, alone: Path, tmp_path: Path
) -> None:
    seen: list[int] = []
    found: dict[int, dict[str, float]] = {}
    validation = Validation(ladder(2, seed=9), EvaluationConfig(n=4, ks=(1, 4), max_new_tokens=8))
    tried = OnRay(Workers(1, 3), validation, lambda step, metrics: found.update({step: metrics}))
    output = tmp_path / "run"
    output.mkdir()
    spec = training(config("keep_checkpoints=4"), base, output)
    train_with_ray(spec, lambda *_: seen.append(len(training_workers(os.getpid()))), tried)
    assert seen[0] == 3
    assert_same_training(output, alone, 1e-4)
    assert sorted(found) == [1, 2, 3, 4]
    assert all(0 <= value <= 1 for metrics in found.values() for value in metrics.values())
    assert set(found[1]) == {"validation/pass_at_1", "validation/pass_at_4"}


@pytest.mark.long
def test_death_of_a_worker_costs_what_was_not_saved(base: Path, alone: Path, tmp_path: Path) -> None:
    output = on_ray(dying(config(), 3, tmp_path / "mark"), base, tmp_path / "run", TWO)
    assert (tmp_path / "mark").exists()
    assert_same_training(output, alone, 1e-4)


def test_error_of_a_worker_is_told_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        LensError, match=r"training on 2 Ray workers failed: .*holds no causal language model"
    ) as caught:
        on_ray(config("max_failures=0"), tmp_path, tmp_path / "run", TWO)
    assert "\n" not in str(caught.value)


@pytest.mark.long
def test_listener_that_fails_ends_the_training_with_a_checkpoint(base: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def listener(step: int, _: dict[str, float]) -> None:
        seen.append(step)
        raise ValueError("nobody listens")

    with pytest.raises(ValueError, match="nobody listens"):
        on_ray(config("steps=200", "checkpoint_every=1000"), base, tmp_path / "run", TWO, listener)
    (saved,) = (tmp_path / "run").glob("checkpoint-*")
    assert seen == [1]
    assert int(saved.name.rpartition("-")[2]) < 200


def test_steps_that_do_not_divide_are_refused_before_any_work(base: Path, tmp_path: Path) -> None:
    with pytest.raises(LensError, match=r"12 completions a step .* do not divide over 5 processes"):
        on_ray(config(), base, tmp_path / "run", Workers(5, 5))
