"""LENS: group-relative advantages that also learn from groups without a right answer (arXiv 2510.08696).

The whole method, in the order of its use:

    confidence            c_i  = exp(mean_t log pi_old(o_it))                     how sure the policy was (sec. 5.1)
    difficulty            D    = max(D_imp, m max_j c_j), D_imp = 1 / mean_i(r_i / c_i)          eq. 14
    calibrated_rewards    r~_i = r_i - (1 - r_i) s c_i / (D - c_i)                               eq. 9, 10
    advantages            mixed group: z-score of r~; negative group: alpha (r~ - mean r~); else 0

Dimensions: P prompts (groups), G answers in a group, B = P * G rows, T completion tokens.

A reward of NaN means *ungraded*: that answer leaves every mean, maximum, std and the G of its group, and its advantage
is 0. No gradient flows through anything here; what is returned multiplies the policy gradient. Every function takes
tensors or NumPy arrays and returns what it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Tensor])


def _arrays_too(function: F) -> F:
    """NumPy arrays (or nested lists) in, NumPy array out; tensors in, tensor out. No gradient flows."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            if isinstance(args[0], Tensor):
                return function(*args, **kwargs)
            first, second, *rest = args
            return function(torch.as_tensor(first), torch.as_tensor(second), *rest, **kwargs).numpy()

    return call  # type: ignore[return-value]


@dataclass(frozen=True)
class LensConfig:
    """What the paper fixes or leaves open; the defaults are its literal reading.

    Raises:
        ValueError: naming the field, if a value is outside its range.
    """

    alpha: float = 0.25
    """Weight of negative groups, >= 0."""
    margin: float = 2.0
    """m in D = m max_j c_j, > 1: at 2, every c / (D - c) lies in (0, 1]."""
    scale: float | None = None
    """s in eq. 10, >= 0; None: 1 / G, which keeps every right answer above every wrong one."""
    negative_scale: float | None = None
    """s inside negative groups; None: the same as `scale`."""
    variant: Literal["full", "mixed_only", "negative_only", "off"] = "full"
    """`mixed_only`: negative groups get 0; `negative_only`: mixed groups use GRPO; `off`: GRPO."""
    difficulty_from: Literal["confidence", "sequence"] = "confidence"
    """The probability in D_imp. Raw sequence probabilities always fall below the floor m max_j c_j, so that
    `sequence` leaves D = m max_j c_j everywhere."""
    negative_normalisation: Literal["mean", "mean_std"] = "mean"
    """What negative groups are normalised by, before alpha; the paper only takes off the mean."""
    eps: float = 1e-4
    """Added to the std, as in TRL."""
    success_threshold: float = 0.0
    """A group is negative when no reward exceeds this (rewards may be real numbers in [0, 1])."""

    def __post_init__(self) -> None:
        at_least_zero = {"alpha": self.alpha, "scale": self.scale, "negative_scale": self.negative_scale}
        for name, value in at_least_zero.items():
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name} is {value}; it must be a finite number >= 0")
        if not 1 < self.margin < float("inf"):
            raise ValueError(f"margin is {self.margin}; it must be a finite number > 1, or D - c could reach 0")
        if not 0 < self.eps < float("inf"):
            raise ValueError(f"eps is {self.eps}; it must be a finite number > 0")
        if not 0 <= self.success_threshold < 1:
            raise ValueError(f"success_threshold is {self.success_threshold}; it must lie in [0, 1)")
        for name, kind in get_type_hints(type(self)).items():
            if get_origin(kind) is Literal and getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(get_args(kind))}")


@_arrays_too
def confidence(token_logprobs: Tensor, mask: Tensor) -> Tensor:
    """Length-normalised probability of each answer: exp of its mean token log-probability (sec. 5.1).

    Args:
        token_logprobs: [B, T], log pi_old of each completion token, from the policy that sampled it.
        mask: [B, T], non-zero where a token counts (EOS included; padding and masked tokens excluded).

    Returns:
        [B] in (0, 1]; NaN for a row in which no token counts.
    """
    if token_logprobs.shape != mask.shape or token_logprobs.dim() != 2:
        raise ValueError(
            f"token_logprobs {tuple(token_logprobs.shape)} and mask {tuple(mask.shape)} must share one shape [B, T]"
        )
    counted = mask.bool()
    logprobs = token_logprobs if token_logprobs.dtype == torch.float64 else token_logprobs.float()
    mean = logprobs.masked_fill(~counted, 0.0).sum(dim=1) / counted.sum(dim=1)
    # Rounding may lift a sure token's log-probability above 0; underflow may take exp to 0.
    return mean.exp().clamp(min=torch.finfo(mean.dtype).tiny, max=1.0)


@_arrays_too
def difficulty(rewards: Tensor, confidences: Tensor, config: LensConfig) -> Tensor:
    """Difficulty D of each group (eq. 14 with its floor): D(q) = (sum_o p*(q, o))^-1, estimated from the group.

    Args:
        rewards: [P, G] in [0, 1], NaN where ungraded.
        confidences: [P, G] in (0, 1].

    Returns:
        [P]; NaN for a group in which nothing was graded.
    """
    rewards, confidences, graded = checked(rewards, confidences)
    floor = config.margin * confidences.masked_fill(~graded, 0.0).amax(dim=1)
    nothing = graded.sum(dim=1) == 0
    if config.difficulty_from == "sequence":
        return floor.masked_fill(nothing, torch.nan)
    importance = group_mean(rewards / confidences, graded).squeeze(1)
    succeeded = ~_negative(rewards, graded, config)
    estimate = torch.where(succeeded, importance, torch.inf).reciprocal()  # 1 / inf: no estimate without a success
    return torch.maximum(estimate, floor).masked_fill(nothing, torch.nan)


