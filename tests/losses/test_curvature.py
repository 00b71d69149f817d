import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX

from pojax import advantages, losses
from pojax.advantages.curvature import within_curvature
from pojax.losses import aggregations as aggregate
from pojax.losses import curvature

HIDDEN, LOGITS, TOKEN = np.array([[0.8, -1.0]] * 2), np.array([[1.0, 0.2, -0.5]] * 2), np.array([2, 2])
SIGNS = np.array([1.0, -1.0])


def test_card_of_a_gradient_step():
    found = curvature.curvature_statistics(HIDDEN, LOGITS, TOKEN, SIGNS, learning_rate=0.1)
    np.testing.assert_allclose(found, [[0.209218, 0.178039], [0.018746, 0.018746]], rtol=1e-5)


def test_card_of_adam(x64):
    moments = np.full((3, 2), 0.01), np.full((3, 2), 1e-4)
    direction = curvature.adam_direction(HIDDEN, LOGITS, TOKEN, SIGNS, *moments, np.array(4))
    found = curvature.curvature_statistics(HIDDEN, LOGITS, TOKEN, SIGNS, direction, learning_rate=1e-3)
    np.testing.assert_allclose([found[0][0], found[1][0]], [0.00146116, 1.06619e-06], rtol=1e-5)


def trust(m_h, m_f, on, **hyper):
    """The rule on predicted moves given directly: with A = 1 and learning rate 1 heads can be found that give any m_H and m_F >= 0."""
    gain = np.sqrt(2 * m_f)
    return advantages.curvature_trust(gain, 2 * (m_h - gain), np.ones(m_h.shape), on, learning_rate=1.0, **hyper)


def test_card_of_the_rule_and_the_loss():
    m_h, m_f = np.array([[0.209218, 0.00146116]]), np.array([[0.018746, 1.06619e-06]])
    np.testing.assert_array_equal(within_curvature(m_h, m_f, objective_limit=0.01, policy_limit=1e-4), [[False, True]])
    np.testing.assert_array_equal(trust(m_h, m_f, np.ones((1, 2))), [[0, 1]])
    trusted = np.array([[1, 0, 1], [1, 1, 1], [1, 1, 0], [0, 0, 1]])
    weights = trust(1.0 - trusted, np.zeros((4, 3)), EX.mask, objective_limit=0.5)
    np.testing.assert_allclose(weights, [[0.5, 0, 0.5], [1 / 3] * 3, [0.5, 0.5, 0], [0, 0, 0]], rtol=1e-6)
    coefficients = aggregate.sequence_mean_token_sum(EX.mask) * weights  # the last row lost its tokens, and stays in the mean
    np.testing.assert_allclose(jnp.sum(coefficients * losses.ppo_clip(EX.logprobs, EX.old, EX.advantages)), 0.0416412, rtol=1e-5)


def test_heads_and_rule_are_the_statistics_of_a_gradient_step(x64):
    rng = np.random.default_rng(4)
    h, logits, token, a = rng.normal(size=(6, 4)), rng.normal(size=(6, 5)), rng.integers(0, 5, 6), rng.normal(size=6)
    gain, bend = (f(h, logits, token).reshape(2, 3) for f in (curvature.gradient_gain, curvature.gradient_curvature))
    m_h, m_f = curvature.curvature_statistics(h, logits, token, a, learning_rate=0.3)
    objective, policy = float(jnp.median(jnp.abs(m_h))) * 1.01, float(jnp.max(m_f)) * 0.99
    kept = np.asarray(within_curvature(m_h, m_f, objective_limit=objective, policy_limit=policy)).reshape(2, 3)
    hyper = {"learning_rate": 0.3, "objective_limit": objective, "policy_limit": policy}
    found = advantages.curvature_trust(gain, bend, a.reshape(2, 3), np.ones((2, 3)), **hyper)
    np.testing.assert_allclose(found, kept / np.maximum(kept.sum(1, keepdims=True), 1), rtol=1e-9)
    assert kept.any() and not kept.all()
    np.testing.assert_allclose(
        advantages.curvature_trust(gain, bend, np.array([0.5, 0.0]), np.ones((2, 3)), **hyper)[1], np.full(3, 1 / 3)
    )  # per response; an advantage of 0 is trusted


