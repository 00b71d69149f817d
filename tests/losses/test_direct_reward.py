import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import assert_gradient
from frozen import CASE, assert_like, rows

from pojax import losses

REWARDS = np.array([1.0, 0.0, 0.3, -0.7, 0.2])


def test_card():
    data = (np.array([[-3.0], [-5]]), np.array([[-3.5], [-4.5]]), np.full(2, 0.4), np.array([1.0, 0]), np.ones((2, 1)))
    np.testing.assert_allclose(jnp.mean(losses.dro_v(*data, tau=0.5)), 0.03625, rtol=1e-5)


def test_double_precision(x64):
    values = np.random.default_rng(4).normal(size=5)

    def rule(x, fixed, b):
        return 0.5 * (REWARDS[b] - values[b] - 0.7 * np.sum(x - CASE.ref[b, CASE.mask[b] != 0])) ** 2

    assert_like(lambda x: losses.dro_v(x, CASE.ref, values, REWARDS, CASE.mask, tau=0.7), rows(rule))
    assert_gradient(lambda v: losses.dro_v(CASE.logprobs, CASE.ref, v, REWARDS, CASE.mask, tau=0.7), values)


def test_value_of_the_prompt():
    """[B, T] of the value role: the value before the first token of the policy, and only that one is trained."""
    values = np.random.default_rng(4).normal(size=(5, 4)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1], [0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0]])
    first = np.array([values[0, 0], values[1, 1], values[2, 0], values[3, 2], 0.0])
    data = (CASE.logprobs, CASE.ref)
    np.testing.assert_allclose(
        losses.dro_v(*data, values, REWARDS, mask, tau=0.5), losses.dro_v(*data, first, REWARDS, mask, tau=0.5), rtol=1e-6
    )
    slope = jax.grad(lambda v: jnp.sum(losses.dro_v(*data, v, REWARDS, mask, tau=0.5)))(jnp.asarray(values))
    assert [tuple(i) for i in np.argwhere(slope)] == [(0, 0), (1, 1), (2, 0), (3, 2)]


def test_gradient_is_that_of_the_token_form_with_a_sequence_penalty():
    """tau times the policy gradient with advantage reward - value - tau * log-ratio of the response."""
    values, tau = np.full(5, 0.2), 0.3
    slope = jax.grad(lambda x: jnp.sum(losses.dro_v(x, CASE.ref, values, REWARDS, CASE.mask, tau=tau)))(jnp.asarray(CASE.logprobs))
    advantage = REWARDS - values - tau * np.sum((CASE.logprobs - CASE.ref) * CASE.mask, axis=1)
    np.testing.assert_allclose(slope, -tau * advantage[:, None] * CASE.mask, rtol=1e-5, atol=1e-7)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"dro_v: tau is -1, allowed: \[0, inf\)"):
        losses.dro_v(CASE.logprobs, CASE.ref, np.zeros(5), REWARDS, CASE.mask, tau=-1.0)
