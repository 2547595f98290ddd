"""Checkpoints of everything, written as a whole or not at all.

A checkpoint is Trainer's own (weights as safetensors, optimiser, scheduler, random states, trainer state), and beside
it

    lens_state.json      position in the rollouts, counters, what the caller adds (a tracked run's id)
    rollouts.safetensors generated answers that are still to be trained on
    files.json           the size of each file

It is written into a folder of its own, flushed to disk, and renamed: whatever gets the name `checkpoint-N` is whole. A
disk or a person may damage it later; then training goes on from the newest one that is whole.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import rotate_checkpoints, sort_checkpoints

from lens_core.errors import LensError, first_line
from lens_core.files import read_json, write_json

if TYPE_CHECKING:
    from torch.distributed.checkpoint.stateful import Stateful  # a second of imports

STATE_FILE, BUFFER_FILE, LIST_FILE = "lens_state.json", "rollouts.safetensors", "files.json"
_STAGING = ".checkpoint-in-progress"
_NEEDED = (
    ("model*.safetensors", "adapter_model*.safetensors", "pytorch_model_fsdp_*", "global_step*"),
    ("optimizer*", "global_step*"),
    ("scheduler.pt", "global_step*"),
)
"""Weights, optimiser, learning rate: the names that each may have, of Trainer alone, with LoRA, FSDP or DeepSpeed."""
_STATE_KEYS = ("run", "ranks", "rollouts_taken", "failed_saves")

logger = logging.getLogger(__name__)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint in `folder`; None where there is none."""
    return next((each for each in reversed(checkpoints(folder)) if damage(each) is None), None)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first, whole or not."""
    return [Path(each) for each in sort_checkpoints(output_dir=str(folder))] if folder.is_dir() else []


def damage(checkpoint: Path) -> str | None:
    """What keeps a checkpoint from being resumed from, in words: a file that is missing, cut short or unreadable.

    None: it is whole, as far as sizes and the files' own heads and tables tell.
    """
    try:
        ranks = read_state(checkpoint)["ranks"]
        trained_steps(checkpoint)
        listed = read_json(checkpoint / LIST_FILE) if (checkpoint / LIST_FILE).exists() else {}  # others have none
    except LensError as error:
        return str(error)
    for name, size in listed.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size:,} bytes, not {size}"
    random_states = "rng_state.pth" if ranks == 1 else "rng_state_*.pth"
    if len(list(checkpoint.glob(random_states))) != ranks:
        return f"{random_states} is missing"
    for names in _NEEDED:
        if not any(next(checkpoint.glob(name), None) for name in names):
            return f"{names[0]} is missing"
    return next((f"{path.name} cannot be read" for path in sorted(checkpoint.iterdir()) if not is_readable(path)), None)


def is_readable(path: Path) -> bool:
    """Whether a file is what its name says, and whole: safetensors by the head, torch's by the directory at the end."""
    try:
        if not path.is_file():  # a folder; a pipe would block
            return path.is_dir()
        if path.suffix == ".safetensors":
            with safe_open(path, "pt"):
                return True
        if path.suffix in (".pt", ".pth"):
            with zipfile.ZipFile(path):
                return True
        if path.suffix == ".json":
            json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError, SafetensorError, zipfile.BadZipFile):
        return False
    return True


def clear_up(folder: Path) -> None:
    """Make `folder` ready to be trained in: neither rotation nor resumption meets what a kill or damage has left.

    A checkpoint that is not whole is kept as `damaged-checkpoint-N`, with a warning.
    """
    shutil.rmtree(folder / _STAGING, ignore_errors=True)
    for checkpoint in checkpoints(folder):
        found = damage(checkpoint)
        if found is None:
            continue
        aside = folder / f"damaged-{checkpoint.name}"
        shutil.rmtree(aside, ignore_errors=True)
        checkpoint.rename(aside)
        last = last_checkpoint(folder)
        going_on = "there is no other one" if last is None else f"training goes on from {last.name}"
        logger.warning("%s is not whole (%s): it is kept as %s, and %s", checkpoint, found, aside.name, going_on)


