"""The rival estimators: numbers derived by hand, then properties that they share."""

import math
from functools import partial
from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lens_core.baselines import (
    ESTIMATORS,
    check_parameters,
    dapo,
    dr_grpo,
    find_estimator,
    grpo,
    informative,
    lens,
    max_rl,
    needs_entropies,
    ngrpo,
    not_all_right,
    nsr,
    pass_at_k,
    rl_zvp,
    token_level,
)
from lens_core.objective import LensConfig, advantages

NAN = float("nan")
ONE_OF_FOUR, NONE, ALL = [1.0, 0.0, 0.0, 0.0], [0.0] * 4, [1.0] * 4


def run(estimator: Any, *groups: list[float], **parameters: Any) -> Tensor:
    rewards = torch.tensor(groups, dtype=torch.float64)
    return estimator(rewards, torch.full_like(rewards, 0.5), torch.ones(*rewards.shape, 3), **parameters)


def close(got: Tensor, expected: list[list[float]], tolerance: float = 1e-9) -> bool:
    return torch.allclose(got, torch.tensor(expected, dtype=got.dtype), rtol=0, atol=tolerance)


def test_grpo_one_right_of_four() -> None:
    # mean 1/4; deviations 3/4 and three of -1/4: std = sqrt((9/16 + 3/16) / 3) = 1/2; 1.5 and -0.5, less eps
    assert close(run(grpo, ONE_OF_FOUR, NONE, ALL, eps=1e-12), [[1.5, -0.5, -0.5, -0.5], [0] * 4, [0] * 4])
    assert close(run(dapo, ONE_OF_FOUR, eps=1e-12), [[1.5, -0.5, -0.5, -0.5]])


def test_dr_grpo_takes_off_the_mean_and_nothing_else() -> None:
    assert close(run(dr_grpo, ONE_OF_FOUR, NONE, ALL), [[0.75, -0.25, -0.25, -0.25], [0] * 4, [0] * 4])


def test_nsr_needs_no_comparison() -> None:
    assert close(run(nsr, ONE_OF_FOUR, NONE, ALL), [[0, -1, -1, -1], [-1] * 4, [0] * 4])
    assert close(run(nsr, ONE_OF_FOUR, ALL, positive_weight=0.1), [[0.1, -1, -1, -1], [0.1] * 4])


def test_ngrpo_negative_group_of_sixteen_gets_minus_one_over_root_seventeen() -> None:
    # 16 zeros and a virtual 1: mean 1/17, variance (16/17) / 16 = 1/17; -1/17 / sqrt(1/17) = -1/sqrt(17) = -0.2425
    got = run(ngrpo, [0.0] * 16, eps=1e-12)
    assert close(got, [[-1 / math.sqrt(17)] * 16])
    assert round(float(got[0, 0]), 4) == -0.2425


def test_ngrpo_virtual_answer_is_as_good_as_the_best_one_seen() -> None:
    # {2, 0} and a virtual 2: mean 4/3, deviations 2/3, -4/3, 2/3; variance (4 + 16 + 4) / 9 / 2 = 4/3
    root = math.sqrt(4 / 3)
    assert close(run(ngrpo, [2.0, 0.0], eps=1e-12), [[2 / 3 / root, -4 / 3 / root]])


def test_ngrpo_mixed_and_positive_groups() -> None:
    # {1, 0, 0, 0} and a virtual 1: mean 2/5; variance (2 * 9/25 + 3 * 4/25) / 4 = 0.3
    root = math.sqrt(0.3)
    expected = [0.6 / root, -0.4 / root, -0.4 / root, -0.4 / root]
    assert close(run(ngrpo, ONE_OF_FOUR, ALL, eps=1e-12), [expected, [0] * 4])


def test_rl_zvp_weighs_tokens_of_zero_variance_groups_by_entropy() -> None:
    rewards = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    entropies = torch.tensor([[[0.5, 2.0, 1.0], [1.0, NAN, NAN]]] * 3)
    got = rl_zvp(rewards, torch.full((3, 2), 0.5), entropies, alpha=0.1, eps=1e-9)
    assert torch.allclose(got[0], torch.tensor([[0.05, 0.2, 0.1], [0.1, 0, 0]]))  # alpha H
    assert torch.allclose(got[1], torch.tensor([[-0.15, 0, -0.1], [0, 0, 0]]))  # -alpha (2 - H), -alpha (1 - 1)
    half = math.sqrt(0.5)  # {1, 0}: +-0.5 over std sqrt(1/2)
    assert torch.allclose(got[2], torch.tensor([[half, half, half], [-half, 0, 0]]))


def test_max_rl_divides_by_the_mean() -> None:
    # mean 1/4: (1 - 1/4) / (1/4) = 3, (0 - 1/4) / (1/4) = -1
    assert close(run(max_rl, ONE_OF_FOUR, NONE, ALL, eps=1e-12), [[3, -1, -1, -1], [0] * 4, [0] * 4])


