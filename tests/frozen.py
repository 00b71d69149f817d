"""Losses against numpy functions of the tests, in value and in gradient; what a method holds constant is kept at one point.

A reference takes (x, fixed): log-probabilities [B, T], and those at which everything under a stop-gradient is taken.
"""

import jax
import jax.numpy as jnp
import numpy as np


class CASE:
    """Five rows of four tokens with ratios well beyond the usual bounds; row 3 has a hole, row 4 no token, one advantage is 0."""

    rng = np.random.default_rng(11)
    old = -rng.uniform(0.05, 3.0, (5, 4))
    logprobs = np.minimum(old + 0.7 * rng.normal(size=(5, 4)), -0.01)
    ref = old + 0.4 * rng.normal(size=(5, 4))
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 1, 1], [0, 0, 0, 0]])
    row_advantages = np.array([1.3, -0.8, 0.0, -1.7, 0.6])
    advantages = np.repeat(row_advantages[:, None], 4, axis=1)
    token_advantages = rng.normal(size=(5, 4))


def tokens(rule):
    """A reference [B, T] from a rule of one token: rule(x, fixed, b, t)."""

    def reference(x, fixed):
        return np.array([[rule(x[b, t], fixed[b, t], b, t) for t in range(x.shape[1])] for b in range(x.shape[0])])

    return reference


def rows(rule):
    """A reference [B] from a rule of one row: rule(x [n], fixed [n], b) of its masked tokens."""

    def reference(x, fixed):
        on = CASE.mask != 0
        return np.array([rule(x[b, on[b]], fixed[b, on[b]], b) for b in range(x.shape[0])])

    return reference


def assert_like(loss, reference, x=CASE.logprobs, where=None):
    """loss(x) is reference(x, x), and the gradient of a weighted sum equals central differences of reference(., x); needs 64 bits."""
    x = np.asarray(x)
    shown = np.asarray(loss(jnp.asarray(x)))
    counted = np.ones(shown.shape) if where is None else np.asarray(where)
    np.testing.assert_allclose(shown * counted, reference(x, x) * counted, rtol=1e-9, atol=1e-12)
    weights = np.random.default_rng(5).normal(size=shown.shape) * counted
    gradient = jax.grad(lambda y: jnp.sum(weights * loss(y)))(jnp.asarray(x))
    expected = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[i] = 1e-6
        expected[i] = np.sum(weights * (reference(x + step, x) - reference(x - step, x))) / 2e-6
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)
