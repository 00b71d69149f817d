import jax
import jax.numpy as jnp
import numpy as np
from arrays import EX, assert_gradient
from ragged import names, ragged, smooth

from pojax import advantages, losses
from pojax.losses import aggregations as aggregate

ONE, LEVELS = np.zeros(4, int), np.array([1, 3, 1, 4])


def total(logprobs, levels, groups=ONE):
    paired = losses.trpa(logprobs, EX.ref, levels, groups, EX.mask) * advantages.pair_share(levels, groups)
    unpaired = losses.trpa_unpaired(logprobs, EX.ref, levels, EX.mask) * advantages.unpaired_share(levels, groups)
    region = jnp.sum(aggregate.token_mean(EX.mask) * losses.k3(logprobs, EX.old))
    return jnp.sum(paired) + jnp.sum(unpaired) + 0.001 * region


def test_card():
    np.testing.assert_allclose(total(EX.logprobs, LEVELS), 0.710119, rtol=1e-5)
    np.testing.assert_allclose(total(EX.logprobs, np.full(4, 2)), 0.851509, rtol=1e-5)  # no pair: what released code does


def test_root_of_the_trust_region():
    """The term scaled by `kl_root` has the gradient of the root."""

    def exact(x):
        return jnp.sqrt(jnp.sum(aggregate.token_mean(EX.mask) * losses.k3(x, EX.old)) + 0.25)

    slope = advantages.kl_root(EX.logprobs, EX.old, EX.mask)
    scaled = jax.grad(lambda x: jnp.sum(aggregate.token_mean(EX.mask) * slope[:, None] * losses.k3(x, EX.old)))
    np.testing.assert_allclose(scaled(jnp.asarray(EX.logprobs)), jax.grad(exact)(jnp.asarray(EX.logprobs)), rtol=1e-5)


def test_double_precision(x64):
    for seed in range(3):
        b = ragged(seed)
        levels = np.random.default_rng(seed).integers(1, 5, 10)
        score = np.array([np.mean((b.logprobs[r] - b.ref[r])[b.on[r]]) if b.on[r].any() else 0.0 for r in range(10)])
        expected, pairs = np.zeros(10), 0
        for i in names(b.groups):
            for p in np.flatnonzero(b.groups == i):
                for q in np.flatnonzero(b.groups == i):
                    if levels[p] < levels[q]:
                        h = 0.3 * (2.5 if levels[p] == 1 else 1.0) * (score[p] - score[q])
                        expected[p] += np.log(1 + np.exp(-h))
                        pairs += 1
        value = losses.trpa(b.logprobs, b.ref, levels, b.groups, b.mask, beta=0.3)
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-14)
        np.testing.assert_allclose(advantages.pair_share(levels, b.groups), np.where(b.groups >= 0, 1 / pairs, 0), rtol=1e-9)
        np.testing.assert_array_equal(advantages.unpaired_share(levels, b.groups), np.zeros(10))
    x, junk = smooth(b)
    assert_gradient(lambda x: losses.trpa(junk(x), b.ref, levels, b.groups, b.mask), x)
    assert_gradient(lambda x: losses.trpa_unpaired(junk(x), b.ref, levels, b.on), x)


def test_equal_levels_teach_nothing():
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(losses.trpa(x, EX.ref, np.full(4, 3), ONE, EX.mask)))(jnp.asarray(EX.logprobs))
    assert value == 0 and not np.any(gradient)
    np.testing.assert_array_equal(advantages.pair_share(np.full(4, 3), ONE), np.zeros(4))
    np.testing.assert_allclose(advantages.unpaired_share(np.full(4, 3), np.array([0, 0, -1, 2])), [1 / 3, 1 / 3, 0, 1 / 3], rtol=1e-6)


def test_levels():
    levels = advantages.preference_levels(np.array([1.0, 1, 0, 0]), np.array([1.0, 0, 1, 0]))
    np.testing.assert_array_equal(levels, [1, 1, 2, 4])