def test_pass_at_2_one_right_of_four() -> None:
    # R = 1 - C(3,2)/C(4,2) = 1/2, s = 1/2; right (1 - R)/s = 1; wrong (1 - R - C(2,1)/C(3,1))/s = (1/2 - 2/3)/s = -1/3
    assert close(run(pass_at_k, ONE_OF_FOUR, NONE, ALL, k=2), [[1, -1 / 3, -1 / 3, -1 / 3], [0] * 4, [0] * 4])


@pytest.mark.parametrize(("answers", "right", "k"), [(5, 1, 2), (6, 2, 3), (6, 4, 2), (7, 3, 4), (4, 2, 1)])
def test_pass_at_k_is_the_mean_z_score_over_all_groups_of_k(answers: int, right: int, k: int) -> None:
    rewards = [1.0] * right + [0.0] * (answers - right)
    groups = list(combinations(range(answers), k))
    best = {group: max(rewards[i] for i in group) for group in groups}
    mean = sum(best.values()) / len(groups)
    std = math.sqrt(mean * (1 - mean))
    expected = []
    for answer in range(answers):
        mine = [best[group] for group in groups if answer in group]
        expected.append((sum(mine) / len(mine) - mean) / std)
    assert close(run(pass_at_k, rewards, k=k), [expected])


def test_pass_at_k_is_zero_where_any_k_answers_hold_a_right_one_and_where_k_are_not_there() -> None:
    assert close(run(pass_at_k, [1.0, 1.0, 1.0, 0.0], k=2), [[0] * 4])
    assert close(run(pass_at_k, ONE_OF_FOUR, k=5), [[0] * 4])


@pytest.mark.parametrize("variant", ["full", "mixed_only", "negative_only", "off"])
def test_lens_is_the_objective(variant: Any) -> None:
    rewards = torch.tensor([ONE_OF_FOUR, NONE])
    confidences = torch.tensor([[0.9, 0.2, 0.5, 0.7]] * 2)
    got = lens(rewards, confidences, None, variant=variant, alpha=0.5, margin=3.0, scale=0.7, negative_scale=0.3)
    config = LensConfig(variant=variant, alpha=0.5, margin=3.0, scale=0.7, negative_scale=0.3)
    assert torch.equal(got, advantages(rewards, confidences, config))


def test_lens_passes_every_field_on() -> None:
    import dataclasses
    import inspect

    fields = [field.name for field in dataclasses.fields(LensConfig)]
    parameters = inspect.signature(lens).parameters
    assert [name for name in parameters if parameters[name].kind is inspect.Parameter.KEYWORD_ONLY] == fields
    for field in dataclasses.fields(LensConfig):
        assert parameters[field.name].default == field.default


def test_informative_groups_are_those_whose_graded_rewards_differ() -> None:
    rewards = torch.tensor([[1.0, 0.0, NAN], [1.0, 1.0, NAN], [0.0, 0.0, 0.0], [NAN, NAN, NAN], [0.2, NAN, 0.3]])
    assert informative(rewards).tolist() == [True, False, False, False, True]


COMPARING = {name: ESTIMATORS[name] for name in ("grpo", "dr_grpo", "max_rl", "pass_at_k", "lens")}
rewards_01 = st.lists(st.sampled_from([0.0, 1.0]), min_size=4, max_size=8)
rewards_real = st.lists(st.floats(0, 1).map(lambda x: round(x, 3)), min_size=4, max_size=8)
estimators = pytest.mark.parametrize("name", sorted(ESTIMATORS))


