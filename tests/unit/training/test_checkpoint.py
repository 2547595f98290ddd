"""Which checkpoints can be resumed from, and what becomes of the others."""

import logging
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lens_core.errors import LensError
from lens_core.files import write_json
from lens_core.training.checkpoint import LIST_FILE, checkpoints, clear_up, damage, last_checkpoint, read_state
from lens_core.training.metrics_file import METRICS_FILE, read_metrics

FILES = (
    *("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state_0.pth", "rng_state_1.pth"),
    *("trainer_state.json", "lens_state.json", "rank1.rollouts.safetensors", "tokenizer.json"),
)
"""Of two processes."""


def save(folder: Path, step: int) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir()
    for name in FILES:
        path = checkpoint / name
        if path.suffix == ".safetensors":
            save_file({"weight": torch.zeros(40)}, path)
        elif path.suffix == ".json":
            path.write_text("{}")
        else:
            torch.save({"state": torch.zeros(40)}, path)
    write_json(checkpoint / "trainer_state.json", {"global_step": step})
    state = {"run": {}, "ranks": 2, "rollouts_taken": step, "failed_saves": 0}
    write_json(checkpoint / "lens_state.json", state)
    write_json(checkpoint / LIST_FILE, {path.name: path.stat().st_size for path in checkpoint.iterdir()})
    return checkpoint


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def overwrite(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def test_whole_checkpoint_is_whole(tmp_path: Path) -> None:
    assert damage(save(tmp_path, 1)) is None


@pytest.mark.parametrize("harm", [Path.unlink, cut, empty, overwrite])
@pytest.mark.parametrize("name", FILES)
def test_harm_to_any_file_is_seen(name: str, harm: object, tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 1)
    assert callable(harm)
    harm(checkpoint / name)
    found = damage(checkpoint)
    assert found is not None
    assert name in found


@pytest.mark.parametrize("harm", [Path.unlink, cut, empty])
@pytest.mark.parametrize("name", FILES[:-2])
def test_harm_is_seen_without_a_list_of_files(name: str, harm: object, tmp_path: Path) -> None:
    """Checkpoints of earlier releases have none."""
    checkpoint = save(tmp_path, 1)
    (checkpoint / LIST_FILE).unlink()
    assert damage(checkpoint) is None
    assert callable(harm)
    harm(checkpoint / name)
    assert damage(checkpoint) is not None


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"run": {}, "ranks": 2}'])
def test_state_that_lacks_something_is_no_state(text: str, tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 1)
    (checkpoint / LIST_FILE).unlink()
    (checkpoint / "lens_state.json").write_text(text)
    assert "lens_state.json is damaged" in str(damage(checkpoint))


def test_newest_whole_checkpoint_is_the_last(tmp_path: Path) -> None:
    first, *others = (save(tmp_path, step) for step in (9, 10, 11))
    assert last_checkpoint(tmp_path) == others[-1]
    for checkpoint in others:
        (checkpoint / "lens_state.json").unlink()
    assert last_checkpoint(tmp_path) == first
    empty(first / "trainer_state.json")
    assert last_checkpoint(tmp_path) is None


def test_damaged_checkpoints_make_room_for_whole_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step)
    cut(tmp_path / "checkpoint-3/optimizer.pt")
    (tmp_path / ".checkpoint-in-progress/checkpoint-4").mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        clear_up(tmp_path)
    (said,) = caplog.messages
    assert "checkpoint-3 is not whole (optimizer.pt has" in said
    assert said.endswith("it is kept as damaged-checkpoint-3, and training goes on from checkpoint-2")
    assert [each.name for each in checkpoints(tmp_path)] == ["checkpoint-1", "checkpoint-2"]
    assert {each.name for each in tmp_path.iterdir()} == {"checkpoint-1", "checkpoint-2", "damaged-checkpoint-3"}

    shutil.copytree(tmp_path / "damaged-checkpoint-3", tmp_path / "checkpoint-3")  # and once more
    clear_up(tmp_path)
    assert len(checkpoints(tmp_path)) == 2


def test_state_that_is_missing_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LensError, match=r"lens_state\.json is missing: take another checkpoint, or start from"):
        read_state(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("trainer_state.json", '{"global_step": "x"}'),
        ("trainer_state.json", '{"global_step": null}'),
        ("files.json", '{"optimizer.pt": "many"}'),
        ("files.json", '{"optimizer.pt": null}'),
        ("tokenizer.json", "[" * 100_000),
    ],
)
def test_nonsense_is_damage(name: str, text: str, tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 1)
    if name != LIST_FILE:
        (checkpoint / LIST_FILE).unlink()
    (checkpoint / name).write_text(text)
    assert damage(checkpoint) is not None


def test_pipe_is_damage(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 1)
    (checkpoint / LIST_FILE).unlink()
    os.mkfifo(checkpoint / "more.json")
    assert damage(checkpoint) == "more.json cannot be read"


@pytest.mark.parametrize("line", ['{"step": null}', '{"step": "x"}', '{"step": 1, "reward": []}'])
def test_metrics_that_are_no_numbers_are_damage(line: str, tmp_path: Path) -> None:
    (tmp_path / METRICS_FILE).write_text(line + "\n")
    with pytest.raises(LensError, match=f"{METRICS_FILE}:1 is damaged"):
        read_metrics(tmp_path)
