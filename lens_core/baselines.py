"""Rival treatments of a group's rewards, one pure function each, so that one harness compares them with LENS.

What each makes of a group without a right answer, and of one without a wrong answer:

    grpo, dapo   0                                     0          (DAPO's sampling drops both: see `informative`)
    dr_grpo      0                                     0
    nsr          -1 for every answer                   positive_weight
    ngrpo        -1 / sqrt(G + 1) for every answer     0
    rl_zvp       -alpha (max_k H_k - H_t)              alpha H_t                            per token
    pass_at_k    0                                     0
    max_rl       0                                     0
    lens         alpha (r~_i - mean r~)                0

Every estimator is called as `estimator(rewards, confidences, entropies, **parameters)` and returns what multiplies the
policy gradient: rewards [P, G], NaN where ungraded (out of every statistic, advantage 0); confidences [P, G] in (0, 1];
entropies [P, G, T] in nats of the distributions that tokens were drawn from, NaN where no token counts, or None for
estimators that are not marked `token_level`. No gradient flows through anything here.

Dimensions: P prompts (groups), G answers in a group, T completion tokens.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from lens_core.objective import LensConfig, advantages, checked, group_mean, normalised

Estimator = Callable[..., Tensor]


def token_level(estimator: Estimator) -> Estimator:
    """Marks an estimator that needs token entropies; the others are called with None, which costs nothing."""
    estimator.needs_entropies = True  # type: ignore[attr-defined]
    return estimator


def needs_entropies(estimator: Estimator) -> bool:
    """Whether `estimator`, or the function that a `functools.partial` of it calls, is marked `token_level`."""
    while isinstance(estimator, partial):
        estimator = estimator.func
    return getattr(estimator, "needs_entropies", False)


@torch.no_grad()
def grpo(rewards: Tensor, confidences: Tensor, entropies: Tensor | None, *, eps: float = 1e-4) -> Tensor:
    """Group-normalised reward: (r_i - mean r) / (std r + eps), std with ddof = 1 (arXiv 2402.03300, sec. 4.1.2).

    Returns:
        [P, G]; 0 in groups whose rewards are equal.
    """
    _require("eps", eps, eps > 0, "> 0")
    values, graded = _rewards(rewards, confidences)
    return _where_comparable(normalised(values, graded, eps), graded)


@torch.no_grad()
def dr_grpo(rewards: Tensor, confidences: Tensor, entropies: Tensor | None) -> Tensor:
    """GRPO done right: r_i - mean r, without the division by std that favours very easy and very hard questions
    (arXiv 2503.20783, sec. 3.2). Its other half, no division by the answer's length, is `loss_type: dr_grpo`.

    Returns:
        [P, G]; 0 in groups whose rewards are equal.
    """
    values, graded = _rewards(rewards, confidences)
    return _where_comparable(normalised(values, graded, None), graded)


@torch.no_grad()
def dapo(rewards: Tensor, confidences: Tensor, entropies: Tensor | None, *, eps: float = 1e-4) -> Tensor:
    """GRPO's advantage (arXiv 2503.14476); what DAPO adds is around it: `informative` groups only
    (`resample_rounds`), a higher upper clip (`clip_high`), a token-level loss (`loss_type: dapo`).
    """
    return grpo(rewards, confidences, entropies, eps=eps)


@torch.no_grad()
def informative(rewards: Tensor) -> Tensor:
    """[P], True where graded rewards differ: the groups that dynamic sampling keeps (arXiv 2503.14476, sec. 3.2)."""
    lowest = rewards.nan_to_num(nan=torch.inf).amin(dim=1)
    highest = rewards.nan_to_num(nan=-torch.inf).amax(dim=1)
    return highest > lowest


@torch.no_grad()
def nsr(
    rewards: Tensor,
    confidences: Tensor,
    entropies: Tensor | None,
    *,
    positive_weight: float = 0.0,
    success_threshold: float = 0.0,
) -> Tensor:
    """Negative sample reinforcement: -1 for a wrong answer, `positive_weight` for a right one, no baseline.

    0 is NSR, 0.1 the paper's W-REINFORCE, 1 plain REINFORCE (arXiv 2506.01347, sec. 3 and 5).

    Returns:
        [P, G]; -1 all over a group without a right answer, since nothing is compared within a group.
    """
    _require("positive_weight", positive_weight, 0 <= positive_weight <= 1, "in [0, 1]")
    values, graded = _rewards(rewards, confidences)
    weight = torch.where(values > success_threshold, torch.full_like(values, positive_weight), -1.0)
    return torch.where(graded, weight, 0.0)


@torch.no_grad()
def ngrpo(
    rewards: Tensor,
    confidences: Tensor,
    entropies: Tensor | None,
    *,
    best_reward: float = 1.0,
    eps: float = 1e-6,
) -> Tensor:
    """Negative-enhanced GRPO: one virtual answer of the best reward joins mean and std (arXiv 2509.18851).

    (r_i - mean(r u {1})) / (std(r u {1}) + eps), which is -1 / sqrt(G + 1) all over a group without a right answer.
    Groups in which all answers have the best reward are filtered: 0.
    """
    _require("best_reward", best_reward, best_reward > 0, "> 0")
    _require("eps", eps, eps > 0, "> 0")
    values, graded = _rewards(rewards, confidences)
    virtual = values.new_full((len(values), 1), best_reward)
    joined = normalised(
        torch.cat([values, virtual], dim=1), torch.cat([graded, torch.ones_like(virtual, dtype=torch.bool)], dim=1), eps
    )
    return _where_comparable(joined[:, :-1], graded)


@token_level
@torch.no_grad()
def rl_zvp(
    rewards: Tensor,
    confidences: Tensor,
    entropies: Tensor | None,
    *,
    alpha: float = 0.1,
    eps: float = 1e-4,
    success_threshold: float = 0.0,
) -> Tensor:
    """RL with zero-variance prompts: GRPO where rewards differ; elsewhere each token by its entropy H_it
    (arXiv 2509.21880).

    All right: alpha H_it, more for the tokens that were uncertain. All wrong: -alpha (max_k H_ik - H_it), least for
    them, so that exploration is not punished.

    Returns:
        [P, G, T]; 0 where no token counts.
    """
    _require("alpha", alpha, alpha >= 0, ">= 0")
    if entropies is None:
        raise ValueError("entropies is None: rl_zvp weighs tokens by the entropy that they were drawn with")
    if entropies.dim() != 3 or entropies.shape[:2] != rewards.shape:
        raise ValueError(f"entropies {tuple(entropies.shape)} must be [P, G, T] for rewards {tuple(rewards.shape)}")
    values, graded = _rewards(rewards, confidences)
    mixed = grpo(rewards, confidences, None, eps=eps).unsqueeze(2)
    right = (values > success_threshold).unsqueeze(2)
    counted = ~entropies.isnan()
    entropy_PGT = entropies.masked_fill(~counted, 0.0).to(values.dtype)
    shaped = alpha * torch.where(right, entropy_PGT, entropy_PGT - entropy_PGT.amax(dim=2, keepdim=True))
    by_token = torch.where(informative(rewards).view(-1, 1, 1), mixed, shaped)
    return torch.where(counted & graded.unsqueeze(2), by_token, 0.0)


@torch.no_grad()
def pass_at_k(
    rewards: Tensor,
    confidences: Tensor,
    entropies: Tensor | None,
    *,
    k: int = 4,
    success_threshold: float = 0.0,
) -> Tensor:
    """Pass@k as the reward: each answer's mean z-score over all groups of k answers that it is part of
    (arXiv 2508.10751, the analytical form).

    With N answers, W of them wrong: R = 1 - C(W, k) / C(N, k), s = sqrt(R (1 - R)); a right answer gets (1 - R) / s, a
    wrong one (1 - R - C(W - 1, k - 1) / C(N - 1, k - 1)) / s. Rewards count as right above `success_threshold`.

    Returns:
        [P, G]; 0 in groups without a right answer, where any k answers hold a right one, or with fewer than k graded.
    """
    _require("k", k, k >= 1, ">= 1")
    values, graded = _rewards(rewards, confidences)
    right = (values > success_threshold) & graded
    answers = graded.sum(dim=1, keepdim=True).double()
    wrong = answers - right.sum(dim=1, keepdim=True)
    all_wrong = _choose_ratio(wrong, answers, k)
    mean, spread = 1 - all_wrong, (all_wrong * (1 - all_wrong)).sqrt()
    others_wrong = _choose_ratio(wrong - 1, answers - 1, k - 1)
    advantage = torch.where(right, 1 - mean, 1 - mean - others_wrong) / spread
    defined = graded & (spread > 0) & (answers >= k)
    return torch.where(defined, advantage, 0.0).to(values.dtype)


@torch.no_grad()
def max_rl(rewards: Tensor, confidences: Tensor, entropies: Tensor | None, *, eps: float = 1e-6) -> Tensor:
    """Divided by the mean instead of the std: (r_i - mean r) / (mean r + eps), the gradient of log Pass@1 as far as
    G answers show it. Rewards must not be negative.

    Returns:
        [P, G]; 0 in groups whose rewards are equal.
    """
    _require("eps", eps, eps > 0, "> 0")
    values, graded = _rewards(rewards, confidences)
    if (values < 0).any():
        raise ValueError("rewards holds a negative value; max_rl divides by their mean and needs rewards >= 0")
    return _where_comparable(normalised(values, graded, None) / (group_mean(values, graded) + eps), graded)


@torch.no_grad()
def lens(
    rewards: Tensor,
    confidences: Tensor,
    entropies: Tensor | None,
    *,
    alpha: float = 0.25,
    margin: float = 2.0,
    scale: float | None = None,
    negative_scale: float | None = None,
    variant: Literal["full", "mixed_only", "negative_only", "off"] = "full",
    difficulty_from: Literal["confidence", "sequence"] = "confidence",
    negative_normalisation: Literal["mean", "mean_std"] = "mean",
    eps: float = 1e-4,
    success_threshold: float = 0.0,
) -> Tensor:
    """LENS (arXiv 2510.08696): `objective.advantages` with a LensConfig of these parameters."""
    config = LensConfig(
        alpha,
        margin,
        scale,
        negative_scale,
        variant,
        difficulty_from,
        negative_normalisation,
        eps,
        success_threshold,
    )
    return advantages(rewards, confidences, config)


ESTIMATORS: dict[str, Estimator] = {
    function.__name__: function for function in (lens, grpo, dr_grpo, dapo, nsr, ngrpo, rl_zvp, pass_at_k, max_rl)
}


def find_estimator(name: str) -> Estimator:
    """An estimator of ESTIMATORS by its name, or a function of one's own as `package.module:function`.

    Raises:
        ValueError: if there is none.
    """
    if name in ESTIMATORS:
        return ESTIMATORS[name]
    module, separator, attribute = name.partition(":")
    if not separator:
        raise ValueError(
            f"{name!r} is no objective; choose from {', '.join(ESTIMATORS)}, or give a function of your own as "
            "package.module:function"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"objective {name!r} cannot be imported: {error}") from error
    if not callable(found):
        raise ValueError(f"objective {name!r} is a {type(found).__name__}, not a function")
    return found


def check_parameters(estimator: Estimator, parameters: Mapping[str, Any]) -> None:
    """Try `estimator` with `parameters` on two small groups, before any work.

    Raises:
        ValueError: naming the parameter that it does not take or refuses, or the shape that it returns.
    """
    accepted = inspect.signature(estimator).parameters.values()
    names = [parameter.name for parameter in accepted if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    any_name = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in accepted)
    unknown = sorted(parameters.keys() - set(names))
    if unknown and not any_name:
        raise ValueError(f"unknown parameters {unknown}; choose from {', '.join(names) if names else 'none'}")
    rewards, confidences = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.5, 0.25], [0.5, 0.25]])
    try:
        result = estimator(rewards, confidences, torch.ones(2, 2, 3), **parameters)
    except TypeError as error:
        raise ValueError(str(error)) from error
    if result.shape not in ((2, 2), (2, 2, 3)):
        raise ValueError(
            f"it returns {tuple(result.shape)} for 2 groups of 2 answers; it must return [P, G] or [P, G, T]"
        )


def _rewards(rewards: Tensor, confidences: Tensor) -> tuple[Tensor, Tensor]:
    """`(rewards with 0 where ungraded, graded)` of any finite rewards."""
    values, _, graded = checked(rewards, confidences, any_range=True)
    return values, graded


def _where_comparable(values: Tensor, graded: Tensor) -> Tensor:
    """`values` of graded answers in groups with at least two of them; 0 elsewhere."""
    return torch.where(graded & (graded.sum(dim=1, keepdim=True) >= 2), values, 0.0)


def _choose_ratio(part: Tensor, whole: Tensor, k: int) -> Tensor:
    """C(part, k) / C(whole, k) as a product of k fractions; 0 where part < k."""
    ratio = torch.ones_like(part)
    for taken in range(k):
        ratio = ratio * (part - taken).clamp(min=0) / (whole - taken).clamp(min=1)
    return ratio


def _require(name: str, value: float, holds: bool, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value}; it must be {allowed}")
