import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import reductions

KTH = jax.jit(reductions.kth_smallest)
LARGEST = jax.jit(reductions.largest)
QUANTILE = jax.jit(reductions.quantile)


@pytest.mark.parametrize("seed", range(5))
def test_order_statistics_are_numpys(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(5, 7)).round(seed % 2 + 1).astype(np.float32)  # ties
    where = rng.integers(0, 2, (5, 7))
    inside = np.sort(x[where == 1])
    junk = np.where(where == 1, x, np.nan)
    for k in range(len(inside)):
        assert KTH(junk, where, k=k) == inside[k]
    assert KTH(junk, where, k=len(inside)) == np.inf
    for q in (0.0, 0.3, 0.8, 1.0):
        np.testing.assert_allclose(QUANTILE(junk, where, q=q), np.quantile(inside, q), rtol=1e-5, atol=1e-6)
    flat = np.flatnonzero(where)
    for k in (0, 1, 4, 99):
        chosen = flat[np.argsort(-x.reshape(-1)[flat], kind="stable")[:k]]
        expected = np.isin(np.arange(35), chosen).reshape(5, 7)
        np.testing.assert_array_equal(LARGEST(junk, where, k=k), expected)


def test_order_statistics_in_double_precision(x64):
    x = np.random.default_rng(0).normal(size=100)
    assert reductions.kth_smallest(x, np.ones(100), k=31) == np.sort(x)[31]
    assert reductions.kth_smallest(np.array([0.0, -0.0, -1e-300, 5.0]), np.ones(4), k=0) == -1e-300


def test_nothing_counts():
    x, none = np.full((2, 3), np.nan), np.zeros((2, 3))
    assert reductions.quantile(x, none, q=0.5) == 0 and reductions.masked_mean(x, none) == 0 and reductions.masked_std(x, none) == 0
    assert not reductions.largest(x, none, k=2).any()
    for of_rows in (reductions.row_sum, reductions.row_mean):
        np.testing.assert_array_equal(of_rows(x, none), 0)


@pytest.mark.parametrize("discount", [1.0, 0.9, 0.0])
def test_reward_to_go_passes_over_masked_tokens(x64, discount):
    rng = np.random.default_rng(0)
    r, mask = rng.normal(size=(4, 6)), rng.integers(0, 2, (4, 6))
    expected = np.zeros((4, 6))
    for b in range(4):
        total = 0.0
        for t in reversed(range(6)):
            if mask[b, t]:
                total = r[b, t] + discount * total
                expected[b, t] = total
    np.testing.assert_allclose(reductions.reward_to_go(np.where(mask, r, np.nan), mask, discount=discount), expected, rtol=1e-9, atol=1e-12)


def test_masked_statistics(x64):
    rng = np.random.default_rng(1)
    x, mask = rng.normal(size=(4, 6)), rng.integers(0, 2, (4, 6))
    inside = x[mask == 1]
    np.testing.assert_allclose(reductions.masked_mean(x, mask), inside.mean(), rtol=1e-9)
    np.testing.assert_allclose(reductions.masked_std(x, mask), inside.std(ddof=1), rtol=1e-9)
    np.testing.assert_allclose(reductions.masked_std(x, mask, ddof=0), inside.std(), rtol=1e-9)
    assert reductions.masked_std(np.full(7, 0.7, np.float32), np.ones(7)) == 0
    assert np.isfinite(jax.grad(lambda y: reductions.masked_std(y, mask))(jnp.full((4, 6), 0.7))).all()


def test_sequence_log_ratio_and_straight_through(x64):
    rng = np.random.default_rng(2)
    new, old, mask = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), np.array([[1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    expected = ((new - old) * mask).sum(1)
    np.testing.assert_allclose(reductions.sequence_log_ratio(new, old, mask), expected, rtol=1e-9)
    np.testing.assert_allclose(reductions.sequence_log_ratio(new, old, mask, mean=True), expected / [3, 1, 4], rtol=1e-9)
    assert reductions.sequence_log_ratio(100 + new, old, mask)[2] == 20
    value, slope = jax.value_and_grad(lambda x: reductions.straight_through(x**3, 5 * x))(2.0)
    assert (value, slope) == (8, 5)


def test_pack_and_unpack():
    x = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 9, 9, 9]])
    mask = np.array([[1, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]])
    packed = np.array([[1.0, 3, 4, 0], [8, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(reductions.pack(np.where(mask, x, np.nan), mask), packed)
    np.testing.assert_array_equal(reductions.unpack(packed, mask), x * mask)
    assert reductions.pack(x.astype(np.int32), mask).dtype == np.int32
    gradient = jax.grad(lambda y: jnp.sum(reductions.pack(y, mask) * jnp.arange(1.0, 5)))(jnp.where(mask == 1, x, jnp.nan))
    np.testing.assert_array_equal(gradient, [[1, 0, 2, 3], [0, 0, 0, 1], [0, 0, 0, 0]])


def test_one_number():
    assert reductions.one_number(3) == 3 and reductions.one_number(np.full((4, 1), 0.5)) == 0.5
