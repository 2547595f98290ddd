"""What runs in a worker of Ray Train."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lens_core.credentials import mask_log_records
from lens_core.training.run import train_policy

if TYPE_CHECKING:
    from lens_core.distributed.task import WorkerTask


def train(task: WorkerTask) -> None:
    """Train with the other workers, from the checkpoint that Ray last heard of where this is a restart."""
    import ray.train

    mask_log_records()
    if ray.train.get_context().get_world_size() == 1 and not task.training.config.fsdp:
        # Accelerate goes by it, and would wrap the policy for an exchange of gradients: some per cent of a small step.
        os.environ.pop("LOCAL_RANK", None)
    checkpoint = ray.train.get_checkpoint()
    training = task.training if checkpoint is None else replace(task.training, resume_from=Path(checkpoint.path))
    train_policy(
        training,
        lambda step, metrics: task.queue.put(("step", step, metrics)),
        [ReportToRay(task.validated)],
        task.rollouts,
    )


class ReportToRay(TrainerCallback):
    """Tells Ray of each checkpoint that our trainer has written: rank 0 names it, all ranks report.

    Args:
        validated: whether Ray is to validate it, as its trainer was told.
    """

    def __init__(self, validated: bool) -> None:
        self._validated = validated

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        import ray.train

        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        saved = state.is_world_process_zero and folder.is_dir()  # a full disk costs a checkpoint, not the run
        # Ray takes reports every few seconds, and a blocking one would wait for that. There is nothing to upload.
        ray.train.report(
            {"step": state.global_step},
            ray.train.Checkpoint.from_directory(str(folder)) if saved else None,
            checkpoint_upload_mode=ray.train.CheckpointUploadMode.ASYNC,
            checkpoint_upload_fn=lambda checkpoint, _: checkpoint,
            delete_local_checkpoint_after_upload=False,
            validation=self._validated and saved,
        )
