"""LENS in verl (0.9): importing this module registers the advantage estimator `lens`.

    VERL_USE_EXTERNAL_MODULES=lens_core.integrations.verl python -m verl.trainer.main_ppo \\
        algorithm.adv_estimator=lens +algorithm.lens.alpha=0.25 ...

verl hands rewards, mask and group ids to an estimator of one's own, and no log-probabilities. Confidence needs them, so
that `compute_advantage`, which has the whole batch, is wrapped: it lends the batch to the estimator while it runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from lens_core.errors import LensError
from lens_core.objective import LensConfig, advantages, confidence

NAME = "lens"
_LOGPROBS = ("rollout_log_probs", "old_log_probs")
"""What the sampling policy gave its tokens, best first: the engine's own, else the old policy's."""
_batch: ContextVar[Mapping[str, Tensor] | None] = ContextVar("verl_batch", default=None)


@torch.no_grad()
def lens_advantage(
    token_level_rewards: Tensor, response_mask: Tensor, index: Any, config: Any = None, **_: Any
) -> tuple[Tensor, Tensor]:
    """LENS advantages in verl's terms, as `compute_grpo_outcome_advantage` gives GRPO's.

    Args:
        token_level_rewards: [B, T], their sum is an answer's reward in [0, 1]; NaN means ungraded.
        response_mask: [B, T], 1 where a token counts.
        index: [B], equal for the answers of one prompt; groups may be interleaved and of any size.
        config: verl's `algorithm` section; its `lens` holds fields of LensConfig.

    Returns:
        `(advantages, returns)`, both [B, T] and equal, 0 where no token counts.

    Raises:
        LensError: if the batch holds no log-probabilities, or `algorithm.lens` an unknown or bad value.
    """
    objective = _objective(config)
    reward_B = token_level_rewards.sum(dim=-1)
    confidence_B = confidence(_sampling_logprobs(), response_mask)
    advantage_B = torch.zeros_like(reward_B)
    for rows in _groups(index):
        if len(rows) > 1:  # an answer alone has nothing to be compared with
            reward_1G = reward_B[rows].unsqueeze(0).masked_fill(confidence_B[rows].isnan(), torch.nan)
            group = advantages(reward_1G, confidence_B[rows].nan_to_num(1.0).unsqueeze(0), objective)
            advantage_B[rows] = group.squeeze(0).to(advantage_B.dtype)
    advantage_BT = advantage_B.unsqueeze(1) * response_mask
    return advantage_BT, advantage_BT


def _groups(index: Any) -> list[list[int]]:
    rows: dict[Any, list[int]] = {}
    for row, group in enumerate(index):
        rows.setdefault(group, []).append(row)
    return list(rows.values())


def _objective(config: Any) -> LensConfig:
    values = {} if config is None else config.get("lens", None)
    values = {} if values is None else dict(values)
    known = [field.name for field in dataclasses.fields(LensConfig)]
    if not values.keys() <= set(known):
        raise LensError(f"algorithm.lens has unknown keys {sorted(values.keys() - set(known))}; it takes {known}")
    try:
        return LensConfig(**values)
    except ValueError as error:
        raise LensError(f"algorithm.lens: {error}") from error


def _sampling_logprobs() -> Tensor:
    batch = _batch.get()
    if batch is not None:
        for name in _LOGPROBS:
            if name in batch.keys():  # noqa: SIM118  (a TensorDict has no other membership test)
                return batch[name]
    raise LensError(
        f"the batch holds none of {', '.join(_LOGPROBS)}, which LENS takes its confidences from: set "
        "actor_rollout_ref.rollout.calculate_log_probs=True, and call verl's own compute_advantage"
    )


def lending_the_batch(compute_advantage: Callable[..., Any]) -> Callable[..., Any]:
    """verl's `compute_advantage`, during which the estimator `lens` can see the batch."""

    @wraps(compute_advantage)
    def call(data: Any, *args: Any, **kwargs: Any) -> Any:
        with _lent(data.batch):
            return compute_advantage(data, *args, **kwargs)

    return call


@contextmanager
def _lent(batch: Mapping[str, Tensor]) -> Iterator[None]:
    token = _batch.set(batch)
    try:
        yield
    finally:
        _batch.reset(token)


def _register() -> None:
    try:
        from verl.trainer.ppo import core_algos, ray_trainer
    except ImportError as error:
        raise LensError(f"verl 0.9 cannot be imported ({error}): pip install 'verl>=0.9,<0.10'") from error
    core_algos.register_adv_est(NAME)(lens_advantage)
    ray_trainer.compute_advantage = lending_the_batch(ray_trainer.compute_advantage)


_register()
