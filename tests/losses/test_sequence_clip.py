import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient

from pojax import losses
from pojax.losses import aggregations as aggregate


def reference(logprobs, old, a, mask, low, high):
    out = np.zeros(len(a))
    for b in range(len(a)):
        s = np.prod([np.exp(logprobs[b, t] - old[b, t]) for t in range(mask.shape[1]) if mask[b, t]])
        out[b] = max(-s * a[b], -min(max(s, 1 - low), 1 + high) * a[b])
    return out


def test_card():
    rows = losses.sequence_ppo_clip(EX.logprobs, EX.old, EX.advantages, EX.mask)
    np.testing.assert_allclose(jnp.sum(aggregate.sequence_mean(np.ones(4)) * rows), 0.897863, rtol=1e-5)


def test_double_precision(x64):
    rng = np.random.default_rng(0)
    a = rng.normal(size=4)
    arguments = (EX.old, a, EX.mask)
    expected = reference(EX.logprobs, *arguments, 0.3, 0.4)
    value = losses.sequence_ppo_clip(EX.logprobs, *arguments, epsilon=0.3, epsilon_high=0.4)
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    np.testing.assert_allclose(
        losses.sequence_ppo_clip(EX.logprobs, EX.old, np.repeat(a[:, None], 3, 1), EX.mask), reference(EX.logprobs, *arguments, 0.2, 0.2)
    )
    assert_gradient(lambda x: losses.sequence_ppo_clip(x, *arguments, epsilon=0.3, epsilon_high=0.4), EX.logprobs)


def test_gradient_before_the_first_update_is_reinforce():
    gradient = jax.grad(lambda x: jnp.sum(losses.sequence_ppo_clip(x, EX.old, EX.advantages, EX.mask)))(jnp.asarray(EX.old))
    np.testing.assert_allclose(gradient, -EX.advantages * EX.mask, rtol=1e-6)


@pytest.mark.parametrize("shift", [1e4, -1e4])
def test_overflow_and_empty_rows(shift):
    mask = EX.mask * np.array([[1], [0], [1], [1]])
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(losses.sequence_ppo_clip(x, EX.old + shift, EX.advantages, mask)))(
        jnp.asarray(EX.logprobs)
    )
    assert np.isfinite(value) and np.isfinite(gradient).all()
    assert losses.sequence_ppo_clip(EX.logprobs, EX.old, EX.advantages, mask)[1] == 0
