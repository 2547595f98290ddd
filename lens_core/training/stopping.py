"""A training that is asked to end writes a checkpoint first, whoever asks: `kill`, Kubernetes, Ray or a watchdog.

The request is a file in the training's folder, so that it reaches trainers on other nodes. All ranks go by what rank 0
sees, and so stop after the same step.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lens_core.signals import handled

STOP_FILE = "stop-requested"


def stop_when_signalled(output: Path) -> AbstractContextManager[None]:
    """Inside the block SIGTERM and SIGHUP ask the training in `output` to stop."""
    return handled(lambda *_: ask_to_stop(output))


def ask_to_stop(output: Path) -> None:
    """Have the training in `output` stop after a checkpoint, wherever its workers are."""
    (output / STOP_FILE).touch()


def is_stop_asked(output: Path) -> bool:
    """Whether somebody has asked the training in `output` to stop."""
    return (output / STOP_FILE).exists()


class StopWhenAsked(TrainerCallback):
    """Ends the training with a checkpoint, at the first logged step after the request.

    Attributes:
        stopped: whether it did.
    """

    def __init__(self) -> None:
        self.stopped = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        # A resumed training averages its metrics from the last logged step on.
        is_logged = state.global_step % args.logging_steps == 0
        goes_on = state.global_step < state.max_steps and not control.should_training_stop
        if is_logged and goes_on and _is_asked(Path(args.output_dir), args.device):
            control.should_save = control.should_training_stop = self.stopped = True
        return control


def _is_asked(output: Path, device: torch.device) -> bool:
    asked = is_stop_asked(output)
    if distributed.is_available() and distributed.is_initialized():
        flag = torch.tensor([asked], dtype=torch.uint8, device=device)
        distributed.broadcast(flag, src=0)
        asked = bool(flag.item())
    return asked
