"""LENS in verl (0.9): importing this module registers the advantage estimator `lens`.

    VERL_USE_EXTERNAL_MODULES=lens_core.integrations.verl python -m verl.trainer.main_ppo \\
        algorithm.adv_estimator=lens +algorithm.lens.alpha=0.25 ...

verl hands an estimator of one's own `token_level_rewards`, `response_mask`, `index` (the uids) and `config` (section
`algorithm`), no log-probabilities (`compute_advantage` in verl/trainer/ppo/ray_trainer.py). Confidence needs them, so
that `compute_advantage`, which has the whole batch, is wrapped: it lends the batch to the estimator while it runs.

A row of the batch is an answer. verl's GRPO takes only the last row of an agent session that has several; every other
estimator, this one too, is given them all. How the module reaches a running Ray cluster is in docs/drop-in.md.
"""

from __future__ import annotations

import dataclasses
import sys
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
        response_mask: [B, T], 1 where a token counts; an answer without such a token is left out like an ungraded one.
        index: [B], equal for the answers of one prompt; groups may be interleaved and of any size.
        config: verl's `algorithm` section; its `lens` holds fields of LensConfig.

    Returns:
        `(advantages, returns)`, both [B, T] and equal, 0 where no token counts.

    Raises:
        LensError: if the batch holds no log-probabilities or those of a graded answer are NaN, a reward is out of
            range, or `algorithm.lens` holds an unknown key or a bad value.
    """
    objective = _objective(config)
    reward_B = token_level_rewards.sum(dim=-1).masked_fill(~response_mask.bool().any(dim=-1), torch.nan)
    confidence_B = confidence(_sampling_logprobs(), response_mask)
    if (confidence_B.isnan() & ~reward_B.isnan()).any():  # not the same as ungraded: the engine is broken
        raise LensError("log-probabilities of a graded answer are NaN: look at the rollout engine")
    advantage_BT = _in_groups(reward_B, confidence_B, index, objective).unsqueeze(1) * response_mask
    return advantage_BT, advantage_BT


def _in_groups(reward_B: Tensor, confidence_B: Tensor, index: Any, objective: LensConfig) -> Tensor:
    """[B], `advantages` of each group; 0 for an answer alone, which has nothing to be compared with."""
    advantage_B = torch.zeros_like(reward_B)
    for group, rows in _groups(index).items():
        if len(rows) > 1:
            try:
                advantage_1G = advantages(reward_B[rows].unsqueeze(0), confidence_B[rows].unsqueeze(0), objective)
            except ValueError as error:
                raise LensError(f"group {group}: {error}") from error
            advantage_B[rows] = advantage_1G.squeeze(0).to(advantage_B.dtype)
    return advantage_B


def _groups(index: Any) -> dict[Any, list[int]]:
    rows: dict[Any, list[int]] = {}
    for row, group in enumerate(index):
        rows.setdefault(group, []).append(row)
    return rows


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
    if batch is None:
        raise LensError("the estimator lens sees no batch: it runs inside verl's compute_advantage and nowhere else")
    for name in _LOGPROBS:
        if name in batch.keys():  # noqa: SIM118  (a TensorDict has no other membership test)
            return batch[name]
    raise LensError(
        f"the batch holds none of {', '.join(_LOGPROBS)}, which LENS takes its confidences from: set "
        "actor_rollout_ref.rollout.calculate_log_probs=True"
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
    plain = ray_trainer.compute_advantage
    lending = lending_the_batch(plain)
    for module in list(sys.modules.values()):  # trainers that were imported before us hold it by name
        if getattr(module, "__dict__", {}).get("compute_advantage") is plain:
            module.__dict__["compute_advantage"] = lending


_register()
