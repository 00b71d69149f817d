import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient
from ragged import names, ragged, smooth

from pojax import advantages, losses
from pojax.losses import aggregations as aggregate

ONE, CORRECT = np.zeros(4, int), np.array([1.0, 0, 0, 1])


def disco(logprobs, correct=CORRECT, groups=ONE, **hyper):
    values = losses.disco(logprobs, EX.old, correct, groups, EX.mask, **hyper)
    return jnp.sum(aggregate.group_mean(np.ones(4), groups) * values)


@pytest.mark.parametrize(
    ("hyper", "expected"),
    [
        ({}, 0.105698),
        ({"score": "Lratio", "tau": 1.0}, 0.631663),
        ({"form": "disco_b"}, 0.104167),
        ({"form": "disco_b", "score": "Lratio"}, 0.591852),
    ],
)
def test_card_of_disco(hyper, expected):
    np.testing.assert_allclose(disco(EX.logprobs, **hyper), expected, rtol=1e-5)


def test_card_of_disco_gradient_and_groups_of_one_class():
    expected = [[-0.166667] * 3, [0.16375] * 3, [0.169583] * 3, [-0.25, -0.25, 0]]
    np.testing.assert_allclose(jax.grad(disco)(jnp.asarray(EX.logprobs)), expected, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(disco(EX.logprobs, np.array([1.0, 1, 1, 0]), np.array([0, 0, 1, 1])), -0.0875, rtol=1e-5)


def test_card_of_disco_constraint():
    """The term and its coefficient together: the value and the gradient of the squared hinge."""

    def loss(logprobs):
        slope = advantages.kl_hinge(jax.lax.stop_gradient(logprobs), EX.old, EX.mask)
        return jnp.sum(aggregate.token_mean(EX.mask) * slope[:, None] * losses.k1(EX.old, logprobs))

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(EX.old - 0.05))
    np.testing.assert_allclose(value, 2.495, rtol=1e-5)
    np.testing.assert_allclose(gradient, -4.53636 * EX.mask, rtol=1e-5)
    assert not np.any(jax.grad(loss)(jnp.asarray(EX.old + 0.05)))  # the policy moved the other way: D is negative


def test_card_of_real():
    groups = np.array([0, 0, 1, 1])

    def loss(logprobs):
        values = losses.real(logprobs, EX.old, EX.advantages, groups, EX.mask)
        return jnp.sum(aggregate.group_mean(np.ones(4), groups) * values)

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(EX.logprobs))
    np.testing.assert_allclose(value, 1.55365, rtol=1e-5)
    expected = np.repeat([[-0.163889], [0.196884], [-0.094083], [0.350284]], 3, axis=1) * EX.mask
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-8)


def reference_disco(b, tau, score, form):
    out = np.zeros(10)
    for i in names(b.groups):
        s = {}
        for row in np.flatnonzero(b.groups == i):
            on = b.on[row]
            if on.any():
                each = b.logprobs[row][on] if score == "logL" else np.exp(b.logprobs[row][on] - b.old[row][on])
                s[row] = each.mean()
        positive, negative = ([s[r] for r in s if b.correct[r] == c] for c in (1, 0))
        if positive and negative:
            below = tau * np.log(np.mean(np.exp(np.array(negative) / tau))) if form == "disco" else np.mean(negative)
            out[b.groups == i] = below - np.mean(positive)
    return out


@pytest.mark.parametrize("score", ["logL", "Lratio"])
@pytest.mark.parametrize("form", ["disco", "disco_b"])
def test_disco_in_double_precision(x64, score, form):
    for seed in range(3):
        b = ragged(seed)
        hyper = {"tau": 0.3, "score": score, "form": form}
        value = losses.disco(b.logprobs, b.old, b.correct, b.groups, b.mask, **hyper)
        np.testing.assert_allclose(value, reference_disco(b, **hyper), rtol=1e-9, atol=1e-14)
    x, junk = smooth(b)
    assert_gradient(lambda x: losses.disco(junk(x), b.old, b.correct, b.groups, b.mask, **hyper), x)


def test_real_in_double_precision(x64):
    for seed in range(3):
        b = ragged(seed)
        expected = np.zeros(10)
        for i in names(b.groups):
            rows = [r for r in np.flatnonzero(b.groups == i) if b.on[r].any()]
            s = {r: np.mean(b.logprobs[r][b.on[r]] - b.old[r][b.on[r]]) / 0.4 for r in rows}
            positive, negative = ([s[r] for r in rows if (b.rewards[r] > 0) == sign] for sign in (True, False))
            if positive and negative:
                expected[b.groups == i] = np.log(1 + np.sum(np.exp(-np.array(positive)))) + np.log(1 + np.sum(np.exp(negative)))
        value = losses.real(b.logprobs, b.old, b.rewards, b.groups, b.mask, tau=0.4)
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-14)
        tokens = np.where(b.on, b.rewards[:, None], np.nan)  # as losses receive them
        np.testing.assert_allclose(losses.real(b.logprobs, b.old, tokens, b.groups, b.mask, tau=0.4), expected, rtol=1e-9, atol=1e-14)
    assert np.count_nonzero(expected)
    x, junk = smooth(b)
    assert_gradient(lambda x: losses.real(junk(x), b.old, b.rewards, b.groups, b.mask), x)


def test_one_class_teaches_nothing():
    for correct in (np.ones(4), np.zeros(4)):
        value, gradient = jax.value_and_grad(disco)(jnp.asarray(EX.logprobs), correct)
        assert value == 0 and not np.any(gradient)
    equal = losses.real(EX.logprobs, EX.old, np.zeros((4, 3)), ONE, EX.mask)
    np.testing.assert_array_equal(equal, np.zeros(4))


def test_large_scores_do_not_overflow():
    far = jnp.asarray(EX.logprobs) * 1e4
    for loss in (disco, lambda x: jnp.sum(losses.real(x, EX.old, EX.advantages, ONE, EX.mask, tau=1e-3))):
        value, gradient = jax.value_and_grad(loss)(far)
        assert np.isfinite(value) and np.isfinite(gradient).all()
    with pytest.raises(ValueError, match="score is 'ratio', allowed: {logL, Lratio}"):
        disco(EX.logprobs, score="ratio")