def inputs(group: list[float], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.tensor([group], dtype=torch.float64)
    confidences = torch.rand(rewards.shape, generator=generator, dtype=torch.float64) * 0.9 + 0.05
    return rewards, confidences, torch.rand(*rewards.shape, 3, generator=generator, dtype=torch.float64)


@estimators
@given(group=st.one_of(rewards_01, rewards_real), seed=st.integers(0, 99))
def test_permuting_a_group_permutes_its_advantages(name: str, group: list[float], seed: int) -> None:
    values = inputs(group, seed)
    order = torch.randperm(len(group), generator=torch.Generator().manual_seed(seed))
    permuted = ESTIMATORS[name](*(value[:, order] for value in values))
    torch.testing.assert_close(permuted, ESTIMATORS[name](*values)[:, order], rtol=1e-9, atol=1e-12)


@estimators
@given(group=st.one_of(rewards_01, rewards_real), seed=st.integers(0, 99))
def test_ungraded_answer_is_no_answer(name: str, group: list[float], seed: int) -> None:
    rewards, confidences, entropies = inputs([*group, 1.0], seed)
    rewards[0, -1] = NAN
    with_it = ESTIMATORS[name](rewards, confidences, entropies)
    without = ESTIMATORS[name](rewards[:, :-1], confidences[:, :-1], entropies[:, :-1])
    assert not with_it[0, -1].any()
    torch.testing.assert_close(with_it[:, :-1], without, rtol=1e-9, atol=1e-12)


@estimators
def test_groups_do_not_influence_each_other(name: str) -> None:
    first, second = inputs(ONE_OF_FOUR, 1), inputs([0.0, 1.0, 1.0, 0.0], 2)
    both = ESTIMATORS[name](*(torch.cat(pair) for pair in zip(first, second, strict=True)))
    torch.testing.assert_close(both[:1], ESTIMATORS[name](*first))
    torch.testing.assert_close(both[1:], ESTIMATORS[name](*second))


@estimators
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_stays_inputs_stay_and_no_gradient_flows(name: str, dtype: torch.dtype) -> None:
    values = [value.to(dtype).requires_grad_() for value in inputs(ONE_OF_FOUR)]
    before = [value.detach().clone() for value in values]
    got = ESTIMATORS[name](*values)
    assert got.dtype == dtype
    assert not got.requires_grad
    assert all(torch.equal(value, old) for value, old in zip(values, before, strict=True))


@pytest.mark.parametrize("name", sorted(COMPARING))
@given(group=rewards_01, seed=st.integers(0, 99))
def test_right_answers_stay_above_wrong_ones_and_the_sum_is_zero(name: str, group: list[float], seed: int) -> None:
    rewards, confidences, entropies = inputs(group, seed)
    got = COMPARING[name](rewards, confidences, entropies)
    assert got.isfinite().all()
    assert abs(got.sum()) < 1e-9
    right = rewards > 0
    if right.any() and not right.all() and got.any():
        assert got[right].min() > got[~right].max()


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - {"nsr", "rl_zvp"}))
def test_all_right_group_gets_nothing(name: str) -> None:
    assert not ESTIMATORS[name](*inputs(ALL)).any()


@pytest.mark.parametrize(
    ("estimator", "parameters", "message"),
    [
        (nsr, {"positive_weight": -1}, r"positive_weight is -1; it must be in \[0, 1\]"),
        (grpo, {"eps": 0}, "eps is 0; it must be > 0"),
        (pass_at_k, {"k": 2.5}, "k is 2.5; it must be a whole number"),
        (grpo, {"eps": "1e-6"}, "eps is '1e-6'; it must be > 0"),
        (pass_at_k, {"k": 0}, "k is 0; it must be a whole number >= 1"),
        (ngrpo, {"best_reward": 0.0}, "best_reward is 0.0"),
        (rl_zvp, {"alpha": -0.1}, "alpha is -0.1"),
        (lens, {"alpha": -1}, "alpha is -1"),
        (grpo, {"epsilon": 1}, r"unknown parameters \['epsilon'\]; choose from eps"),
        (dr_grpo, {"eps": 1}, r"unknown parameters \['eps'\]; choose from none"),
        (lambda r, c, e: r / 0, {}, "it returns NaN or infinite values"),
        (lambda r, c, e: 1 / 0, {}, "the objective fails: ZeroDivisionError: division by zero"),
        (lambda r, c, e: r.tolist(), {}, "it returns a list; it must return a tensor"),
        (lambda r, c, e: r.sum(), {}, r"it returns \(\) for 2 groups of 2 answers"),
    ],
)
def test_parameters_are_checked_before_any_work(estimator: Any, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_parameters(estimator, parameters)


def test_good_parameters_pass() -> None:
    check_parameters(pass_at_k, {"k": 2})
    check_parameters(lens, {"variant": "off", "alpha": 0.5})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpro", "'gpro' is no objective; choose from lens, grpo"),
        ("no_such_package:f", "cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
        ("math:no_such_function", "is not there: module 'math' has no 'no_such_function'"),
        ("math:pi", "is a float, not a function"),
    ],
)
def test_estimator_that_is_not_there_is_named(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_estimator(name)


def test_estimators_are_found_by_name_and_by_import_path() -> None:
    assert find_estimator("ngrpo") is ngrpo
    assert find_estimator("lens_core.baselines:nsr") is nsr


def test_only_marked_estimators_need_entropies() -> None:
    assert [name for name, function in ESTIMATORS.items() if needs_entropies(function)] == ["rl_zvp"]
    assert needs_entropies(partial(partial(rl_zvp, alpha=0.2), eps=1e-3))
    assert needs_entropies(token_level(lambda rewards, confidences, entropies: rewards))
    with pytest.raises(ValueError, match="entropies is None"):
        rl_zvp(torch.zeros(1, 2), torch.ones(1, 2), None)


def test_groups_with_an_answer_that_is_not_right_are_kept() -> None:
    rewards = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, torch.nan], [0.0, torch.nan], [torch.nan] * 2])
    assert not_all_right(rewards).tolist() == [False, True, True, False, True, False]
