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
estimators that are not marked `token_level`. The result has the rewards' float type, at least float32. Where answers
are compared, groups with fewer than two graded ones get 0. No gradient flows through anything here. A wrong argument or
parameter is a ValueError that names it.

Dimensions: P prompts (groups), G answers in a group, T completion tokens.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from lens_core.lookup import described, did_you_mean, find_function
from lens_core.objective import LensConfig, advantages, checked, group_mean, normalised

Estimator = Callable[..., Tensor]


def token_level(estimator: Estimator) -> Estimator:
    """Marks an estimator that needs token entropies; the others are called with None, which costs nothing."""
    estimator.needs_entropies = True  # type: ignore[attr-defined]
    return estimator


def needs_entropies(estimator: Estimator) -> bool:
    """Whether `estimator`, or the function that a `functools.partial` of it calls, is marked `token_level`."""
    if getattr(estimator, "needs_entropies", False):
        return True
    return isinstance(estimator, partial) and needs_entropies(estimator.func)


@torch.no_grad()
def grpo(rewards: Tensor, confidences: Tensor, entropies: Tensor | None, *, eps: float = 1e-4) -> Tensor:
    """Group-normalised reward: (r_i - mean r) / (std r + eps), std with ddof = 1 (arXiv 2402.03300, sec. 4.1.2).

    Returns:
        [P, G]; 0 all over groups whose rewards are equal, all wrong or all right.
    """
    _require_positive("eps", eps)
    values, graded = _rewards(rewards, confidences)
    return torch.where(_comparable(graded), normalised(values, graded, eps), 0.0)


@torch.no_grad()
def dr_grpo(rewards: Tensor, confidences: Tensor, entropies: Tensor | None) -> Tensor:
    """GRPO done right: r_i - mean r, without the division by std that favours very easy and very hard questions
    (arXiv 2503.20783, sec. 3.2). Its other half, no division by the answer's length, is `loss_type: dr_grpo`.

    Returns:
        [P, G]; 0 all over groups whose rewards are equal, all wrong or all right.
    """
    values, graded = _rewards(rewards, confidences)
    return torch.where(_comparable(graded), normalised(values, graded, None), 0.0)


@torch.no_grad()
def dapo(rewards: Tensor, confidences: Tensor, entropies: Tensor | None, *, eps: float = 1e-4) -> Tensor:
    """GRPO's advantage (arXiv 2503.14476); what DAPO adds is around it: `informative` groups only
    (`resample_rounds`), a higher upper clip (`clip_high`), a token-level loss (`loss_type: dapo`).

    Returns:
        [P, G]; 0 all over groups whose rewards are equal, all wrong or all right.
    """
    return grpo(rewards, confidences, entropies, eps=eps)


@torch.no_grad()
def informative(rewards: Tensor) -> Tensor:
    """[P], True where graded rewards differ: the groups that dynamic sampling keeps (arXiv 2503.14476, sec. 3.2)."""
    lowest = rewards.nan_to_num(nan=torch.inf).amin(dim=1)
    highest = rewards.nan_to_num(nan=-torch.inf).amax(dim=1)
    return highest > lowest


