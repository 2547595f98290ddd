"""Every consequence that the algorithm promises, on random groups."""

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lens_core.objective import LensConfig, advantages, calibrated_rewards, difficulty

FLOAT_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
confidences = st.floats(1e-3, 1.0)
right_or_wrong = st.sampled_from([0.0, 1.0])
configs = st.builds(
    LensConfig,
    alpha=st.floats(0, 4),
    margin=st.floats(1.1, 8),
    scale=st.none() | st.floats(0, 2),
    negative_scale=st.none() | st.floats(0, 2),
    variant=st.sampled_from(["full", "mixed_only", "negative_only", "off"]),
    difficulty_from=st.sampled_from(["confidence", "sequence"]),
    negative_normalisation=st.sampled_from(["mean", "mean_std"]),
)


@st.composite
def groups(
    draw: st.DrawFn, rewards: st.SearchStrategy[float] = right_or_wrong, count: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rewards and confidences of P groups of G answers, in float64."""
    p = draw(st.integers(1, 4)) if count is None else count
    g = draw(st.integers(2, 16))
    table = st.lists(st.lists(rewards, min_size=g, max_size=g), min_size=p, max_size=p)
    sure = st.lists(st.lists(confidences, min_size=g, max_size=g), min_size=p, max_size=p)
    return torch.tensor(draw(table), dtype=torch.float64), torch.tensor(draw(sure), dtype=torch.float64)


negative_groups = groups(st.just(0.0))
graded_or_not = st.sampled_from([0.0, 1.0, float("nan")])
real_rewards = st.floats(0, 1)


@given(groups(), configs)
def test_alpha_and_scale_of_zero_are_grpo_exactly(group: tuple[torch.Tensor, torch.Tensor], config: LensConfig) -> None:
    nothing = replace(config, alpha=0.0, scale=0.0, negative_scale=None, variant="full")
    assert torch.equal(advantages(*group, nothing), advantages(*group, replace(config, variant="off")))


@given(groups())
def test_calibrated_rewards_are_one_when_right_and_within_minus_s_and_zero_when_wrong(
    group: tuple[torch.Tensor, torch.Tensor],
) -> None:
    rewards, _ = group
    calibrated = calibrated_rewards(*group, LensConfig())
    wrong = calibrated[rewards == 0]
    assert (calibrated[rewards == 1] == 1).all()
    assert ((wrong <= 0) & (wrong >= -1 / rewards.shape[1] - 1e-12)).all()


@given(groups(), configs)
def test_difficulty_exceeds_every_confidence(group: tuple[torch.Tensor, torch.Tensor], config: LensConfig) -> None:
    assert (difficulty(*group, config) >= config.margin * group[1].amax(dim=1) - 1e-12).all()


@given(negative_groups)
def test_most_confident_wrong_answer_is_punished_most(group: tuple[torch.Tensor, torch.Tensor]) -> None:
    got = advantages(*group, LensConfig())
    for advantage, confidence in zip(got, group[1], strict=True):
        order = confidence.argsort()
        assert (advantage[order].diff() <= 1e-15).all()
        assert advantage[confidence.argmax()] == advantage.min()


@given(groups(real_rewards), configs)
def test_advantages_of_a_group_sum_to_zero(group: tuple[torch.Tensor, torch.Tensor], config: LensConfig) -> None:
    got = advantages(*group, config)
    assert got.sum(dim=1).abs().max() <= 1e-9 * max(1.0, got.abs().max().item())


@given(st.integers(2, 16), confidences, configs, st.sampled_from(FLOAT_TYPES))
def test_equal_confidences_in_a_negative_group_give_exactly_zero(
    size: int, confidence: float, config: LensConfig, dtype: torch.dtype
) -> None:
    sure = torch.full((1, size), confidence, dtype=dtype)
    assert not advantages(torch.zeros_like(sure), sure, config).any()


@given(groups(), configs)
def test_right_answers_of_a_mixed_group_are_above_zero_and_above_every_wrong_one(
    group: tuple[torch.Tensor, torch.Tensor], config: LensConfig
) -> None:
    mixed = (group[0].sum(dim=1) > 0) & (group[0].sum(dim=1) < group[0].shape[1])
    got = advantages(*group, config)
    for advantage, reward in zip(got[mixed], group[0][mixed], strict=True):
        assert (advantage[reward == 1] > 0).all()
        assert advantage[reward == 1].min() > advantage[reward == 0].max()


@given(groups(graded_or_not), configs, st.randoms(use_true_random=False))
def test_permuting_a_group_permutes_its_advantages(
    group: tuple[torch.Tensor, torch.Tensor], config: LensConfig, random: object
) -> None:
    order = list(range(group[0].shape[1]))
    random.shuffle(order)  # type: ignore[attr-defined]
    permuted = advantages(group[0][:, order], group[1][:, order], config)
    torch.testing.assert_close(permuted, advantages(*group, config)[:, order], rtol=1e-9, atol=1e-12)


@given(groups(graded_or_not), configs)
def test_groups_do_not_influence_each_other(group: tuple[torch.Tensor, torch.Tensor], config: LensConfig) -> None:
    alone = [advantages(reward[None], sure[None], config)[0] for reward, sure in zip(*group, strict=True)]
    assert torch.equal(advantages(*group, config), torch.stack(alone))


@given(groups(graded_or_not, count=1), configs)
def test_ungraded_answers_are_as_if_never_sampled(group: tuple[torch.Tensor, torch.Tensor], config: LensConfig) -> None:
    rewards, sure = group
    graded = ~rewards[0].isnan()
    assume(graded.sum() >= 2)
    without = advantages(rewards[:, graded], sure[:, graded], config)
    got = advantages(rewards, sure, config)
    assert not got[:, ~graded].any()
    torch.testing.assert_close(got[:, graded], without, rtol=1e-9, atol=1e-12)


@given(groups(graded_or_not), configs)
def test_confidences_of_ungraded_answers_are_ignored(
    group: tuple[torch.Tensor, torch.Tensor], config: LensConfig
) -> None:
    unknown = group[1].masked_fill(group[0].isnan(), float("nan"))
    assert torch.equal(advantages(group[0], unknown, config), advantages(*group, config))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(group=groups(), config=configs)
@settings(max_examples=30)
def test_half_precision_is_computed_in_single_and_rounded_once(
    dtype: torch.dtype, group: tuple[torch.Tensor, torch.Tensor], config: LensConfig
) -> None:
    rewards, sure = group[0].to(dtype), group[1].to(dtype)
    single = advantages(rewards.float(), sure.float(), config)
    assert torch.equal(advantages(rewards, sure, config), single.to(dtype))


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
@given(group=groups(), config=configs)
@settings(max_examples=30)
def test_every_float_type_agrees_with_float64(
    dtype: torch.dtype, group: tuple[torch.Tensor, torch.Tensor], config: LensConfig
) -> None:
    rewards, sure = group[0].to(dtype), group[1].to(dtype)
    got = advantages(rewards, sure, config)
    exact = advantages(rewards.double(), sure.double(), config)
    assert got.dtype == dtype
    assert got.isfinite().all()
    tolerance = {torch.float16: 2e-2, torch.bfloat16: 4e-2, torch.float32: 1e-3, torch.float64: 0.0}[dtype]
    torch.testing.assert_close(got.double(), exact, rtol=tolerance, atol=tolerance)