@_arrays_too
def calibrated_rewards(rewards: Tensor, confidences: Tensor, config: LensConfig) -> Tensor:
    """The reward that maximum likelihood asks for: r~ = r - (1 - r) s c / (D - c) (eq. 9, 10).

    Args:
        rewards: [P, G] in [0, 1], NaN where ungraded.
        confidences: [P, G] in (0, 1].

    Returns:
        [P, G]: exactly 1 for right answers, in [-s / (margin - 1), 0] for wrong ones, NaN for ungraded ones.
    """
    difficulties = difficulty(rewards, confidences, config).unsqueeze(1)
    rewards, confidences, graded = checked(rewards, confidences)
    scale = _scale(graded, _negative(rewards, graded, config), config).to(rewards.dtype)
    penalty = scale * confidences / (difficulties - confidences)
    return (rewards - (1 - rewards) * penalty).masked_fill(~graded, torch.nan)


@_arrays_too
def advantages(rewards: Tensor, confidences: Tensor, config: LensConfig) -> Tensor:
    """LENS advantages of each group's answers; with `variant="off"`, or alpha = scale = 0, those of GRPO.

    Args:
        rewards: [P, G] in [0, 1] (any finite number with `variant="off"`), NaN where ungraded.
        confidences: [P, G] in (0, 1], of the policy that sampled the answers; ignored where the reward is NaN.

    Returns:
        [P, G]; 0 for ungraded answers, for groups with fewer than two graded answers, and for all-right groups.

    Raises:
        ValueError: naming the argument, for wrong shapes, G < 2, infinite values, confidences outside (0, 1].
    """
    plain, confidence_PG, graded = checked(rewards, confidences, any_range=config.variant == "off")
    negative = _negative(plain, graded, config).unsqueeze(1)
    grpo = normalised(plain, graded, config.eps)
    if config.variant == "off":
        result = grpo
    else:
        calibrated = calibrated_rewards(plain.masked_fill(~graded, torch.nan), confidence_PG, config)
        mixed_part = grpo if config.variant == "negative_only" else normalised(calibrated, graded, config.eps)
        negative_part = torch.zeros_like(grpo)
        if config.variant != "mixed_only":
            std_too = config.negative_normalisation == "mean_std"
            negative_part = config.alpha * normalised(calibrated, graded, config.eps if std_too else None)
        result = torch.where(negative, negative_part, mixed_part)
    enough = graded & (graded.sum(dim=1, keepdim=True) >= 2)
    return torch.where(enough, result, 0.0).to(rewards.dtype if rewards.is_floating_point() else result.dtype)


def _negative(rewards: Tensor, graded: Tensor, config: LensConfig) -> Tensor:
    """[P], True where no graded answer succeeded."""
    return ~((rewards > config.success_threshold) & graded).any(dim=1)


def _scale(graded: Tensor, negative: Tensor, config: LensConfig) -> Tensor:
    """[P, 1], s of each group; G is the number of its graded answers."""
    default = graded.sum(dim=1).clamp(min=1).double().reciprocal()
    scale = default if config.scale is None else torch.full_like(default, config.scale)
    if config.negative_scale is not None:
        scale = torch.where(negative, config.negative_scale, scale)
    return scale.unsqueeze(1)


def group_mean(values: Tensor, graded: Tensor) -> Tensor:
    """[P, 1], mean over graded answers."""
    return torch.where(graded, values, 0.0).sum(dim=1, keepdim=True) / graded.sum(dim=1, keepdim=True).clamp(min=1)


def normalised(values: Tensor, graded: Tensor, eps: float | None) -> Tensor:
    """De-meaned over graded answers and, unless `eps` is None, divided by std (ddof = 1) + eps."""
    # Measured from the group's own maximum, equal values give exactly 0 whatever their sum rounds to.
    offset = values - torch.where(graded, values, -torch.inf).amax(dim=1, keepdim=True)
    centred = offset - group_mean(offset, graded)
    if eps is None:
        return centred
    squares = torch.where(graded, centred.square(), 0.0).sum(dim=1, keepdim=True)
    std = (squares / (graded.sum(dim=1, keepdim=True) - 1).clamp(min=1)).sqrt()
    return centred / (std + eps)


def checked(rewards: Tensor, confidences: Tensor, any_range: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Validated `(rewards, confidences, graded)`, ungraded entries replaced by neutral numbers, at least float32."""
    if rewards.dim() != 2 or rewards.shape != confidences.shape:
        raise ValueError(
            f"rewards {tuple(rewards.shape)} and confidences {tuple(confidences.shape)} must share one shape [P, G]"
        )
    if rewards.shape[1] < 2:
        raise ValueError(f"rewards has G = {rewards.shape[1]} answers a group; a group needs at least 2")
    dtype = torch.promote_types(torch.promote_types(rewards.dtype, confidences.dtype), torch.float32)
    rewards, confidences = rewards.to(dtype), confidences.to(dtype)
    graded = ~rewards.isnan()
    if rewards.isinf().any():
        raise ValueError("rewards holds an infinite value; use NaN for an answer that could not be graded")
    rewards = torch.where(graded, rewards, 0.0)
    confidences = torch.where(graded, confidences, 1.0)
    if not ((confidences > 0) & (confidences <= 1)).all():
        raise ValueError("confidences must lie in (0, 1]; pass exp(mean log-probability), not log-probabilities")
    if not any_range and not ((rewards >= 0) & (rewards <= 1)).all():
        raise ValueError("rewards must lie in [0, 1]; rescale them, or use variant='off' (GRPO)")
    return rewards, confidences, graded
