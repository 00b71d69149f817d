"""Small arrays that several tests use, and the checks of values and gradients that they share."""

import jax
import jax.numpy as jnp
import numpy as np

# B = 2 responses of T = 3 tokens; the last token of the second one is masked.
LOGPROBS = np.array([[-0.5, -1.0, -0.2], [-1.2, -0.3, -0.8]])
OLD = np.array([[-0.6, -0.7, -0.2], [-1.0, -0.3, -1.1]])
REF = np.array([[-0.55, -0.9, -0.3], [-1.1, -0.4, -0.9]])
MASK = np.array([[1, 1, 1], [1, 1, 0]])

# Six rewards of two groups; ids need not be dense or ordered.
REWARDS6 = np.array([1.0, 0, 0, 1, 1, 0])
GROUPS6 = np.array([7, 7, 7, 2, 2, 2])


class EX:
    """Four responses of T = 3 tokens, two per prompt. The sampler's 5.00 sits in a masked slot on purpose: junk there must not matter."""

    old = np.array([[-1.2, -0.7, -2.0], [-1.9, -1.5, -0.9], [-1.0, -0.5, -2.6], [-2.2, -0.8, -0.5]])
    logprobs = old + np.array([[0.10, -0.40, 0.35], [1.30, -0.15, -0.60], [-0.25, 0.05, 1.60], [0.90, -0.05, -0.30]])
    ref = old + np.array([[0.05, -0.10, 0.20], [-0.30, 0.15, 0.00], [0.10, 0.10, -0.20], [0.25, -0.35, 0.10]])
    rollout = old + np.array([[0.02, -0.90, 0.00], [0.10, 0.00, -0.30], [0.00, 0.40, -0.05], [-0.20, 0.10, 5.00]])
    mask = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 0]])
    advantages = np.repeat([[1.0], [-1.0], [0.5], [-1.5]], 3, axis=1)
    rewards = np.array([1.0, 0.0, 0.8, 0.1])
    correct = np.array([1.0, 0.0, 1.0, 0.0])


def central_difference(function, x, step=1e-6):
    """Gradient of a scalar function at x by central differences, one compilation for all entries; needs 64 bits."""
    x = jnp.asarray(x)
    assert x.dtype == jnp.float64, "central differences need the x64 fixture"
    offsets = step * jnp.eye(x.size).reshape((x.size, *x.shape))
    values = jax.jit(jax.vmap(function))(jnp.concatenate([x + offsets, x - offsets]))
    return np.asarray((values[: x.size] - values[x.size :]) / (2 * step)).reshape(x.shape)


def assert_gradient(function, x, rtol=1e-6, atol=1e-8):
    """The gradient of sum(weights * function(x)) equals central differences; different weights, so that entries cannot cancel."""
    shape = jax.eval_shape(function, jnp.asarray(x)).shape
    weights = jnp.asarray(np.random.default_rng(5).normal(size=shape))

    def total(x):
        return jnp.sum(weights * function(x))

    np.testing.assert_allclose(jax.jit(jax.grad(total))(jnp.asarray(x)), central_difference(total, x), rtol=rtol, atol=atol)
