"""What test_ranks.py starts on one process and on two: a training whose completions do not depend on the ranks.

torchrun --nproc-per-node 2 tests/helpers/ranks.py FOLDER ROWS_PER_RANK [sharded]

`sharded`: the policy is cut up among the processes (FSDP2), which Accelerate does on accelerators only. It takes the
processes for such; the shards, and what gloo carries between them, are real.
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from trl import GRPOConfig

from lens_core.training.ladder_base import character_tokenizer
from lens_core.training.run import SHARDED
from lens_core.training.trainer import LensTrainer
from tests.helpers.fakes import tiny_policy
from tests.helpers.trainers import DATASET

GROUP = 4


class FixedCompletions(LensTrainer):
    """Completion `i` of the step's global batch is a function of `i` and the step."""

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> tuple[list[list[int]], None]:
        first = self.accelerator.process_index * len(prompt_ids)
        self._drawn = None
        return [self._completion(first + row) for row in range(len(prompt_ids))], None

    def _completion(self, row: int) -> list[int]:
        generator = torch.Generator().manual_seed(100 * self.state.global_step + row)
        length = int(torch.randint(2, 12, (), generator=generator))
        return torch.randint(2, 40, (length,), generator=generator).tolist()


def rewards(completions: list[str], trainer_state: Any, **_: Any) -> list[float]:
    """By the text; but in the second step the first two groups are right, and the first rank has nothing to compute."""
    first = int(os.environ["RANK"]) * len(completions)
    return [
        1.0 if trainer_state.global_step == 1 and first + row < 2 * GROUP else float(sum(map(ord, text)) % 3 == 0)
        for row, text in enumerate(completions)
    ]


def pass_for_accelerators() -> None:
    """Let Accelerate shard over processes on a CPU."""
    torch.distributed.init_process_group("gloo")
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_NPU)
    PartialState.set_device = lambda state: setattr(state, "device", torch.device("cpu"))


def trainer(kind: type[LensTrainer], folder: Path, rows: int, sharded: bool, **changes: Any) -> LensTrainer:
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": rows,
        "num_generations": GROUP,
        "max_completion_length": 12,
        "max_steps": 3,
        "learning_rate": 1e-3,
        "loss_type": "grpo",
        "beta": 0.0,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_steps": 2,
        "disable_tqdm": True,
        "logging_steps": 1,
    }
    config = GRPOConfig(**{**settings, **changes}, **(SHARDED if sharded else {}))
    return kind(
        tiny_policy(),
        reward_funcs=rewards,
        args=config,
        train_dataset=DATASET,
        processing_class=character_tokenizer(),
    )


def main(folder: Path, rows: int, sharded: bool) -> None:
    if sharded:
        pass_for_accelerators()
    whole = trainer(FixedCompletions, folder, rows, sharded)
    whole.train()
    whole.save_model(str(folder))
    if whole.accelerator.is_main_process:
        (folder / "advantages.txt").write_text(repr([f"{value:.5f}" for value in whole._logs["advantages"]]))
    resumed = trainer(FixedCompletions, folder, rows, sharded)
    resumed.train(resume_from_checkpoint=str(folder / "checkpoint-2"))
    resumed.save_model(str(folder / "resumed"))
    if sharded and whole.accelerator.num_processes > 1:
        # One rank's answers end long before the other's, which goes on needing its shards; then a step that no answer
        # has an advantage in.
        trainer(LensTrainer, folder / "drawn", 2, sharded, max_completion_length=200, max_steps=2).train()
        half = trainer(LensTrainer, folder / "half", 2, sharded, bf16=True, steps_per_generation=2, max_steps=2)
        half.train()
        assert half._buffered_inputs is not None
        logprobs = half._buffered_inputs[0]["old_per_token_logps"]
        assert (logprobs != logprobs.bfloat16().float()).any(), "log-probabilities are rounded to bfloat16"


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sharded="sharded" in sys.argv[3:])
