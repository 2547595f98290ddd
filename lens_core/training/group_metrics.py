"""What a training step logs about its groups. Dimensions: P prompts (groups), G answers in a group."""

from __future__ import annotations

from torch import Tensor


def group_metrics(
    reward_PG: Tensor, confidence_PG: Tensor, advantage_PG: Tensor, length_PG: Tensor, success_threshold: float
) -> dict[str, float]:
    """Shares, confidences and advantage norms by kind of group; NaN where there is nothing to average.

    `entropy` is the mean of -log p over all tokens drawn, an unbiased estimate of the policy's entropy in nats a token.

    Args:
        reward_PG: NaN where ungraded; an answer is right when its reward exceeds `success_threshold`.
        confidence_PG: in (0, 1].
        advantage_PG: what multiplies the policy gradient.
        length_PG: counted tokens of each answer.
    """
    graded = ~reward_PG.isnan()
    right = graded & (reward_PG > success_threshold)
    some_graded = graded.any(dim=1)
    kinds = {
        "negative": some_graded & ~right.any(dim=1),
        "positive": some_graded & (right == graded).all(dim=1),
    }
    kinds["mixed"] = some_graded & ~kinds["negative"] & ~kinds["positive"]
    metrics = {f"groups/{kind}": _share(members, some_graded) for kind, members in kinds.items()}
    for kind, members in kinds.items():
        squares = advantage_PG[members].square()
        metrics[f"advantage_rms/{kind}"] = squares.mean().sqrt().item()
    rescued = length_PG[kinds["negative"]][advantage_PG[kinds["negative"]] != 0].sum()
    metrics["tokens/in_negative_groups"] = (length_PG[kinds["negative"]].sum() / length_PG.sum()).item()
    metrics["tokens/rescued"] = (rescued / length_PG.sum()).item()
    drawn = ~confidence_PG.isnan()
    surprise = -(confidence_PG.log() * length_PG)[drawn].sum()  # of all tokens together
    metrics["entropy"] = (surprise / length_PG[drawn].sum()).item()
    metrics["confidence/right"] = confidence_PG[right].mean().item()
    metrics["confidence/wrong"] = confidence_PG[graded & ~right].mean().item()
    return metrics


def _share(part: Tensor, whole: Tensor) -> float:
    return (part.sum() / whole.sum()).item()
