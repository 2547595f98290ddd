"""A loss or a gradient that is not finite costs its step, and not the run."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from lens_core.errors import LensError

logger = logging.getLogger(__name__)


class SkippedSteps:
    """Counts steps without a finite loss or gradient.

    Args:
        most_in_a_row: so many of them stop the run.

    Attributes:
        count: of the whole run.
    """

    def __init__(self, most_in_a_row: int) -> None:
        self.most_in_a_row = most_in_a_row
        self.count = self._in_a_row = 0

    def took(self) -> None:
        """A step that was taken ends the row."""
        self._in_a_row = 0

    def skipped(self, diagnosis: str) -> None:
        """One more.

        Raises:
            LensError: if it is one too many in a row.
        """
        self.count += 1
        self._in_a_row += 1
        logger.warning("step skipped, %s", diagnosis)
        if self._in_a_row >= self.most_in_a_row:
            raise LensError(
                f"{self._in_a_row} steps in a row had no finite loss or gradient ({diagnosis}). Checkpoints "
                "are from before: lower the learning rate or max_grad_norm, or look at the rewards, and resume"
            )

    def state_dict(self) -> dict[str, int]:
        return {"skipped_steps": self.count, "skipped_in_a_row": self._in_a_row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count, self._in_a_row = state["skipped_steps"], state["skipped_in_a_row"]


class NonFiniteMixin(Trainer):
    """No optimiser step for LensTrainer where the loss or the gradient is not finite, on any rank."""

    skipped_steps: SkippedSteps
    _loss_is_finite = True

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        loss = super().training_step(*args, **kwargs)
        self._loss_is_finite = self._loss_is_finite and bool(loss.isfinite().all())
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Super's, right before the optimiser's step: where it or the loss is not finite, there is no step.

        Raises:
            LensError: after too many such steps in a row.
        """
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        sound = self._loss_is_finite and math.isfinite(float(norm))
        verdicts = self.accelerator.gather(torch.tensor([sound], device=self.accelerator.device))
        self._loss_is_finite = True
        if verdicts.all():
            self.skipped_steps.took()
            return norm
        diagnosis = (
            f"step {self.state.global_step + 1}: gradient norm {float(norm):g}, first parameter without a finite "
            f"gradient: {_first_broken(self.model)}; learning rate {self._get_learning_rate():g}"
        )
        # Without gradients an optimiser's step changes nothing, neither weights nor its own state.
        self.model.zero_grad(set_to_none=True)
        self.skipped_steps.skipped(diagnosis)
        return norm


def _first_broken(model: nn.Module) -> str:
    broken = (name for name, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all())
    return next(broken, "none; the loss itself is not finite")
