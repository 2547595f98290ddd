"""Pass@k of checkpoints while the training goes on: what Ray Train runs as a task for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from lens_core.config import EvaluationConfig
from lens_core.credentials import mask_log_records
from lens_core.data.problem import Problem


@dataclass(frozen=True)
class Validation:
    """Held-out problems, and how each checkpoint answers them."""

    problems: list[Problem]
    evaluation: EvaluationConfig


def validate(checkpoint: Any, validation: Validation, queue: Any) -> dict[str, float]:
    """Pass@k of a checkpoint (`ray.train.Checkpoint`), also put into `queue` as `("validation", step, metrics)`."""
    from lens_core.evaluation.evaluate import evaluate_policy
    from lens_core.evaluation.passk import mean_pass_at_k

    mask_log_records()
    folder = Path(checkpoint.path)
    step = int(folder.name.rpartition("-")[2])
    try:
        results = list(chain.from_iterable(evaluate_policy(validation.problems, folder, validation.evaluation)))
    except OSError:
        if folder.exists():
            raise
        return {}  # newer checkpoints have replaced it before its turn came
    counts = [result.counts for result in results]
    metrics = {f"validation/pass_at_{k}": mean_pass_at_k(counts, k).estimate for k in validation.evaluation.ks}
    queue.put(("validation", step, metrics))
    return metrics
