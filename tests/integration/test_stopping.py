"""SIGTERM: a training writes a checkpoint after the step that is under way, and goes on from it bit for bit."""

import os
import signal
from pathlib import Path

import pytest

from lens_core import stages
from lens_core.config import RunConfig, load_config
from lens_core.distributed.count import Workers
from lens_core.errors import StoppedError
from lens_core.progress import Progress
from lens_core.training.metrics_file import read_metrics
from tests.helpers.curves import curve

pytestmark = pytest.mark.integration

STEPS = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stages.prepare(config(), tmp_path_factory.mktemp("data"))


def config(*overrides: str) -> RunConfig:
    sizes = [f"steps={STEPS}", "prompts_per_step=2", "group_size=2", "max_new_tokens=4", "warmup_steps=0", *overrides]
    ladder = "{kind: ladder, per_level: 4}"
    others = [f"data.train={ladder}", "data.test=null", "methods={m: {objective: nsr}}"]
    return load_config("demo", [*(f"train.{size}" for size in sizes), *others])


def train(
    settings: RunConfig, data: Path, base: Path, output: Path, stop_at: int | None, workers: Workers | None = None
) -> Path:
    """With SIGTERM to this process when step `stop_at` is told of."""

    def listen(progress: Progress) -> None:
        if progress.done == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    return stages.train(settings, "m", data, base, output, on_progress=listen, resume=True, workers=workers)


def test_stopped_training_goes_on_where_it_was(data: Path, base: Path, tmp_path: Path) -> None:
    output, whole = tmp_path / "stopped", tmp_path / "whole"
    with pytest.raises(StoppedError, match="go on with --resume"):
        train(config(), data, base, output, stop_at=2)
    (checkpoint,) = output.glob("checkpoint-*")
    assert checkpoint.name == "checkpoint-3"  # step 2 is told of after its end
    assert not (output / stages.TRAINING_FILE).exists()
    assert not (output / "model.safetensors").exists()
    train(config(), data, base, output, stop_at=None)
    train(config(), data, base, whole, stop_at=None)
    assert curve(output) == curve(whole)
    assert (output / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not (output / "stop-requested").exists()


def test_training_stops_at_a_logged_step(data: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(config("log_every=3", "steps=9"), data, base, tmp_path / "m", stop_at=3)
    (checkpoint,) = (tmp_path / "m").glob("checkpoint-*")
    assert checkpoint.name == "checkpoint-6"


def test_request_that_comes_too_late_changes_nothing(data: Path, base: Path, tmp_path: Path) -> None:
    output = train(config(), data, base, tmp_path / "m", stop_at=STEPS)
    assert (output / "model.safetensors").exists()


def test_handler_of_before_is_back_afterwards(data: Path, base: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    train(config(), data, base, tmp_path / "m", stop_at=None)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.usefixtures("ray_here")
def test_all_workers_stop_after_one_step(data: Path, base: Path, tmp_path: Path) -> None:
    output, settings = tmp_path / "m", config("steps=60")
    with pytest.raises(StoppedError):
        train(settings, data, base, output, stop_at=2, workers=Workers(2, 2))
    (checkpoint,) = output.glob("checkpoint-*")
    last = int(read_metrics(output)[-1]["step"])
    assert 2 <= last < 60
    assert checkpoint.name == f"checkpoint-{last}"
