"""The objective's numbers, derived by hand in the comments."""

import math
from collections.abc import Callable
from typing import Literal

import numpy
import pytest
import torch

from lens_core.objective import LensConfig, advantages, calibrated_rewards, confidence, difficulty

NAN = float("nan")


def rows(*values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_confidence_is_the_geometric_mean_of_counted_tokens() -> None:
    # Row 1: sqrt(0.5 * 0.125) = 0.25; row 2: only the first token counts.
    logprobs = rows([0.5, 0.125], [0.3, 0.9]).log()
    mask = torch.tensor([[1, 1], [1, 0]])
    assert confidence(logprobs, mask).tolist() == pytest.approx([0.25, 0.3])


def test_confidence_of_a_row_without_counted_tokens_is_nan() -> None:
    assert confidence(torch.zeros(1, 3), torch.zeros(1, 3)).isnan().all()


def test_confidence_stays_in_its_range_under_rounding_and_underflow() -> None:
    values = confidence(torch.tensor([[1e-6], [-1e4]]), torch.ones(2, 1))
    assert values[0] == 1.0
    assert values[1] > 0


def test_confidence_masks_out_minus_infinity() -> None:
    assert confidence(torch.tensor([[0.0, -torch.inf]]), torch.tensor([[1, 0]])).item() == 1.0


def test_confidence_of_half_precision_is_computed_in_single() -> None:
    # bfloat16 rounds -0.1 to -0.10009765625; exp of that mean, to float32's precision and not to bfloat16's 1/256.
    values = confidence(torch.full((1, 300), -0.1, dtype=torch.bfloat16), torch.ones(1, 300))
    assert values.dtype == torch.float32
    assert values.item() == pytest.approx(math.exp(-0.10009765625), abs=1e-6)


def test_difficulty_of_a_negative_group_is_the_floor() -> None:
    # m max c = 2 * 0.6
    assert difficulty(rows([0, 0]), rows([0.6, 0.2]), LensConfig()).item() == pytest.approx(1.2)


def test_difficulty_of_a_mixed_group_is_estimated_where_it_exceeds_the_floor() -> None:
    # D_imp = 1 / mean(1 / 0.5, 0, 0, 0) = 2; floor = 2 * 0.5 = 1.
    assert difficulty(rows([1, 0, 0, 0]), rows([0.5, 0.1, 0.1, 0.1]), LensConfig()).item() == pytest.approx(2.0)


def test_difficulty_from_sequence_probabilities_is_always_the_floor() -> None:
    config = LensConfig(difficulty_from="sequence")
    assert difficulty(rows([1, 0, 0, 0]), rows([0.5, 0.1, 0.1, 0.1]), config).item() == pytest.approx(1.0)


@pytest.mark.parametrize("source", ["confidence", "sequence"])
def test_difficulty_of_a_group_without_a_grade_is_nan(source: Literal["confidence", "sequence"]) -> None:
    # The ungraded 0.9 of the second group stays out of its floor: 2 * 0.3.
    rewards, confidences = rows([NAN, NAN], [NAN, 0]), rows([0.6, 0.2], [0.9, 0.3])
    got = difficulty(rewards, confidences, LensConfig(difficulty_from=source)).tolist()
    assert got == pytest.approx([NAN, 0.6], nan_ok=True)


def test_calibrated_rewards_of_ungraded_answers_are_nan() -> None:
    # Two graded answers: s = 1/2, D = 1.2; -0.5 * 0.6 / 0.6 = -0.5 and -0.5 * 0.2 / 1.0 = -0.1.
    got = calibrated_rewards(rows([0, NAN, 0]), rows([0.6, 0.9, 0.2]), LensConfig())[0].tolist()
    assert got == pytest.approx([-0.5, NAN, -0.1], nan_ok=True)


def test_calibrated_rewards_of_a_negative_group() -> None:
    # D = 1.2, s = 1/2: -0.5 * 0.6 / 0.6 = -0.5 and -0.5 * 0.2 / 1.0 = -0.1.
    assert calibrated_rewards(rows([0, 0]), rows([0.6, 0.2]), LensConfig())[0].tolist() == pytest.approx([-0.5, -0.1])


def test_calibrated_rewards_of_a_mixed_group() -> None:
    # D = max(1 / mean(1/0.5, 0), 2 * 0.5) = 1, s = 1/2: -0.5 * 0.25 / 0.75 = -1/6.
    assert calibrated_rewards(rows([1, 0]), rows([0.5, 0.25]), LensConfig())[0].tolist() == pytest.approx([1, -1 / 6])


def test_calibrated_rewards_of_partial_success() -> None:
    # r = 0.5: D_imp = 1 / mean(0.5/0.5, 0) = 2 = D; s = 1/2: 0.5 - 0.5 * 0.5 * 0.5 / 1.5 = 5/12; other: -0.5 * 0.5/1.5.
    got = calibrated_rewards(rows([0.5, 0]), rows([0.5, 0.5]), LensConfig())[0].tolist()
    assert got == pytest.approx([5 / 12, -1 / 6])


def test_advantages_of_a_negative_group_are_demeaned_and_weighted() -> None:
    # r~ = -0.5, -0.1; mean -0.3; times 0.25.
    assert advantages(rows([0, 0]), rows([0.6, 0.2]), LensConfig())[0].tolist() == pytest.approx([-0.05, 0.05])


def test_advantages_of_a_negative_group_may_be_divided_by_their_std() -> None:
    # Two values have z-scores -1/sqrt(2), 1/sqrt(2) with ddof = 1; eps is negligible here.
    config = LensConfig(negative_normalisation="mean_std", eps=1e-12)
    got = advantages(rows([0, 0]), rows([0.6, 0.2]), config)[0].tolist()
    assert got == pytest.approx([-0.25 / 2**0.5, 0.25 / 2**0.5])


def test_advantages_of_a_mixed_group_are_z_scores_of_calibrated_rewards() -> None:
    # r~ = 1, 0 (c ~ 0), -1/6 as D = max(1/mean(1/0.5, 0, 0) = 1.5, 1) -> third: -(1/3) 0.5 / 1 = -1/6.
    got = advantages(rows([1, 0, 0]), rows([0.5, 1e-12, 0.5]), LensConfig(eps=1e-12))[0]
    values = torch.tensor([1, 0, -1 / 6], dtype=torch.float64)
    assert got.tolist() == pytest.approx(((values - values.mean()) / values.std()).tolist())


def test_advantages_without_lens_are_grpo() -> None:
    # mean 0.25, std (ddof 1) 0.5: 0.75 / 0.5001 and -0.25 / 0.5001.
    got = advantages(rows([1, 0, 0, 0]), rows([0.5] * 4), LensConfig(variant="off"))[0].tolist()
    assert got == pytest.approx([0.75 / 0.5001] + [-0.25 / 0.5001] * 3)


def test_grpo_takes_rewards_of_any_range() -> None:
    # mean 1, std (ddof 1) sqrt(8): +-2 / sqrt(8) = +-1/sqrt(2); eps is negligible here.
    got = advantages(rows([3, -1]), rows([0.5, 0.5]), LensConfig(variant="off", eps=1e-12))[0].tolist()
    assert got == pytest.approx([0.5**0.5, -(0.5**0.5)])


def test_variants_switch_off_one_half_each() -> None:
    rewards, confidences = rows([0, 0, 0], [1, 0, 0]), rows([0.6, 0.2, 0.4], [0.6, 0.2, 0.4])
    full = advantages(rewards, confidences, LensConfig())
    grpo = advantages(rewards, confidences, LensConfig(variant="off"))
    mixed_only = advantages(rewards, confidences, LensConfig(variant="mixed_only"))
    negative_only = advantages(rewards, confidences, LensConfig(variant="negative_only"))
    assert torch.equal(mixed_only, torch.stack([grpo[0], full[1]]))
    assert torch.equal(negative_only, torch.stack([full[0], grpo[1]]))
    assert not torch.equal(full[1], grpo[1])


def test_negative_scale_touches_negative_groups_only() -> None:
    rewards, confidences = rows([0, 0], [1, 0]), rows([0.6, 0.2], [0.6, 0.2])
    printed = advantages(rewards, confidences, LensConfig())
    scaled = advantages(rewards, confidences, LensConfig(negative_scale=1.0))
    assert scaled[0].tolist() == pytest.approx((2 * printed[0]).tolist())  # 1 instead of 1/2
    assert torch.equal(scaled[1], printed[1])


def test_negative_scale_of_zero_is_zero_and_not_the_default() -> None:
    assert not advantages(rows([0, 0]), rows([0.6, 0.2]), LensConfig(negative_scale=0.0)).any()


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_whole_number_rewards_do_not_round_advantages(dtype: torch.dtype) -> None:
    # r~ = 1, 0 without a penalty: z-scores are +-1/sqrt(2) with ddof = 1; eps is negligible here.
    got = advantages(torch.tensor([[1, 0]]).to(dtype), rows([0.5, 0.5]), LensConfig(scale=0.0, eps=1e-12))
    assert got[0].tolist() == pytest.approx([0.5**0.5, -(0.5**0.5)])


def test_success_threshold_decides_what_a_negative_group_is() -> None:
    # D = 1.2, s = 1/2: 0.3 - 0.7 * 0.5 = -0.05 and 0.1 - 0.9 * 0.1 = 0.01; mean -0.02; alpha 0.25.
    got = advantages(rows([0.3, 0.1]), rows([0.6, 0.2]), LensConfig(success_threshold=0.5))[0].tolist()
    assert got == pytest.approx([-0.0075, 0.0075])


def test_groups_with_fewer_than_two_graded_answers_get_nothing() -> None:
    got = advantages(rows([1, NAN, NAN], [NAN, NAN, NAN]), rows([0.5] * 3, [0.5] * 3), LensConfig())
    assert torch.equal(got, torch.zeros(2, 3, dtype=torch.float64))


def test_all_right_groups_get_exactly_nothing() -> None:
    assert not advantages(torch.ones(1, 7), torch.rand(1, 7) * 0.9 + 0.05, LensConfig()).any()


@pytest.mark.parametrize("of", [difficulty, calibrated_rewards, advantages])
def test_no_gradient_flows(of: Callable[[torch.Tensor, torch.Tensor, LensConfig], torch.Tensor]) -> None:
    rewards, confidences = rows([1, 0]).requires_grad_(), rows([0.5, 0.5]).requires_grad_()
    assert not of(rewards, confidences, LensConfig()).requires_grad
    assert not of(rewards, confidences, LensConfig(variant="off")).requires_grad


def test_no_gradient_flows_through_confidence() -> None:
    assert not confidence(rows([-0.5, -0.1]).requires_grad_(), torch.ones(1, 2)).requires_grad


@pytest.mark.parametrize(
    ("rewards", "confidences", "message"),
    [
        (torch.zeros(2, 3), torch.ones(2, 2), "rewards .* confidences"),
        (torch.zeros(3), torch.ones(3), "rewards .* confidences"),
        (torch.zeros(2, 1), torch.ones(2, 1), "G = 1"),
        (torch.tensor([[0.0, torch.inf]]), torch.ones(1, 2), "rewards holds an infinite"),
        (torch.zeros(1, 2), torch.tensor([[0.5, 0.0]]), "confidences must lie"),
        (torch.zeros(1, 2), torch.tensor([[0.5, 1.5]]), "confidences must lie"),
        (torch.zeros(1, 2), torch.tensor([[0.5, NAN]]), "confidences must lie"),
        (torch.zeros(1, 2), torch.tensor([[0.5, torch.inf]]), "confidences must lie"),
        (torch.tensor([[0.0, 2.0]]), torch.ones(1, 2), "rewards must lie"),
        (torch.tensor([[0.0, -1.0]]), torch.ones(1, 2), "rewards must lie"),
    ],
)
def test_advantages_name_the_argument_that_is_wrong(
    rewards: torch.Tensor, confidences: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        advantages(rewards, confidences, LensConfig())


def test_confidence_rejects_different_shapes() -> None:
    with pytest.raises(ValueError, match=r"token_logprobs .* mask"):
        confidence(torch.zeros(2, 3), torch.ones(2, 2))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alpha", -1.0),
        ("alpha", float("nan")),
        ("scale", -0.1),
        ("negative_scale", float("inf")),
        ("margin", 1.0),
        ("eps", 0.0),
        ("success_threshold", 1.0),
        ("variant", "lens"),
        ("difficulty_from", "tokens"),
        ("negative_normalisation", "std"),
    ],
)
def test_config_names_the_field_that_is_wrong(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field} is"):
        LensConfig(**{field: value})  # type: ignore[arg-type]


def test_numpy_in_is_numpy_out_with_the_same_numbers() -> None:
    rewards, confidences = [[1.0, 0.0, 0.0], [0.0, 0.0, float("nan")]], [[0.9, 0.5, 0.3], [0.8, 0.4, 0.5]]
    config = LensConfig()
    arrays = numpy.array(rewards), numpy.array(confidences)
    got = advantages(*arrays, config)
    assert isinstance(got, numpy.ndarray)
    expected = advantages(torch.tensor(rewards, dtype=torch.float64), torch.tensor(confidences).double(), config)
    numpy.testing.assert_allclose(got, expected.numpy(), rtol=1e-6)
    assert isinstance(confidence(numpy.log(arrays[1]), numpy.ones((2, 3))), numpy.ndarray)
