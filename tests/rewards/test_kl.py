import numpy as np
from arrays import GROUPS6, MASK, OLD, REF, REWARDS6, assert_gradient

from pojax import advantages, rewards


def test_card_of_leave_one_out_with_kl_in_the_reward():
    """Sequence log-ratios [.1, .2, .3, 0, .1, .2] and coefficient 0.5."""
    old = np.array([[0.04, 0.06], [0.1, 0.1], [0.3, 0], [0, 0], [-0.1, 0.2], [0.5, -0.3]])
    shaped = rewards.sequence_kl_penalty(REWARDS6, old, np.zeros((6, 2)), np.ones((6, 2)), coefficient=0.5)
    np.testing.assert_allclose(advantages.leave_one_out(shaped, GROUPS6), [1.075, -0.5, -0.575, 0.575, 0.5, -1.075], rtol=1e-5)


def test_both_penalties_in_double_precision(x64):
    value = rewards.token_kl_penalty(OLD, REF, MASK, coefficient=0.3)
    expected = -0.3 * (OLD - REF) * MASK
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    np.testing.assert_allclose(rewards.sequence_kl_penalty(np.ones(2), OLD, REF, MASK, coefficient=0.3), 1 + expected.sum(1), rtol=1e-9)
    assert_gradient(lambda old: rewards.token_kl_penalty(old, REF, MASK, coefficient=0.3), OLD)
    assert_gradient(lambda old: rewards.sequence_kl_penalty(np.ones(2), old, REF, MASK, coefficient=0.3), OLD)


def test_coefficient_per_row():
    per_row, once = np.array([0.1, 0.2]), rewards.token_kl_penalty(OLD, REF, MASK, coefficient=1.0)
    for coefficient in (per_row, per_row[:, None]):
        np.testing.assert_allclose(rewards.token_kl_penalty(OLD, REF, MASK, coefficient=coefficient), once * per_row[:, None], rtol=1e-6)
        sequence = rewards.sequence_kl_penalty(np.zeros(2), OLD, REF, MASK, coefficient=coefficient)
        np.testing.assert_allclose(sequence, np.sum(once, 1) * per_row, rtol=1e-5)
    assert rewards.token_kl_penalty.writes == ("token_rewards",)
