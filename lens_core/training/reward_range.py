"""Rewards of another range than [0, 1], which LENS is defined for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from lens_core.errors import LensError, first_line


def scaled(rewards: Tensor, reward_range: tuple[float, float] | None) -> Tensor:
    """Rewards in `reward_range` as rewards in [0, 1]; NaN, where nothing could be graded, stays.

    Args:
        reward_range: None: leave them as they are.

    Raises:
        LensError: if one lies outside.
    """
    if reward_range is None:
        return rewards
    lowest, highest = reward_range
    graded = rewards[~rewards.isnan()]
    outside = graded[(graded < lowest) | (graded > highest)]
    if len(outside):
        raise LensError(
            f"a completion got the reward {outside[0]:g}, outside reward_range=({lowest:g}, {highest:g}): widen it to "
            "all that the reward functions can add up to"
        )
    return (rewards - lowest) / (highest - lowest)


@contextmanager
def told_how_to_scale(rewards: Tensor) -> Iterator[None]:
    """An objective inside the block that refuses `rewards` for their range says what to do about it."""
    try:
        yield
    except ValueError as error:
        graded = rewards[~rewards.isnan()]
        if ((graded >= 0) & (graded <= 1)).all():
            raise
        raise LensError(
            f"{first_line(error)}; these go from {graded.min():g} to {graded.max():g}: give LensTrainer "
            "reward_range=(lowest, highest) of all that the reward functions can add up to"
        ) from error
