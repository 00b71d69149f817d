import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient

from pojax import losses, schedules

FIRST = (EX.logprobs[:, :1], EX.old[:, :1], EX.advantages[:, :1])


def test_card():
    kl = losses.gaussian_kl(np.array([[0.1, -0.2]]), np.array([[0.9, 1.1]]), np.zeros((1, 2)), np.ones((1, 2)))
    np.testing.assert_allclose(kl, [0.0450503], rtol=1e-5)
    np.testing.assert_allclose(np.mean(losses.mdpo(*FIRST, np.full((4, 1), kl[0]), step_size=0.5)), 1.55613, rtol=1e-5)
    np.testing.assert_allclose(losses.tsallis_log(np.log([[0.3]]), q=1.5), [[-0.904555]], rtol=1e-5)


def test_card_of_the_step_size():
    """t_k = 1 - (k - 1) / K is the linear schedule of the docstring."""
    steps = [schedules.linear(k - 1, start=1.0, end=1 / 50, steps=49) for k in (1, 26, 50)]
    np.testing.assert_allclose(steps, [1, 0.5, 0.02], rtol=1e-5)


def test_card_of_the_off_policy_form():
    q = np.array([[0.4], [0.1], [-0.2], [0.3]])
    for inverse, expected in ((1.0, 0.0475), (0.2, -0.3625)):
        np.testing.assert_allclose(np.mean(losses.mdpo_off_policy(*FIRST[:2], q, inverse_step=inverse)), expected, rtol=1e-5)
    np.testing.assert_allclose(losses.mdpo_off_policy(*FIRST[:2], q, inverse_step=0.2), 0.2 * FIRST[0] - q, rtol=1e-5)  # SAC


def test_double_precision(x64):
    x, old, a = EX.logprobs, EX.old, EX.advantages
    ratio = np.exp(x - old)
    np.testing.assert_allclose(losses.mdpo(x, old, a, step_size=0.3), -ratio * a + (ratio * np.log(ratio) - ratio + 1) / 0.3, rtol=1e-9)
    p, p_old, order = np.exp(x), np.exp(old), 2 - 0.4
    tsallis = ratio * (p ** (order - 1) - p_old ** (order - 1)) / (order - 1)
    np.testing.assert_allclose(losses.mdpo(x, old, a, step_size=0.3, q=0.4), -ratio * a + tsallis / 0.3, rtol=1e-9)
    np.testing.assert_allclose(losses.mdpo(x, old, a, a**2, step_size=0.3), -ratio * a + a**2 / 0.3, rtol=1e-9)
    np.testing.assert_allclose(losses.mdpo_off_policy(x, old, a, inverse_step=0.7), 0.7 * x - 0.5 * old - a, rtol=1e-9)
    for hyper in ({}, {"q": 0.4}, {"q": 1.0}, {"q": 1.6}):
        assert_gradient(lambda x, h=hyper: losses.mdpo(x, old, a, step_size=0.3, **h), x)


def test_kl_of_gaussians_in_double_precision(x64):
    rng = np.random.default_rng(0)
    m, n, s, z = rng.normal(size=(3, 2)), rng.normal(size=(3, 2)), rng.uniform(0.5, 2, (3, 2)), rng.uniform(0.5, 2, (3, 2))
    grid = np.linspace(-30, 30, 60001)
    expected = np.zeros(3)
    for b in range(3):
        for d in range(2):
            log_p = -0.5 * ((grid - m[b, d]) / s[b, d]) ** 2 - np.log(s[b, d] * np.sqrt(2 * np.pi))
            log_q = -0.5 * ((grid - n[b, d]) / z[b, d]) ** 2 - np.log(z[b, d] * np.sqrt(2 * np.pi))
            expected[b] += np.sum(np.exp(log_p) * (log_p - log_q)) * (grid[1] - grid[0])
    np.testing.assert_allclose(losses.gaussian_kl(m, s, n, z), expected, rtol=1e-9)
    assert_gradient(lambda x: losses.gaussian_kl(x, s, n, z), m)


def test_the_estimate_is_unbiased_in_value_and_gradient(x64):
    """Averaged over the old policy's tokens, value and gradient are those of KL(policy || old)."""
    rng = np.random.default_rng(1)
    logits, old = jnp.asarray(rng.normal(size=5)), jax.nn.log_softmax(jnp.asarray(rng.normal(size=5)))

    def estimate(logits):
        logprobs = jax.nn.log_softmax(logits)
        return jnp.sum(jnp.exp(old) * losses.mdpo(logprobs[None], old[None], jnp.zeros((1, 5)))[0])

    def exact(logits):
        logprobs = jax.nn.log_softmax(logits)
        return jnp.sum(jnp.exp(logprobs) * (logprobs - old))

    for found, expected in zip(jax.value_and_grad(estimate)(logits), jax.value_and_grad(exact)(logits), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert not np.any(jax.grad(estimate)(old))  # one step per rollout: the divergence has no gradient


def test_orders_near_one_are_the_logarithm():
    for q in (1.0, 1.0 + 1e-8, 1.0 + 1e-4):
        np.testing.assert_allclose(losses.tsallis_log(EX.old, q=q), EX.old, rtol=1e-3)
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(losses.tsallis_log(x, q=0.2)))(jnp.full((1, 2), -1e5))
    assert np.isfinite(value) and np.isfinite(gradient).all()
    with pytest.raises(ValueError, match="mdpo: step_size is 0"):
        losses.mdpo(*FIRST, step_size=0.0)
