import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient

from pojax import advantages, losses, rewards
from pojax.losses import aggregations as aggregate

D, ONE = np.array([0.4, -0.2, 1.1, 0.0]), np.zeros(4, int)


def distance(scores, groups=ONE, **hyper):
    return -rewards.occupancy_penalty(np.zeros(len(scores)), scores, groups, coefficient=1.0, **hyper)


def test_card_of_the_distances():
    np.testing.assert_allclose(distance(D, distance="kl"), D, rtol=1e-6)
    np.testing.assert_allclose(distance(D, distance="chi2"), [0.491825, -0.181269, 2.00417, 0], rtol=1e-5)
    np.testing.assert_allclose(distance(D), [0.646533, -0.238289, 2.6346, 0], rtol=1e-5)
    np.testing.assert_allclose(distance(D, form="code"), distance(D, distance="chi2"), rtol=1e-6)  # fewer than 100 rows


def test_card_of_the_discriminator():
    current, base = losses.occupancy_discriminator(D, np.ones(4)), losses.occupancy_discriminator(np.array([-0.5, 0.1]), np.zeros(2))
    np.testing.assert_allclose(np.mean(current) + np.mean(base), 1.18215, rtol=1e-5)


def test_card_of_the_language_model_penalty():
    coefficients = aggregate.sequence_mean(np.ones(4))

    def exact(x):
        return jnp.sqrt(jnp.maximum(jnp.sum(coefficients * losses.response_divergence(x, EX.ref, EX.mask)), 1e-4))

    x = jnp.asarray(EX.logprobs)
    np.testing.assert_allclose(0.0008 * exact(x), 0.000779189, rtol=1e-5)
    slope = advantages.chi2_root(x, EX.ref, EX.mask, EX.mask)
    scaled = jax.grad(lambda x: jnp.sum(coefficients * slope * losses.response_divergence(x, EX.ref, EX.mask)))
    np.testing.assert_allclose(scaled(x), jax.grad(exact)(x), rtol=1e-5, atol=1e-8)
    np.testing.assert_array_equal(advantages.chi2_root(EX.ref, EX.ref, EX.mask, EX.mask), np.zeros(4))  # identical policies: the floor


def test_double_precision(x64):
    rng = np.random.default_rng(0)
    x, ref, mask = rng.normal(size=(5, 4)), rng.normal(size=(5, 4)), rng.integers(0, 2, (5, 4))
    x[0], mask[0], mask[1] = ref[0] + 6.0, 1, 0  # beyond 10, and a response without tokens
    junk = np.where(mask, x, np.nan)
    total = np.array([sum(x[b, t] - ref[b, t] for t in range(4) if mask[b, t]) for b in range(5)])

    def f(y):
        return np.exp(y) - 1 if y <= 10 else np.exp(10) - 1 + np.exp(10) * (y - 10)

    chi2, kl = [f(y) + f(-y) for y in total], [y + f(-y) for y in total]
    np.testing.assert_allclose(losses.response_divergence(junk, ref, mask), chi2, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(losses.response_divergence(junk, ref, mask, form="kl"), kl, rtol=1e-9, atol=1e-12)
    used = [b for b in range(5) if mask[b].any()]
    np.testing.assert_allclose(advantages.chi2_root(junk, ref, mask, mask), 0.5 / np.sqrt(np.mean([chi2[b] for b in used])), rtol=1e-9)
    for form in ("chi2", "kl"):
        assert_gradient(lambda y, f=form: losses.response_divergence(y, ref, mask, form=f), ref + 0.3 * x, rtol=1e-5)
    assert_gradient(lambda d: losses.occupancy_discriminator(d, np.array([1, 0, 1, 0])), D)


def test_distances_in_double_precision(x64):
    rng = np.random.default_rng(1)
    d, groups = rng.normal(size=250), np.where(np.arange(250) % 10 == 3, -1, 0)
    excess = np.exp(d[groups == 0]) - 1
    cut = int(0.01 * len(excess))
    assert cut == 2
    mean = np.mean(np.sort(excess)[cut:-cut])
    expected = np.zeros(250)
    expected[groups == 0] = np.clip(excess / np.sqrt(mean), -3, 3)
    junk = np.where(groups < 0, np.nan, d)
    for form in ("paper", "code"):
        np.testing.assert_allclose(distance(junk, groups, clip=3.0, form=form), expected, rtol=1e-9, atol=1e-14)
    r = rng.normal(size=250)
    penalised = rewards.occupancy_penalty(r, junk, groups, coefficient=0.2, clip=3.0)
    np.testing.assert_allclose(penalised, np.where(groups < 0, 0.0, r - 0.2 * expected), rtol=1e-9)


def test_degenerate_scores():
    np.testing.assert_array_equal(distance(np.zeros(4)), np.zeros(4))
    below = np.array([-1.0, -2.0, -0.5, -1.0])  # a mean below 0: undivided
    np.testing.assert_allclose(distance(below), np.expm1(below), rtol=1e-6)
    np.testing.assert_array_equal(distance(np.array([1e4, 0.0, 0.0, 0.0]), distance="chi2"), np.zeros(4))  # not finite
    with pytest.raises(ValueError, match="distance is 'tv'"):
        distance(D, distance="tv")