def test_forms_of_the_rule():
    m_h, m_f, on = np.array([[-0.005, 0.005, 0.02, 0.0]]), np.array([[0.0, 0.0, 0.0, 1e-3]]), np.ones((1, 4))
    np.testing.assert_array_equal(trust(m_h, m_f, on), [[0.5, 0.5, 0, 0]])
    np.testing.assert_array_equal(trust(m_h, m_f, on, form="asymmetric"), [[0, 1, 0, 0]])
    with pytest.raises(ValueError, match="form is 'both'"):
        trust(m_h, m_f, on, form="both")


def reference(h, logits, token, a, lr, direction, kept):
    """One token, with the gradient as a matrix."""
    z = np.where(kept, logits, -np.inf)
    pi = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    v = (np.arange(len(logits)) == token) - pi
    g = a * np.outer(v, h)
    step = g if direction is None else direction
    u = step @ h
    curvature = a * ((v @ u) ** 2 - (pi @ u**2 - (pi @ u) ** 2))
    return lr * np.sum(g * step) + 0.5 * lr**2 * curvature, 0.5 * lr**2 * (v @ step @ h) ** 2


@pytest.mark.parametrize("top_k", [0, 3])
def test_double_precision(x64, top_k):
    rng = np.random.default_rng(0)
    h, logits, token, a = rng.normal(size=(6, 4)), rng.normal(size=(6, 5)), rng.integers(0, 5, 6), rng.normal(size=6)
    direction = rng.normal(size=(6, 5, 4))
    kept = np.argsort(np.argsort(-logits)) < (top_k or 5)
    for d in (None, direction):
        found = curvature.curvature_statistics(h, logits, token, a, d, learning_rate=0.3, top_k=top_k)
        expected = [reference(h[i], logits[i], token[i], a[i], 0.3, None if d is None else d[i], kept[i]) for i in range(6)]
        np.testing.assert_allclose(np.stack(found, axis=1), expected, rtol=1e-9)


def test_adam_in_double_precision(x64):
    rng = np.random.default_rng(1)
    h, logits, token, a = rng.normal(size=(4, 3)), rng.normal(size=(4, 5)), rng.integers(0, 5, 4), rng.normal(size=4)
    m, s = rng.normal(size=(5, 3)), rng.uniform(size=(5, 3))
    expected = []
    for i in range(4):
        pi = np.exp(logits[i]) / np.exp(logits[i]).sum()
        g = a[i] * np.outer((np.arange(5) == token[i]) - pi, h[i])
        expected.append(((0.9 * m + 0.1 * g) / (1 - 0.9**8)) / (np.sqrt((0.999 * s + 0.001 * g**2) / (1 - 0.999**8)) + 1e-8))
    found = curvature.adam_direction(h, logits, token, a, m, s, np.array(7))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_model_predicts_what_a_step_does(x64):
    """A small step of the last layer along its gradient: the change of A pi / pi_old to second order, on the token itself."""
    rng = np.random.default_rng(2)
    layer, h, token, a, lr = rng.normal(size=(5, 3)), rng.normal(size=3), 2, -0.7, 1e-3

    def log_pi(layer):
        return jax.nn.log_softmax(layer @ h)[token]

    step = lr * a * jax.grad(log_pi)(jnp.asarray(layer))
    change = a * (jnp.exp(log_pi(layer + step) - log_pi(layer)) - 1)
    found, _ = curvature.curvature_statistics(h[None], (layer @ h)[None], np.array([token]), np.array([a]), learning_rate=lr)
    np.testing.assert_allclose(found[0], change, rtol=1e-5)


def test_zero_advantage_moves_nothing():
    np.testing.assert_array_equal(curvature.curvature_statistics(HIDDEN, LOGITS, TOKEN, np.zeros(2), learning_rate=0.1), np.zeros((2, 2)))
