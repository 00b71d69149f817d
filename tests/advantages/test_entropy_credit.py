import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import LOGPROBS, MASK, OLD, assert_gradient

from pojax import advantages, losses
from pojax.advantages.entropy_credit import entropy_scale
from pojax.losses import aggregations as aggregate

ENTROPY = np.array([[0.05, 1.2, 0.4], [2.0, 0.1, 9.0]])
SIGNED = [[-1, 0, -0.345687], [1, -0.781896, 0]]


def total(logprobs, form):
    """All but the temperature, from rewards [1, 0] of one group."""
    a = advantages.token_group_normalize(np.array([1.0, 0.0]), MASK, np.zeros(2, int))
    h = advantages.entropy_signal(ENTROPY, MASK, form=form)
    low, high = advantages.entropy_clip(h)
    a = advantages.redistribute_by_entropy(a, h, logprobs, OLD, epsilon=low, epsilon_high=high)
    surrogate = losses.ppo_clip(logprobs, OLD, jax.lax.stop_gradient(a), epsilon=low, epsilon_high=high, dual_clip=10.0)
    return jnp.sum(aggregate.token_mean(MASK) * surrogate)


def test_worked_example():
    np.testing.assert_allclose(entropy_scale(ENTROPY, MASK, quantile=0.8), (0.182322, 1.88376, 0.271174, -1.68708), rtol=1e-5)
    h = advantages.entropy_signal(ENTROPY, MASK)
    np.testing.assert_allclose(h, SIGNED, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(advantages.entropy_signal(ENTROPY, MASK, form="released"), np.abs(SIGNED), rtol=1e-5, atol=1e-7)
    low, high = advantages.entropy_clip(h)
    np.testing.assert_allclose(low, [[0.4, 0.2, 0.269137], [0.2, 0.356379, 0.2]], rtol=1e-5)
    np.testing.assert_allclose(high, [[0.28, 0.28, 0.28], [0.56, 0.28, 0.28]], rtol=1e-5)
    a = advantages.token_group_normalize(np.array([1.0, 0.0]), MASK, np.zeros(2, int))
    np.testing.assert_allclose(a, [[0.816495] * 3, [-1.22474, -1.22474, 0]], rtol=1e-5)
    np.testing.assert_allclose(total(LOGPROBS, "signed"), 0.226695, rtol=1e-5)
    np.testing.assert_allclose(total(LOGPROBS, "released"), 0.181295, rtol=1e-5)


def reference_signal(entropy, keep, rho, released):
    x = np.log(np.maximum(entropy, 1e-8))
    ordered = np.sort(x[keep])
    q = ordered[round(rho * (len(ordered) - 1))]
    z = (x - q) / np.sqrt(np.mean((ordered - q) ** 2))
    out = np.zeros(entropy.shape)
    for i in zip(*np.nonzero(keep), strict=True):
        out[i] = z[i] / z[keep].max() if z[i] > 0 else z[i] / abs(z[keep].min()) * (-1 if released else 1)
    return out


@pytest.mark.parametrize("form", ["signed", "released"])
def test_signal_in_double_precision(x64, form):
    rng = np.random.default_rng(0)
    entropy, keep = rng.gamma(0.5, size=(6, 7)), rng.random((6, 7)) < 0.7
    for rho in (0.25, 0.5, 0.8):
        found = advantages.entropy_signal(entropy, keep, quantile=rho, form=form)
        np.testing.assert_allclose(found, reference_signal(entropy, keep, rho, form == "released"), rtol=1e-9, atol=1e-12)
        assert np.max(found) == 1 and np.min(found) == (-1 if form == "signed" else 0)


def test_signal_of_nothing_of_equal_entropies_and_of_zeros():
    for entropy in (np.ones((2, 3)), np.zeros((2, 3)), np.full((2, 3), np.nan)):
        keep = MASK if np.isfinite(entropy).all() else 0 * MASK
        np.testing.assert_array_equal(advantages.entropy_signal(entropy, keep), np.zeros((2, 3)))


def test_token_advantages_in_double_precision(x64):
    rng = np.random.default_rng(1)
    rewards, groups, mask = rng.normal(size=9), np.array([3, 3, 3, 7, 7, -1, 5, 2, 2]), rng.random((9, 6)) < 0.6
    rewards[7:] = 0.3
    mask[1] = False
    expected = np.zeros((9, 6))
    for g in (3, 7, 5, 2):
        rows = [b for b in range(9) if groups[b] == g and mask[b].any()]
        each = np.concatenate([np.full(mask[b].sum(), rewards[b]) for b in rows])
        if np.ptp(each) > 0:
            for b in rows:
                expected[b] = mask[b] * (rewards[b] - each.mean()) / (each.std() + 1e-6)
    found = advantages.token_group_normalize(rewards, mask, groups)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.sum(np.asarray(found)[groups == 3]), 0, atol=1e-9)
    assert not np.any(np.asarray(found)[7:])  # equal rewards: exactly 0


def test_a_large_token_advantage_falls_back_to_the_group():
    """One wrong response of one token beside long right ones: |A| = 5.4 there."""
    mask = np.zeros((4, 10))
    mask[0, 0] = 1
    mask[1:] = 1
    rewards, groups = np.array([0.0, 1, 1, 1]), np.zeros(4, int)
    free = advantages.token_group_normalize(rewards, mask, groups)
    assert np.max(np.abs(free)) > 5
    limited = advantages.token_group_normalize(rewards, mask, groups, limit=5.0)
    np.testing.assert_allclose(limited, np.asarray(advantages.group_normalize(rewards, groups))[:, None] * mask, rtol=1e-6)
    np.testing.assert_array_equal(advantages.token_group_normalize(rewards, mask, groups, limit=6.0), free)


def test_redistribution_and_clips_in_double_precision(x64):
    rng = np.random.default_rng(2)
    h, a = rng.uniform(-1, 1, (5, 4)), rng.normal(size=(5, 4))
    old = -rng.gamma(1.0, size=(5, 4))
    new = old + rng.normal(0, 0.3, (5, 4))
    low, high = advantages.entropy_clip(h, low=0.15, high=0.3)
    found = advantages.redistribute_by_entropy(a, h, new, old, epsilon=low, epsilon_high=high)
    for i in np.ndindex(5, 4):
        lo, hi = 0.15 * (1 - h[i]) if h[i] <= 0 else 0.15, 0.3 * (1 + h[i]) if h[i] > 0 else 0.3
        np.testing.assert_allclose((low[i], high[i]), (lo, hi), rtol=1e-9)
        neutral = 1 - lo / 2 < np.exp(new[i] - old[i]) < 1 + hi / 2
        factor = 1 + h[i] if neutral == (h[i] <= 0) else 1
        np.testing.assert_allclose(found[i], factor * a[i], rtol=1e-9)


def test_gradient_of_the_whole(x64):
    h = advantages.entropy_signal(ENTROPY, MASK)
    low, high = advantages.entropy_clip(h)
    a = advantages.token_group_normalize(np.array([1.0, 0.0]), MASK, np.zeros(2, int))
    a = advantages.redistribute_by_entropy(a, h, LOGPROBS, OLD, epsilon=low, epsilon_high=high)
    assert_gradient(lambda x: losses.ppo_clip(x, OLD, a, epsilon=low, epsilon_high=high, dual_clip=10.0), LOGPROBS)