@torch.no_grad()
def not_all_right(rewards: Tensor, success_threshold: float = 0.0) -> Tensor:
    """[P], True where a graded reward is not above `success_threshold`: the groups that NGRPO's authors keep."""
    return (rewards <= success_threshold).any(dim=1)


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

    0 is NSR, 0.1 the paper's W-REINFORCE, 1 plain REINFORCE (arXiv 2506.01347, sec. 2.2 and 5). Rewards count as right
    above `success_threshold`.

    Returns:
        [P, G]; -1 all over an all-wrong group, `positive_weight` all over an all-right one. Nothing is compared within
        a group, so that one graded answer is enough.
    """
    _require("positive_weight", positive_weight, lambda weight: 0 <= weight <= 1, "in [0, 1]")
    right, graded = _successes(rewards, confidences, success_threshold)
    weight = rewards.new_full(rewards.shape, -1.0, dtype=_result_type(rewards)).masked_fill(right, positive_weight)
    return weight.masked_fill(~graded, 0.0)


@torch.no_grad()
def ngrpo(
    rewards: Tensor,
    confidences: Tensor,
    entropies: Tensor | None,
    *,
    best_reward: float = 1.0,
    eps: float = 1e-6,
) -> Tensor:
    """Negative-enhanced GRPO: one virtual answer of the best possible reward joins mean and std (arXiv 2509.18851).

    (r_i - mean(r u {best})) / (std(r u {best}) + eps), std with ddof = 1. A group that exceeds `best_reward` shows that
    more is possible: its own maximum is then the virtual answer's.

    Returns:
        [P, G]; -1 / sqrt(G + 1) all over an all-wrong group. Groups in which every answer has the best reward are
        filtered by the paper: 0.
    """
    _require_positive("best_reward", best_reward)
    _require_positive("eps", eps)
    values, graded = _rewards(rewards, confidences)
    virtual = values.masked_fill(~graded, best_reward).amax(dim=1, keepdim=True).clamp(min=best_reward)
    joined = torch.cat([values, virtual], dim=1)
    counted = torch.cat([graded, torch.ones_like(virtual, dtype=torch.bool)], dim=1)
    return torch.where(_comparable(graded), normalised(joined, counted, eps)[:, :-1], 0.0)


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
    (arXiv 2509.21880, eq. 5).

    All right: alpha H_it, more for the tokens that were uncertain. All wrong: -alpha (max_k H_ik - H_it), least for
    them, so that exploration is not punished. Equal rewards count as right above `success_threshold`.

    Returns:
        [P, G, T]; 0 where no token counts.
    """
    _require("alpha", alpha, lambda value: value >= 0, ">= 0")
    mixed = grpo(rewards, confidences, None, eps=eps).unsqueeze(2)
    right, graded = _successes(rewards, confidences, success_threshold)
    entropy_PGT, counted = _entropies(entropies, mixed)
    sure_PGT = entropy_PGT - entropy_PGT.amax(dim=2, keepdim=True)
    shaped = alpha * torch.where(right.unsqueeze(2), entropy_PGT, sure_PGT)
    by_token = torch.where(informative(rewards).view(-1, 1, 1), mixed, shaped)
    return torch.where(counted & _comparable(graded).unsqueeze(2), by_token, 0.0)


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
    (arXiv 2508.10751, sec. 2.4, eq. 11 to 15).

    With N answers, W of them wrong: R = 1 - C(W, k) / C(N, k), s = sqrt(R (1 - R)); a right answer gets (1 - R) / s, a
    wrong one (1 - R - C(W - 1, k - 1) / C(N - 1, k - 1)) / s. Only right or wrong matters: real-valued rewards count as
    right above `success_threshold`.

    Returns:
        [P, G]; 0 all over an all-wrong or all-right group, as over every other one where s = 0 (any k answers hold a
        right one) and over those with fewer than k graded answers.
    """
    _require("k", k, lambda value: isinstance(value, Integral) and value >= 1, "a whole number >= 1")
    right, graded = _successes(rewards, confidences, success_threshold)
    answers = graded.sum(dim=1, keepdim=True).double()
    wrong = answers - right.sum(dim=1, keepdim=True)
    all_wrong = _choose_ratio(wrong, answers, k)  # 1 - R, without the rounding of 1 - (1 - x)
    spread = (all_wrong * (1 - all_wrong)).sqrt()
    others_wrong = _choose_ratio(wrong - 1, answers - 1, k - 1)
    advantage = torch.where(right, all_wrong, all_wrong - others_wrong) / spread
    defined = _comparable(graded) & (spread > 0) & (answers >= k)
    return torch.where(defined, advantage, 0.0).to(_result_type(rewards))


@torch.no_grad()
def max_rl(rewards: Tensor, confidences: Tensor, entropies: Tensor | None, *, eps: float = 1e-6) -> Tensor:
    """Maximum-likelihood RL: (r_i - mean r) / (mean r + eps), the gradient of log Pass@1 as far as G answers show it
    (arXiv 2602.02710; eps as in the authors' code).

    Returns:
        [P, G]; 0 all over groups whose rewards are equal, all wrong or all right.

    Raises:
        ValueError: if a reward is negative, since their mean divides.
    """
    _require_positive("eps", eps)
    values, graded = _rewards(rewards, confidences)
    if (values < 0).any():
        raise ValueError("rewards holds a negative value; max_rl divides by their mean and needs rewards >= 0")
    relative = normalised(values, graded, None) / (group_mean(values, graded) + eps)
    return torch.where(_comparable(graded), relative, 0.0)


def _with_fields_of(config: type) -> Callable[[Estimator], Estimator]:
    """Shows the fields of a dataclass as keyword parameters, with their defaults, in place of `**parameters`."""

    def show(estimator: Estimator) -> Estimator:
        own = inspect.signature(estimator)
        inputs = [each for each in own.parameters.values() if each.kind is not each.VAR_KEYWORD]
        fields = [each.replace(kind=each.KEYWORD_ONLY) for each in inspect.signature(config).parameters.values()]
        estimator.__signature__ = own.replace(parameters=[*inputs, *fields])  # type: ignore[attr-defined]
        return estimator

    return show


@_with_fields_of(LensConfig)
@torch.no_grad()
def lens(rewards: Tensor, confidences: Tensor, entropies: Tensor | None, **parameters: Any) -> Tensor:
    """LENS (arXiv 2510.08696): `objective.advantages` with `LensConfig(**parameters)`.

    Returns:
        [P, G]; alpha (r~_i - mean r~) in an all-wrong group, 0 in an all-right one.
    """
    return advantages(rewards.to(_result_type(rewards)), confidences, LensConfig(**parameters))


ESTIMATORS: dict[str, Estimator] = {
    function.__name__: function for function in (lens, grpo, dr_grpo, dapo, nsr, ngrpo, rl_zvp, pass_at_k, max_rl)
}


def find_estimator(name: str) -> Estimator:
    """An estimator of ESTIMATORS by its name, or a function of one's own as `package.module:function`.

    Raises:
        ValueError: if there is none, on one line.
    """
    if name in ESTIMATORS:
        return ESTIMATORS[name]
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise ValueError(
            f"{name!r} is no objective; choose from {', '.join(ESTIMATORS)}, or give a function of your own as "
            f"package.module:function{did_you_mean(name, ESTIMATORS)}"
        )
    return find_function(name, "objective")


def check_parameters(estimator: Estimator, parameters: Mapping[str, Any]) -> None:
    """Try `estimator` with `parameters` on a mixed and an all-wrong group, as a training calls it, before any work.

    Raises:
        ValueError: naming the parameter that it does not take or refuses, or what is wrong with the result.
    """
    _refuse_unknown(estimator, parameters)
    if estimator in ESTIMATORS.values():
        _refuse_no_numbers(estimator, parameters)
    rewards = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    entropies = torch.tensor([[[0.5, 1.0, 0.25], [2.0, 0.5, torch.nan]]] * 2) if needs_entropies(estimator) else None
    try:
        result = estimator(rewards, torch.tensor([[0.5, 0.25]] * 2), entropies, **parameters)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"with {dict(parameters)} the objective fails: {described(error)}") from error
    if not isinstance(result, Tensor):
        raise ValueError(f"it returns a {type(result).__name__}; it must return a tensor [P, G] or [P, G, T]")
    if result.shape != (2, 2) and (entropies is None or result.shape != entropies.shape):
        raise ValueError(
            f"it returns {tuple(result.shape)} for 2 groups of 2 answers; it must return [P, G], or with `token_level` "
            "[P, G, T]"
        )
    if not result.isfinite().all():
        raise ValueError("it returns NaN or infinite values; padded tokens (entropy NaN) and equal rewards must give 0")


def parameters_of(estimator: Estimator) -> dict[str, Any]:
    """Parameter of `estimator`, its three inputs left out -> default (`inspect.Parameter.empty`: it has none)."""
    accepted = enumerate(inspect.signature(estimator).parameters.values())
    return {
        each.name: each.default
        for place, each in accepted
        if each.kind is each.KEYWORD_ONLY or (place >= 3 and each.kind is each.POSITIONAL_OR_KEYWORD)
    }


def _refuse_unknown(estimator: Estimator, parameters: Mapping[str, Any]) -> None:
    names = parameters_of(estimator)
    takes_any = any(each.kind is each.VAR_KEYWORD for each in inspect.signature(estimator).parameters.values())
    unknown = sorted(parameters.keys() - names)
    if unknown and not takes_any:
        near = did_you_mean(unknown[0], names)
        raise ValueError(f"unknown parameters {unknown}; choose from {', '.join(names) if names else 'none'}{near}")


def _refuse_no_numbers(estimator: Estimator, parameters: Mapping[str, Any]) -> None:
    """Python counts True as 1, and some formulas swallow an infinity; a function of your own may know what to do."""
    defaults = parameters_of(estimator)
    for name, value in parameters.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
        if isinstance(value, bool | int | float) and not is_number and not isinstance(defaults[name], bool):
            raise ValueError(f"{name} is {value}; it must be a finite number")


def _result_type(rewards: Tensor) -> torch.dtype:
    return torch.promote_types(rewards.dtype, torch.float32)


def _rewards(rewards: Tensor, confidences: Tensor) -> tuple[Tensor, Tensor]:
    """`(rewards with 0 where ungraded, graded)` of any finite rewards."""
    values, _, graded = checked(rewards, confidences, any_range=True)
    return values.to(_result_type(rewards)), graded


def _successes(rewards: Tensor, confidences: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """`(graded and above the threshold, graded)`."""
    _require("success_threshold", threshold, lambda _: True, "a finite number")
    values, graded = _rewards(rewards, confidences)
    return (values > threshold) & graded, graded


def _entropies(entropies: Tensor | None, answers: Tensor) -> tuple[Tensor, Tensor]:
    """`(entropies with 0 where no token counts, where one counts)`, for `answers` [P, G, 1] and in their type."""
    if entropies is None:
        raise ValueError("entropies is None; rl_zvp weighs tokens by the entropy that they were drawn with")
    if entropies.dim() != 3 or entropies.shape[:2] != answers.shape[:2]:
        raise ValueError(f"entropies {tuple(entropies.shape)} must be [P, G, T] for rewards {tuple(answers.shape[:2])}")
    if entropies.isinf().any():
        raise ValueError("entropies holds an infinite value; use NaN where no token counts")
    counted = ~entropies.isnan()
    return entropies.masked_fill(~counted, 0.0).to(answers.dtype), counted


def _comparable(graded: Tensor) -> Tensor:
    """[P, G], True for graded answers in groups with at least two of them."""
    return graded & (graded.sum(dim=1, keepdim=True) >= 2)


def _choose_ratio(part: Tensor, whole: Tensor, k: int) -> Tensor:
    """C(part, k) / C(whole, k) as a product of k fractions; 0 where part < k."""
    ratio = torch.ones_like(part)
    for taken in range(k):
        ratio = ratio * (part - taken).clamp(min=0) / (whole - taken).clamp(min=1)
    return ratio


def _require_positive(name: str, value: float) -> None:
    _require(name, value, lambda number: number > 0, "> 0")


def _require(name: str, value: float, holds: Callable[[float], bool], allowed: str) -> None:
    """Refuses what is no finite number (YAML reads 1e-6 as a text, and yes as a truth) and what does not hold."""
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not (number and holds(value)):
        raise ValueError(f"{name} is {value!r}; it must be {allowed}")
