"""What test_accumulation.py starts on two processes: a step of several micro-batches, some without gradient.

torchrun --nproc-per-node 2 tests/helpers/accumulation.py FOLDER [sharded] [every]

Prints one JSON object a line for each number of micro-batches and choice of those that carry gradient. The learning
rate is 1 and the optimiser SGD: the change of the weights is the gradient.
"""

import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from lens_core.config import EconomyConfig
from lens_core.objective import LensConfig
from lens_core.training.ladder_base import character_tokenizer
from lens_core.training.run import SHARDED
from lens_core.training.trainer import LensTrainer
from tests.helpers.fakes import tiny_policy
from tests.helpers.ranks import pass_for_accelerators
from tests.helpers.trainers import DATASET, GROUP, checksum_reward

Choices = dict[int, list[tuple[int, ...]]]
"""Micro-batches of a step -> which of them carry gradient."""
SOME: Choices = {1: [()], 2: [(0,), (1,)], 4: [(1, 2)]}
EVERY: Choices = {
    count: [kept for size in range(count + 1) for kept in itertools.combinations(range(count), size)]
    for count in (1, 2, 4)
}
GRPO = LensConfig(variant="off")
OFF = EconomyConfig(**dict.fromkeys(EconomyConfig.model_fields, False))


class Patterned(GRPOTrainer):
    """Completions are functions of their place; micro-batches that are not `kept` lose all advantages on all ranks."""

    kept: Sequence[int]
    micro_batches = 0

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> tuple[list[list[int]], None]:
        first = self.accelerator.process_index * len(prompt_ids)
        self._drawn = None
        return [self._completion(first + row) for row in range(len(prompt_ids))], None

    def _completion(self, row: int) -> list[int]:
        generator = torch.Generator().manual_seed(row)
        length = int(torch.randint(2, 12, (), generator=generator))
        return torch.randint(2, 40, (length,), generator=generator).tolist()

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if self.micro_batches not in self.kept:
            inputs = {**inputs, "advantages": torch.zeros_like(inputs["advantages"])}
        self.micro_batches += 1
        return super()._compute_loss(model, inputs)


class PatternedLens(Patterned, LensTrainer):
    pass


def gradient(
    kind: type[Patterned], folder: Path, accumulation: int, kept: Sequence[int], sharded: bool, **options: Any
) -> tuple[Tensor, float]:
    """`(minus the gradient of all parameters, the largest difference of weights between ranks)`."""
    config = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=GROUP,
        gradient_accumulation_steps=accumulation,
        num_generations=GROUP,
        max_completion_length=12,
        max_steps=1,
        learning_rate=1.0,
        optim="sgd",
        max_grad_norm=1e9,
        loss_type="grpo",
        beta=0.0,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        **(SHARDED if sharded else {}),
    )
    trainer = kind(
        tiny_policy(),
        reward_funcs=checksum_reward,
        args=config,
        train_dataset=DATASET,
        processing_class=character_tokenizer(),
        **options,
    )
    trainer.kept = kept
    trainer.train()
    weights = trainer.accelerator.get_state_dict(trainer.model)
    before = tiny_policy().state_dict()
    apart = 0.0
    if not sharded:
        flat = torch.cat([weight.flatten() for weight in weights.values()])
        of_ranks = trainer.accelerator.gather(flat[None])
        apart = float((of_ranks - of_ranks[:1]).abs().max())
    if not trainer.accelerator.is_main_process:
        return torch.zeros(1), apart
    return torch.cat([(weights[name] - before[name]).flatten() for name in before]), apart


def main(folder: Path, sharded: bool, choices: Choices) -> None:
    if sharded:
        pass_for_accelerators()
    for accumulation, kept in [(count, kept) for count, of in choices.items() for kept in of]:
        where = (folder, accumulation, kept, sharded)
        stock, _ = gradient(Patterned, *where)
        off, _ = gradient(PatternedLens, *where, lens=GRPO, economy=OFF)
        on, apart = gradient(PatternedLens, *where, lens=GRPO)
        if torch.distributed.get_rank() == 0:
            found = {"accumulation": accumulation, "kept": kept, "norm": float(stock.norm()), "apart": apart}
            found |= {"stock": float((on - stock).abs().max()), "off": float((on - off).abs().max())}
            print("RESULT " + json.dumps(found), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "sharded" in sys.argv[2:], EVERY if "every" in sys.argv[2:] else SOME)
