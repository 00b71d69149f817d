import jax
import jax.numpy as jnp
import numpy as np

from pojax.models import heads


def test_collision_probability(x64):
    logits = np.random.default_rng(0).normal(size=(6, 11)) * 3
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(heads.collision_probability(jnp.asarray(logits)), (p**2).sum(1), rtol=1e-9)
    np.testing.assert_allclose(heads.collision_probability(jnp.asarray(logits) + 1e4), (p**2).sum(1), rtol=1e-9)
    gradient = jax.grad(lambda x: jnp.sum(heads.collision_probability(x)))(jnp.asarray(logits))
    np.testing.assert_allclose(gradient, 2 * p * (p - (p**2).sum(1, keepdims=True)), rtol=1e-8, atol=1e-12)
