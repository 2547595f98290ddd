"""A run that survives: whole checkpoints, resumption bit for bit, steps that are not finite, disks that are full."""

import itertools
import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PrinterCallback, TrainerCallback

from lens_core.errors import LensError
from lens_core.training.checkpoint import STATE_FILE, last_checkpoint, read_state
from lens_core.training.trainer import LensTrainer
from tests.helpers.curves import without_clock
from tests.helpers.trainers import build, checksum_reward

pytestmark = pytest.mark.integration

STEPS = 7


class StopAt(TrainerCallback):
    """Ends a training as a kill would, right after the checkpoint of `step`."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = state.global_step >= self.step


def trainer(folder: Path, callbacks: Any = (), **kwargs: Any) -> LensTrainer:
    config = {"save_strategy": "steps", "save_steps": 1, "max_steps": STEPS, **kwargs.pop("config", {})}
    run = build(LensTrainer, folder, config=config, callbacks=list(callbacks), **kwargs)
    run.remove_callback(PrinterCallback)
    return run


def curve(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was logged of the steps, but for the clock."""
    return without_clock(entry for entry in history if "grad_norm" in entry)


SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},  # 4 prompts a step, 8 in the data: an epoch is two steps
    "accumulation": {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2},
    "two updates a batch": {"per_device_train_batch_size": 8, "steps_per_generation": 2},  # 1, 3: in a batch's middle
    "two iterations": {"num_iterations": 2},
    "schedule": {"logging_steps": 1, "lr_scheduler_type": "cosine", "warmup_steps": 2, "temperature": 0.7},
}


@pytest.fixture(scope="module", params=SHAPES)
def undisturbed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], LensTrainer]:
    """A shape, and a whole training of it with the checkpoints of all its steps."""
    shape = SHAPES[request.param]
    run = trainer(tmp_path_factory.mktemp("whole"), config=shape)
    run.train()
    return shape, run


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_resumed_run_is_the_undisturbed_one_bit_for_bit(
    tmp_path: Path, undisturbed: tuple[dict[str, Any], LensTrainer], stop: int
) -> None:
    (shape, whole), checkpoint = undisturbed, f"checkpoint-{stop}"
    shutil.copytree(Path(whole.args.output_dir) / checkpoint, tmp_path / checkpoint)
    torch.manual_seed(123)  # a new process starts from other random numbers
    resumed = trainer(tmp_path, config=shape)
    resumed.train(resume_from_checkpoint=str(tmp_path / checkpoint))
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name
    assert curve(whole.state.log_history) == curve(resumed.state.log_history)
    assert len(curve(resumed.state.log_history)) == STEPS


def test_dynamic_sampling_resumes_with_the_prompts_that_come_next(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", resample_rounds=3)
    whole.train()
    trainer(tmp_path / "killed", callbacks=[StopAt(3)], resample_rounds=3).train()
    resumed = trainer(tmp_path / "killed", resample_rounds=3)
    resumed.train(resume_from_checkpoint=str(tmp_path / "killed/checkpoint-3"))
    assert resumed.draws.resamples == whole.draws.resamples > 0
    assert curve(whole.state.log_history) == curve(resumed.state.log_history)


def test_checkpoint_carries_what_the_caller_adds(tmp_path: Path) -> None:
    trainer(tmp_path, callbacks=[StopAt(2)], run_state={"mlflow_run": "abc"}).train()
    checkpoint = last_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-2"
    assert read_state(checkpoint)["run"] == {"mlflow_run": "abc"}


def test_old_checkpoints_go_and_nothing_is_left_in_progress(tmp_path: Path) -> None:
    trainer(tmp_path, config={"save_total_limit": 2}).train()
    left = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert left == [f"checkpoint-{STEPS - 1}", f"checkpoint-{STEPS}"]


def test_resuming_from_an_older_checkpoint_replaces_the_newer_ones(tmp_path: Path) -> None:
    trainer(tmp_path).train()
    trainer(tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert read_state(tmp_path / f"checkpoint-{STEPS}")["rollouts_taken"] == STEPS


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """The kernel refuses to write files beyond `limit` bytes, as a full disk would (Python ignores SIGXFSZ)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [1_000, 30_000], ids=["weights", "optimiser"])
def test_full_disk_costs_a_checkpoint_and_not_the_run(
    tmp_path: Path, limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    class FullFromStep3(LensTrainer):
        def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
            with file_size_limit(limit if self.state.global_step in (3, 4) else 10**9):
                super()._save_checkpoint(*args, **kwargs)

    config = {"save_strategy": "steps", "save_steps": 1, "max_steps": 5}
    run = build(FullFromStep3, tmp_path, config=config)
    run.train()
    assert run.state.global_step == 5
    left = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert left == ["checkpoint-1", "checkpoint-2", "checkpoint-5"]
    assert "checkpoint-3 was not saved, and training goes on" in caplog.text
    assert curve(run.state.log_history)[-1]["failed_saves"] == 2


def test_save_that_fails_for_another_reason_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("CUDA error")

    run = trainer(tmp_path)
    monkeypatch.setattr(run, "_save_rng_state", broken)
    with pytest.raises(RuntimeError, match="CUDA error"):
        run.train()


class Poisoned(LensTrainer):
    """Puts NaN into the loss of some steps, as overflow would."""

    steps: tuple[int, ...] = ()

    def _compute_loss(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super()._compute_loss(*args, **kwargs)
        return loss * float("nan") if self.state.global_step in self.steps else loss


def test_step_without_a_finite_gradient_changes_nothing_and_is_counted(tmp_path: Path) -> None:
    run = build(Poisoned, tmp_path, config={"max_steps": 3})
    run.steps = (1,)
    weights: list[dict[str, torch.Tensor]] = []

    class Snapshot(TrainerCallback):
        def on_step_end(self, *_: Any, model: Any, **__: Any) -> None:
            weights.append({name: value.clone() for name, value in model.state_dict().items()})

    run.add_callback(Snapshot())
    run.train()
    moved = [any(not torch.equal(a[name], b[name]) for name in a) for a, b in itertools.pairwise(weights)]
    assert moved == [False, True]
    assert [entry["skipped_steps"] for entry in curve(run.state.log_history)] == [0, 1, 1]
    assert all(value.isfinite().all() for value in run.model.state_dict().values())


def test_steps_in_a_row_without_a_finite_gradient_stop_the_run_with_a_diagnosis(tmp_path: Path) -> None:
    run = build(Poisoned, tmp_path, config={"max_steps": 9}, max_skipped_steps=3)
    run.steps = (0, 2, 3, 4, 5)
    with pytest.raises(LensError, match=r"3 steps in a row .*step 5: gradient norm nan, first parameter .*embed"):
        run.train()


def test_infinite_gradient_of_a_finite_loss_is_skipped_too(tmp_path: Path) -> None:
    def rewards(completions: list[str], **_: Any) -> list[float]:
        return checksum_reward(completions)

    run = build(LensTrainer, tmp_path, reward=rewards, config={"max_steps": 2, "max_grad_norm": 0.0})
    run.model.lm_head.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.train()
    assert run.skipped_steps.count == 2
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())


def test_state_file_is_plain_json(tmp_path: Path) -> None:
    trainer(tmp_path, callbacks=[StopAt(1)]).train()
    assert json.loads((tmp_path / "checkpoint-1" / STATE_FILE).read_text())["rollouts_taken"] == 1
