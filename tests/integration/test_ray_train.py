"""Ray Train: the same training on any number of workers, and after the death of one of them."""

import logging
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray

from lens_core.distributed.count import Workers
from lens_core.errors import LensError
from lens_core.training.run import train_policy
from tests.helpers.fakes import save_tiny_policy
from tests.helpers.ray_training import assert_same_training, config, dying, on_ray, training

pytestmark = pytest.mark.integration

TWO = Workers(2, 2)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
        ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_policy(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def alone(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training in this process."""
    output = tmp_path_factory.mktemp("alone")
    return train_policy(training(config(), base, output))


@pytest.mark.parametrize("workers", [1, 2, 4])  # 12 answers in groups of 4: of 2 and 4 workers, some share a group
def test_any_number_of_workers_trains_the_same(workers: int, base: Path, alone: Path, tmp_path: Path) -> None:
    steps: list[int] = []
    output = on_ray(config(), base, tmp_path / "run", Workers(workers, workers), lambda step, _: steps.append(step))
    assert_same_training(output, alone, 1e-4)
    assert steps == [1, 2, 3, 4]


def test_elastic_training_takes_the_workers_that_there_is_room_for(base: Path, alone: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    output = on_ray(config(), base, tmp_path / "run", Workers(1, 3), lambda *_: seen.append(len(worker_pids())))
    assert seen[0] == 3
    assert_same_training(output, alone, 1e-4)


def test_death_of_a_worker_costs_what_was_not_saved(base: Path, alone: Path, tmp_path: Path) -> None:
    output = on_ray(dying(config(), 3, tmp_path / "mark"), base, tmp_path / "run", TWO)
    assert (tmp_path / "mark").exists()
    assert_same_training(output, alone, 1e-4)


def worker_pids() -> list[int]:
    """Of the training workers in the cluster that this process has started."""
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if any("RayTrainWorker" in word for word in child.cmdline())]


def test_error_of_a_worker_is_told_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        LensError, match=r"training on 2 Ray workers failed: .*holds no causal language model"
    ) as caught:
        on_ray(config("max_failures=0"), tmp_path, tmp_path / "run", TWO)
    assert "\n" not in str(caught.value)


def test_steps_that_do_not_divide_are_refused_before_any_work(base: Path, tmp_path: Path) -> None:
    with pytest.raises(LensError, match=r"12 completions a step .* do not divide over 5 workers"):
        on_ray(config(), base, tmp_path / "run", Workers(5, 5))
