import jax
import jax.numpy as jnp
import numpy as np
from arrays import EX, assert_gradient

from pojax import losses


def test_in_double_precision(x64):
    d, ratio = EX.logprobs - EX.ref, np.exp(EX.logprobs - EX.old)
    np.testing.assert_allclose(losses.absolute_log_ratio(EX.logprobs, EX.old), np.abs(EX.logprobs - EX.old), rtol=1e-9)
    np.testing.assert_allclose(losses.importance_k3(EX.logprobs, EX.old, EX.ref), ratio * (np.exp(-d) - 1 + d), rtol=1e-9)
    assert_gradient(lambda x: losses.absolute_log_ratio(x, EX.old), EX.logprobs)
    assert_gradient(lambda x: losses.importance_k3(x, EX.old, EX.ref), EX.logprobs)


def test_gradient_of_the_importance_weighted_estimate(x64):
    """ratio * d, whose mean under the old policy is the gradient of KL(policy || reference)."""
    gradient = jax.grad(lambda x: jnp.sum(losses.importance_k3(x, EX.old, EX.ref)))(jnp.asarray(EX.logprobs))
    np.testing.assert_allclose(gradient, np.exp(EX.logprobs - EX.old) * (EX.logprobs - EX.ref), rtol=1e-9)
    rng = np.random.default_rng(0)
    logits, old, ref = rng.normal(size=(3, 5))

    def estimate(x):  # the expectation over tokens of the old policy, exactly
        p, q, r = (jax.nn.log_softmax(y)[None] for y in (x, jnp.asarray(old), jnp.asarray(ref)))
        return jnp.sum(jnp.exp(q) * losses.importance_k3(p, q, r))

    def divergence(x):
        p, r = jax.nn.log_softmax(x), jax.nn.log_softmax(jnp.asarray(ref))
        return jnp.sum(jnp.exp(p) * (p - r))

    logits = jnp.asarray(logits)
    np.testing.assert_allclose(estimate(logits), divergence(logits), rtol=1e-9)
    np.testing.assert_allclose(jax.grad(estimate)(logits), jax.grad(divergence)(logits), rtol=1e-9)


def test_no_difference_has_no_gradient():
    gradient = jax.grad(lambda x: jnp.sum(losses.absolute_log_ratio(x, EX.old)))(jnp.asarray(EX.old))
    assert not np.any(gradient)
