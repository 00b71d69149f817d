import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import assert_gradient

from pojax import losses


def test_card():
    np.testing.assert_allclose(losses.q_sharp_bernoulli(np.array([0.3, 0.0, 1.0])), [0.879613, 0, 1], rtol=1e-5)
    value = losses.q_sharp_categorical(np.array([[0.5, 0.3, 0.2]]), np.array([0, 0.5, 1.0]), eta=0.5)
    np.testing.assert_allclose(value, [0.513611], rtol=1e-5)
    q = losses.q_sharp_bernoulli(np.array([[0.1, 0.3, 0.05]]))
    np.testing.assert_allclose(losses.q_sharp_policy(np.array([[0.2, 0.0, -0.4]]), q), [[0.268098, 0.658301, 0.073601]], rtol=1e-5)
    logits = np.log([[0.2 / 0.8], [0.7 / 0.3]])
    np.testing.assert_allclose(np.mean(losses.q_sharp_loss(logits, np.array([0.0, 1.0]))), 0.289909, rtol=1e-5)


def test_double_precision(x64):
    rng = np.random.default_rng(0)
    p, eta = rng.uniform(size=(4, 3)), np.array([0.3, 0.5, 1.0, 2.0])
    expected = np.array([[e * np.log(1 - x + x * np.exp(1 / e)) for x in row] for row, e in zip(p, eta, strict=True)])
    np.testing.assert_allclose(losses.q_sharp_bernoulli(p, eta=eta), expected, rtol=1e-9)
    weights, atoms = p / p.sum(axis=1, keepdims=True), np.array([-0.2, 0.4, 1.5])
    expected = [e * np.log(sum(w * np.exp(z / e) for w, z in zip(row, atoms, strict=True))) for row, e in zip(weights, eta, strict=True)]
    np.testing.assert_allclose(losses.q_sharp_categorical(weights, atoms, eta=eta), expected, rtol=1e-9)
    logits = rng.normal(size=(4, 3))
    tilted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) * np.exp(p / 0.4)
    np.testing.assert_allclose(losses.q_sharp_policy(logits, p, eta=0.4), tilted / tilted.sum(axis=1, keepdims=True), rtol=1e-9)
    y = np.array([1.0, 0, 1, 0])
    s = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(losses.q_sharp_loss(logits, y), -(y[:, None] * np.log(s) + (1 - y[:, None]) * np.log(1 - s)), rtol=1e-9)
    assert_gradient(lambda x: losses.q_sharp_loss(x, y), logits)
    assert_gradient(lambda x: losses.q_sharp_bernoulli(x, eta=0.5), p)
    assert_gradient(lambda x: losses.q_sharp_categorical(x, atoms, eta=0.5), weights)


def test_two_outcomes_are_a_histogram_of_two_atoms():
    p = np.linspace(0.05, 0.95, 7)[:, None]
    histogram = losses.q_sharp_categorical(np.concatenate([1 - p, p], axis=1), np.array([0.0, 1.0]), eta=0.2)
    np.testing.assert_allclose(histogram, losses.q_sharp_bernoulli(p, eta=0.2)[:, 0], rtol=1e-5)


def test_small_eta_and_edges_stay_finite():
    p = jnp.array([0.0, 1e-30, 0.3, 1.0])
    value, gradient = jax.value_and_grad(lambda p: jnp.sum(losses.q_sharp_bernoulli(p, eta=1e-3)))(p)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    np.testing.assert_allclose(losses.q_sharp_bernoulli(p, eta=1e-3)[2], 1 + 1e-3 * np.log(0.3), rtol=1e-5)  # towards the best return
    with pytest.raises(ValueError, match=r"probability is 1.5, allowed: \[0, 1\]"):
        losses.q_sharp_bernoulli(np.array([1.5]))
