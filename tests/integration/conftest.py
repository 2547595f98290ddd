"""What many tests only read, or share: a policy, a training on one process, Ray clusters."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.fakes import save_tiny_policy
from tests.helpers.ray_head import Head, ray_head
from tests.helpers.ray_training import config, training


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained policy; nobody writes into its folder."""
    return save_tiny_policy(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def alone(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training of tests.helpers.ray_training, in this process."""
    from lens_core.training.run import train_policy

    return train_policy(training(config(), base, tmp_path_factory.mktemp("alone")))


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """A Ray cluster of this process, for the tests of the xdist group `ray`."""
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
        ray.init(address="local", num_cpus=6, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        signal.signal(signal.SIGTERM, handler)  # Ray puts its own in place, which would stay for all tests
        yield
        ray.shutdown()


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    """A Ray cluster that asks for a token, for the tests of the xdist group `head`."""
    with ray_head() as running:
        yield running