def trained_steps(checkpoint: Path) -> int:
    """Optimiser steps that a checkpoint's policy has seen.

    Raises:
        LensError: if the trainer's state is missing or damaged.
    """
    path = checkpoint / TRAINER_STATE_NAME
    steps = read_json(path, "global_step")["global_step"]
    if not isinstance(steps, int):
        raise LensError(f"{path} is damaged (its global_step is no number): take another checkpoint")
    return steps


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What `lens_state.json` says: `{"run": {...}, "rollouts_taken": 12, ...}`.

    Raises:
        LensError: if it is missing or damaged.
    """
    path = checkpoint / STATE_FILE
    if not path.exists():
        raise LensError(f"{path} is missing: take another checkpoint, or start from this one's weights")
    return read_json(path, *_STATE_KEYS)


class CheckpointMixin(Trainer):
    """Atomic, complete checkpoints for LensTrainer."""

    run_state: dict[str, str]
    num_iterations: int
    _staging: str | None = None
    _sampler: Any = None
    _failed_saves = 0
    _step: int
    _buffered_inputs: list[dict[str, Any]] | None

    def _parts(self) -> Sequence[Stateful]:
        """What the trainer is made of and a checkpoint has to keep; their keys in `lens_state.json` are distinct."""
        return ()

    def _get_output_dir(self, trial: Any) -> str:
        return super()._get_output_dir(trial) if self._staging is None else self._staging

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Super's checkpoint and our part of it, in a staging folder, then under its name.

        A disk that is full costs this checkpoint and not the run: it is removed, the failure is logged and counted in
        the metric `failed_saves`, and the earlier checkpoints stay.
        """
        folder = Path(super()._get_output_dir(trial))
        name = f"checkpoint-{self.state.global_step}"
        staging = folder / _STAGING
        failure: Exception | None = None
        best_before = self.state.best_model_checkpoint
        try:
            self._staging = str(staging)
            super()._save_checkpoint(model, trial)
            self._rename_best(staging, folder)
            self._save_lens_state(staging / name)
        except (OSError, SafetensorError, RuntimeError) as error:
            if not _is_write_failure(error):
                raise
            failure = error
        finally:
            self._staging = None
        failed = self.accelerator.gather(torch.tensor([failure is not None], device=self.accelerator.device)).any()
        if self.args.should_save:
            if failed:
                shutil.rmtree(staging, ignore_errors=True)
            else:
                _publish(staging / name, folder / name)
                rotate_checkpoints(str(folder), self.args.save_total_limit, self.state.best_model_checkpoint)
        if failed:
            self.state.best_model_checkpoint = best_before
            self._failed_saves += 1
            cause = "another rank failed" if failure is None else first_line(failure)
            logger.warning("%s was not saved, and training goes on: %s", name, cause)
        self.accelerator.wait_for_everyone()

    def _rename_best(self, staging: Path, folder: Path) -> None:
        """The best checkpoint by the name that it will have: the one that is being written is still in `staging`."""
        best = self.state.best_model_checkpoint
        if best is None or Path(best).parent != staging:
            return
        self.state.best_model_checkpoint = str(folder / Path(best).name)
        if self.args.should_save:
            self.state.save_to_json(str(Path(best) / TRAINER_STATE_NAME))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Whole weights, also of a sharded policy: what reads a policy or a checkpoint needs no processes for it."""
        if not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call=_internal_call)
            return
        weights = self.accelerator.get_state_dict(self.model)  # all processes put them together on the main one
        if self.args.should_save:
            for tied in self.accelerator.unwrap_model(self.model).all_tied_weights_keys:
                weights.pop(tied, None)  # once in the file, as from a whole policy
            self._save(output_dir, state_dict=weights)

    def _save_lens_state(self, checkpoint: Path) -> None:
        ranks = self.accelerator.num_processes
        state = {
            "run": self.run_state,
            "ranks": ranks,
            "rollouts_taken": self._step,
            "failed_saves": self._failed_saves,
        }
        for part in self._parts():
            state |= part.state_dict()
        if self.args.should_save:  # the same on all ranks
            write_json(checkpoint / STATE_FILE, state)
        if self._buffered_inputs is None or self._step % self._generate_every() == 0:
            return
        tables = {
            f"{index}.{name}": value.clone().contiguous()  # rows of one table share its memory
            for index, batch in enumerate(self._buffered_inputs)
            for name, value in batch.items()
            if isinstance(value, Tensor)
        }
        save_file(tables, checkpoint / self._buffer_file())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self._load_lens_state(Path(checkpoint))

    def _load_lens_state(self, checkpoint: Path) -> None:
        """Take up the position in the rollouts, the rollouts themselves, and the order of the prompts.

        Raises:
            LensError: if the checkpoint is not whole, or another trainer's.
        """
        found = damage(checkpoint)
        if found is not None:
            raise LensError(f"{checkpoint} is not whole: {found}")
        state = read_state(checkpoint)
        self._step = state["rollouts_taken"]
        self._failed_saves = state["failed_saves"]
        for part in self._parts():
            part.load_state_dict(state)
        # TRL shuffles each epoch with the next numbers of one generator: draw what the ended epochs have drawn. A
        # stream has no sampler.
        for _ in range(int(self.state.epoch or 0)):
            if self._sampler is not None and self._sampler.shuffle:
                torch.randperm(self._sampler.num_samples, generator=self._sampler.generator)
        if state["ranks"] != self.accelerator.num_processes:
            # Half a batch of rollouts is cut up for other ranks: TRL draws a batch again where there is none.
            self._step = self.state.global_step * self.args.gradient_accumulation_steps
            return
        rollouts = checkpoint / self._buffer_file()
        if not rollouts.is_file():
            return
        batches: list[dict[str, Any]] = [{} for _ in range(self.args.steps_per_generation)]
        for name, table in load_file(rollouts, device=str(self.accelerator.device)).items():
            index, _, field = name.partition(".")
            batches[int(index)][field] = table
        self._buffered_inputs = batches

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        self._sampler = super()._get_train_sampler(*args, **kwargs)
        return self._sampler

    def _generate_every(self) -> int:
        """Micro-batches that are trained on between two generations."""
        return int(self.args.steps_per_generation * self.num_iterations)

    def _buffer_file(self) -> str:
        rank = self.accelerator.process_index
        return BUFFER_FILE if self.accelerator.num_processes == 1 else f"rank{rank}.{BUFFER_FILE}"


def _publish(staged: Path, target: Path) -> None:
    """Rename a finished checkpoint to its name, after every byte of it has reached the disk."""
    sizes = {str(path.relative_to(staged)): path.stat().st_size for path in staged.rglob("*") if path.is_file()}
    write_json(staged / LIST_FILE, sizes)
    for path in [*staged.rglob("*"), staged]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    if target.exists():  # an interrupted run had come further than the checkpoint that it was resumed from
        replaced = staged.parent / "replaced"
        shutil.rmtree(replaced, ignore_errors=True)
        target.rename(replaced)
    staged.rename(target)
    shutil.rmtree(staged.parent)


def _is_write_failure(error: Exception) -> bool:
    """Whether an exception means that bytes could not be written; torch says so in a RuntimeError's text."""
    return not isinstance(error, RuntimeError) or "PytorchStreamWriter" in str(error)
