"""The two gradient identities behind LENS, in float64 on a softmax over five answers.

Legend: pi policy (softmax of theta), D difficulty, z = pi / D, r correctness of each answer (0 or 1).
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lens_core.objective import LensConfig, calibrated_rewards

ANSWERS = 5
thetas = st.lists(st.floats(-2, 2), min_size=ANSWERS, max_size=ANSWERS)
labels = st.lists(st.sampled_from([0.0, 1.0]), min_size=ANSWERS, max_size=ANSWERS)
WRONG = torch.zeros(ANSWERS, dtype=torch.float64)


def vector(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def product_rewards(policy: Tensor, reward: Tensor) -> tuple[Tensor, float]:
    """r~ of eq. 9 as the product computes it, with s = 1, and the D that it used.

    The confidences play pi. With `sequence`, D = m max pi whatever the labels; m = 2 keeps D > pi.
    """
    config = LensConfig(scale=1.0, margin=2.0, difficulty_from="sequence")
    calibrated = calibrated_rewards(reward[None], policy[None], config)[0]
    return calibrated, 2.0 * policy.max().item()


def gradient(of: Tensor, theta: Tensor) -> Tensor:
    return torch.autograd.grad(of, theta, retain_graph=True)[0]


@given(thetas, thetas, labels)
def test_likelihood_gradient_is_reinforce_with_the_calibrated_reward(
    values: list[float], sampler: list[float], label: list[float]
) -> None:
    # Eq. 8: L = -E_mu[r log(pi/D) + (1-r) log(1 - pi/D)], mu and D fixed.
    # Since d log(1 - pi/D) = -pi/(D-pi) d log pi,
    # -dL = E_mu[(r - (1-r) pi/(D-pi)) d log pi] = E_mu[r~ d log pi]: eq. 9 and 10.
    theta, reward = vector(values).requires_grad_(), vector(label)
    mu = vector(sampler).softmax(0)
    policy = theta.softmax(0)
    calibrated, hardness = product_rewards(policy.detach(), reward)
    likelihood = reward * (policy / hardness).log() + (1 - reward) * (1 - policy / hardness).log()
    loss = -(mu * likelihood).sum()
    reinforce = (mu * calibrated * policy.log()).sum()
    torch.testing.assert_close(-gradient(loss, theta), gradient(reinforce, theta), rtol=0, atol=1e-9)


@given(thetas, labels)
def test_on_policy_gradient_is_that_of_the_reward_minus_weighted_confidence(
    values: list[float], label: list[float]
) -> None:
    # Eq. 11-13: J+ = E_pi[r], J- = E_pi[(1-r) w(pi/D)], w(z) = log(1/(1-z))/z - 1. pi is differentiated everywhere:
    # d(pi w(pi/D)) = (w + z w') d pi = z/(1-z) pi d log pi = pi/(D-pi) pi d log pi.
    theta, reward = vector(values).requires_grad_(), vector(label)
    policy = theta.softmax(0)
    calibrated, hardness = product_rewards(policy.detach(), reward)
    z = policy / hardness
    weight = (1 / (1 - z)).log() / z - 1
    objective = (policy * reward).sum() - (policy * (1 - reward) * weight).sum()
    reinforce = (policy.detach() * calibrated * policy.log()).sum()
    torch.testing.assert_close(gradient(objective, theta), gradient(reinforce, theta), rtol=0, atol=1e-9)


def test_likelihood_gradient_agrees_with_finite_differences() -> None:
    def likelihood(theta: Tensor) -> Tensor:
        policy = theta.softmax(0)
        return (1 - policy / 1.5).log().sum()

    assert torch.autograd.gradcheck(likelihood, vector([0.3, -1.0, 0.7, 0.0, 2.0]).requires_grad_(), atol=1e-9)


@given(st.floats(0.01, 0.99))
def test_weight_and_its_derivative_add_up_to_the_odds(z_value: float) -> None:
    z = torch.tensor(z_value, dtype=torch.float64, requires_grad=True)
    weight = -torch.log1p(-z) / z - 1
    slope = torch.autograd.grad(weight, z)[0]
    assert (weight + z * slope).item() == pytest.approx(z_value / (1 - z_value), rel=1e-9)


def test_weight_of_a_wrong_answer_vanishes_with_confidence_and_grows_without_bound() -> None:
    # The product's penalty, s c / (D - c) with s = 1, is z / (1 - z): it follows w through the identity above.
    config = LensConfig(scale=1.0, margin=1.0 + 1e-6)
    confidences = vector([1e-9, 1e-3, 0.5, 0.9, 1.0])
    penalties = -calibrated_rewards(WRONG[None], confidences[None], config)[0]
    assert penalties[0] < 1e-8
    assert penalties[-1] > 1e5
    assert (penalties.diff() > 0).all()
