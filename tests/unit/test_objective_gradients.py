"""The two gradient identities behind LENS, in float64 on a softmax over five answers.

Legend: pi policy (softmax of theta), D difficulty, z = pi / D, r correctness of each answer (0 or 1).
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lens_core.objective import LensConfig, calibrated_rewards

ANSWERS = 5
thetas = st.lists(st.floats(-2, 2), min_size=ANSWERS, max_size=ANSWERS)
margins = st.floats(1.05, 4)
labels = st.lists(st.sampled_from([0.0, 1.0]), min_size=ANSWERS, max_size=ANSWERS)
WRONG = torch.zeros(ANSWERS, dtype=torch.float64)


def vector(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def product_rewards(policy: Tensor, reward: Tensor, margin: float = 2.0) -> tuple[Tensor, float]:
    """r~ of eq. 9 as the product computes it, with s = 1, and the D that it used.

    The confidences play pi. With `sequence`, D = m max pi whatever the labels; m > 1 keeps D > pi.
    """
    config = LensConfig(scale=1.0, margin=margin, difficulty_from="sequence")
    calibrated = calibrated_rewards(reward[None], policy[None], config)[0]
    return calibrated, margin * policy.max().item()


def weight_of(z: Tensor) -> Tensor:
    """w of eq. 13."""
    return -torch.log1p(-z) / z - 1


def gradient(of: Tensor, theta: Tensor) -> Tensor:
    return torch.autograd.grad(of, theta, retain_graph=True)[0]


@given(thetas, thetas, labels, margins)
def test_likelihood_gradient_is_reinforce_with_the_calibrated_reward(
    values: list[float], sampler: list[float], label: list[float], margin: float
) -> None:
    # Eq. 8: L = -E_mu[r log(pi/D) + (1-r) log(1 - pi/D)], mu and D fixed.
    # Since d log(1 - pi/D) = -pi/(D-pi) d log pi,
    # -dL = E_mu[(r - (1-r) pi/(D-pi)) d log pi] = E_mu[r~ d log pi]: eq. 9 and 10.
    theta, reward = vector(values).requires_grad_(), vector(label)
    mu = vector(sampler).softmax(0)
    policy = theta.softmax(0)
    calibrated, hardness = product_rewards(policy.detach(), reward, margin)
    likelihood = reward * (policy / hardness).log() + (1 - reward) * (1 - policy / hardness).log()
    loss = -(mu * likelihood).sum()
    reinforce = (mu * calibrated * policy.log()).sum()
    torch.testing.assert_close(-gradient(loss, theta), gradient(reinforce, theta), rtol=0, atol=1e-9)


@given(thetas, labels, margins)
def test_on_policy_gradient_is_that_of_the_reward_minus_weighted_confidence(
    values: list[float], label: list[float], margin: float
) -> None:
    # Eq. 11-13: J+ = E_pi[r], J- = E_pi[(1-r) w(pi/D)], w(z) = log(1/(1-z))/z - 1. pi is differentiated everywhere:
    # d(pi w(pi/D)) = (w + z w') d pi = z/(1-z) pi d log pi = pi/(D-pi) pi d log pi.
    theta, reward = vector(values).requires_grad_(), vector(label)
    policy = theta.softmax(0)
    calibrated, hardness = product_rewards(policy.detach(), reward, margin)
    z = policy / hardness
    objective = (policy * reward).sum() - (policy * (1 - reward) * weight_of(z)).sum()
    reinforce = (policy.detach() * calibrated * policy.log()).sum()
    torch.testing.assert_close(gradient(objective, theta), gradient(reinforce, theta), rtol=0, atol=1e-9)


def test_calibrated_rewards_agree_with_finite_differences_of_the_likelihood() -> None:
    # The same identity without autograd: central differences, whose error is of order h^2 = 1e-10.
    theta, reward, h = vector([0.3, -1.0, 0.7, 0.0, 2.0]), vector([1, 0, 0, 1, 0]), 1e-5
    policy = theta.softmax(0)
    calibrated, hardness = product_rewards(policy, reward, margin=1.5)

    def likelihood(at: Tensor) -> Tensor:  # E_mu of eq. 8, mu uniform
        z = at.softmax(0) / hardness
        return (reward * z.log() + (1 - reward) * (1 - z).log()).mean()

    steps = h * torch.eye(ANSWERS, dtype=torch.float64)
    slopes = torch.stack([(likelihood(theta + step) - likelihood(theta - step)) / (2 * h) for step in steps])
    # E_mu[r~ d log pi / d theta_k] = mean(r~) (delta_ik - pi_k): r~_k / 5 - pi_k mean(r~).
    expected = calibrated / ANSWERS - policy * calibrated.mean()
    torch.testing.assert_close(slopes, expected, rtol=0, atol=1e-9)


@given(st.floats(0.01, 0.99))
def test_weight_and_its_derivative_add_up_to_the_odds(z_value: float) -> None:
    z = torch.tensor(z_value, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(weight_of(z), z)[0]
    assert (weight_of(z) + z * slope).item() == pytest.approx(z_value / (1 - z_value), rel=1e-9)


def test_weight_vanishes_with_confidence_and_grows_without_bound() -> None:
    # w(z) = z/2 + z^2/3 + ...: about z/2 near 0; w(1/2) = 2 log 2 - 1; w(1 - 10^-k) is about k log 10 - 1.
    assert weight_of(vector([1e-6])).item() == pytest.approx(5e-7, rel=1e-3)
    assert weight_of(vector([0.5])).item() == pytest.approx(2 * math.log(2) - 1)
    tail = weight_of(1 - vector([1e-3, 1e-6, 1e-9, 1e-12]))
    assert tail.tolist() == pytest.approx([k * math.log(10) - 1 for k in (3, 6, 9, 12)], rel=2e-2)


def test_penalty_of_a_wrong_answer_vanishes_with_confidence_and_grows_without_bound() -> None:
    # The product's penalty, s c / (D - c) with s = 1, is z / (1 - z): it follows w through the identity above.
    config = LensConfig(scale=1.0, margin=1.0 + 1e-6)
    confidences = vector([1e-9, 1e-3, 0.5, 0.9, 1.0])
    penalties = -calibrated_rewards(WRONG[None], confidences[None], config)[0]
    assert penalties[0] < 1e-8
    assert penalties[-1] > 1e5
    assert (penalties.diff() > 0).all()
