import math

import pytest
import torch

from lens_core.training.group_metrics import group_metrics

NAN = float("nan")


def test_group_metrics_by_hand() -> None:
    reward = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [NAN, 0.0], [NAN, NAN]])
    confidence = torch.tensor([[0.2, 0.4], [0.6, 0.8], [0.5, 0.7], [0.9, 0.6], [0.1, 0.1]])
    advantage = torch.tensor([[-3.0, 0.0], [1.0, -1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    length = torch.tensor([[10, 20], [5, 5], [5, 5], [10, 10], [15, 15]])
    metrics = group_metrics(reward, confidence, advantage, length, success_threshold=0.0)
    # Four groups have a graded answer: two negative, one mixed, one positive.
    assert metrics["groups/negative"] == pytest.approx(0.5)
    assert metrics["groups/mixed"] == pytest.approx(0.25)
    assert metrics["groups/positive"] == pytest.approx(0.25)
    # Negative groups hold 10 + 20 + 10 + 10 of 100 tokens; only the first answer's 10 got an advantage.
    assert metrics["tokens/in_negative_groups"] == pytest.approx(0.5)
    assert metrics["tokens/rescued"] == pytest.approx(0.1)
    assert metrics["confidence/right"] == pytest.approx((0.6 + 0.5 + 0.7) / 3)
    assert metrics["confidence/wrong"] == pytest.approx((0.2 + 0.4 + 0.8 + 0.6) / 4)
    # -log p of an answer is -log c times its tokens.
    surprises = [
        -math.log(c) * t for c, t in zip(confidence.flatten().tolist(), length.flatten().tolist(), strict=True)
    ]
    assert metrics["entropy"] == pytest.approx(sum(surprises) / 100)
    assert metrics["advantage_rms/negative"] == pytest.approx(math.sqrt(9 / 4))
    assert metrics["advantage_rms/mixed"] == pytest.approx(1.0)


def test_group_metrics_count_successes_above_the_threshold() -> None:
    # At 0.5 the first group has no success although it scored 0.4; the ungraded answer keeps no group from all-right.
    reward = torch.tensor([[0.4, 0.0], [0.9, 0.2], [0.8, NAN]])
    confidence = torch.tensor([[0.1, 0.3], [0.5, 0.2], [0.7, 0.9]])
    metrics = group_metrics(reward, confidence, torch.zeros(3, 2), torch.ones(3, 2), success_threshold=0.5)
    shares = [metrics[f"groups/{kind}"] for kind in ("negative", "mixed", "positive")]
    assert shares == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert metrics["confidence/right"] == pytest.approx((0.5 + 0.7) / 2)
    assert metrics["confidence/wrong"] == pytest.approx((0.1 + 0.3 + 0.2) / 3)


def test_group_metrics_are_nan_where_there_is_nothing_to_average() -> None:
    metrics = group_metrics(torch.zeros(1, 2), torch.full((1, 2), 0.5), torch.zeros(1, 2), torch.ones(1, 2), 0.0)
    assert math.isnan(metrics["confidence/right"])
    assert math.isnan(metrics["advantage_rms/mixed"])
    assert metrics["groups/negative"] == 1.0
