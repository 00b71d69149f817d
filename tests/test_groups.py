import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st

from pojax import groups


def test_ids_are_dense_and_keep_minus_one():
    for ids in (groups.ids, jax.jit(groups.ids)):
        np.testing.assert_array_equal(ids(np.array([5, -1, 9, 5, 0])), [1, -1, 2, 1, 0])
        np.testing.assert_array_equal(ids(np.array([2, 1, 2, 2, 1])), [1, 0, 1, 1, 0])
        np.testing.assert_array_equal(ids(np.array([-1, -1, -1, -1, -1])), -1)
    np.testing.assert_array_equal(groups.ids(jnp.array([5, -1, 9, 5, 0])), [1, -1, 2, 1, 0])


def test_ids_beyond_32_bits_stay_apart():
    np.testing.assert_array_equal(groups.ids(np.array([2**40, 3, 2**40 + 2**32])), [1, 0, 2])


def test_ids_of_no_rows():
    assert groups.ids(np.zeros(0, int)).shape == groups.ids(jnp.zeros(0, int)).shape == (0,)


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray])
def test_ids_refuses(convert):
    with pytest.raises(ValueError, match="an id is -5, allowed"):
        groups.ids(convert([-5, 0]))


def test_ids_refuses_floats():
    with pytest.raises(ValueError, match="ids are float32, allowed: integers"):
        inspect.unwrap(groups.ids)(np.zeros(2, np.float32))


@settings(max_examples=30)
@given(st.lists(st.integers(-1, 4), min_size=6, max_size=6), st.integers(0, 2**31))
def test_group_statistics_equal_a_loop(ids, seed):
    ids, x = np.array(ids), np.random.default_rng(seed).normal(size=6).astype(np.float32)
    poisoned = np.where(ids >= 0, x, np.nan).astype(np.float32)
    total, size = (np.array([f(x[ids == i]) if i >= 0 else 0.0 for i in ids]) for f in (np.sum, len))
    np.testing.assert_allclose(groups.group_sum(poisoned, ids), total, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(groups.group_size(ids), size)
    np.testing.assert_allclose(groups.group_mean(poisoned, ids), total / np.maximum(size, 1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(groups.all_equal(np.round(poisoned), ids), [i < 0 or len(set(np.round(x)[ids == i])) == 1 for i in ids])


def test_all_equal_sees_what_a_variance_cannot():
    x = np.full(7, 0.7, np.float32)
    assert np.any(x - np.asarray(groups.group_mean(x, np.zeros(7, int))) != 0)  # the trap is there
    assert np.all(groups.all_equal(x, np.zeros(7, int)))
    assert not np.any(groups.all_equal(np.nextafter(x, 1, where=np.arange(7) == 3, out=x.copy()), np.zeros(7, int)))


def test_whole_batch_is_one_group():
    np.testing.assert_array_equal(groups.whole_batch(np.array([4, -1, 0])), [0, -1, 0])
    np.testing.assert_array_equal(groups.inside(np.array([4, -1, 0])), [True, False, True])


def test_statistics_of_groups_are_numpys(x64):
    rng = np.random.default_rng(0)
    ids, x = rng.permutation(np.repeat([7, 0, 3, -1], [4, 5, 3, 2])), rng.normal(size=(14, 3))
    y = np.where(ids < 0, np.nan, x[:, 0].round(1))
    expected = {name: np.zeros(14) for name in ("max", "min", "std", "rank")}
    totals = np.zeros((14, 3))
    for i in (0, 3, 7):
        rows = np.flatnonzero(ids == i)
        expected["max"][rows], expected["min"][rows], expected["std"][rows] = y[rows].max(), y[rows].min(), y[rows].std(ddof=1)
        expected["rank"][rows[np.argsort(y[rows], kind="stable")]] = np.arange(len(rows))
        totals[rows] = x[rows].mean(0)
    expected["rank"][ids < 0] = -1
    np.testing.assert_allclose(groups.group_mean(np.where((ids < 0)[:, None], np.nan, x), ids), totals, rtol=1e-9)
    np.testing.assert_allclose(groups.group_max(y, ids), expected["max"])
    np.testing.assert_allclose(groups.group_min(y, ids), expected["min"])
    np.testing.assert_allclose(groups.group_std(y, ids), expected["std"], rtol=1e-9)
    np.testing.assert_array_equal(groups.group_rank(y, ids), expected["rank"])


def test_log_mean_exp_and_variance(x64):
    rng = np.random.default_rng(3)
    ids, x = rng.permutation(np.repeat([4, 0, 9, -1], [5, 3, 1, 2])), rng.normal(size=11) * 3
    chosen = rng.integers(0, 2, 11)
    for selected in (None, chosen):
        expected, variance = np.zeros(11), np.zeros(11)
        for i in (4, 0, 9):
            rows = np.flatnonzero(ids == i)
            used = [b for b in rows if selected is None or selected[b]]
            expected[rows] = np.log(np.mean(np.exp(x[used]))) if used else 0.0
            variance[rows] = x[rows].var(ddof=1) if len(rows) > 1 else 0.0
        y = np.where((ids < 0) | (selected == 0 if selected is not None else False), np.nan, x)
        np.testing.assert_allclose(groups.group_log_mean_exp(y, ids, selected), expected, rtol=1e-9)
        np.testing.assert_allclose(groups.group_variance(np.where(ids < 0, np.nan, x), ids), variance, rtol=1e-9, atol=1e-15)
    assert_gradient(lambda y: groups.group_log_mean_exp(y, ids, chosen), x)
    assert_gradient(lambda y: groups.group_variance(y, ids), x)


def test_log_mean_exp_of_large_numbers():
    np.testing.assert_allclose(groups.group_log_mean_exp(np.array([1e5, 1e5 + 1]), np.zeros(2, int)), np.full(2, 1e5 + 0.62), rtol=1e-6)
    none = groups.group_log_mean_exp(np.array([1.0, 2.0]), np.zeros(2, int), np.zeros(2))
    np.testing.assert_array_equal(none, [0.0, 0.0])


def test_refine_is_the_pairs():
    rng = np.random.default_rng(1)
    first, second = rng.integers(-1, 4, 40), rng.integers(-1, 3, 40)
    dense = np.asarray(groups.refine(first, second))
    out = (first < 0) | (second < 0)
    np.testing.assert_array_equal(dense < 0, out)
    same = (first[:, None] == first) & (second[:, None] == second)
    np.testing.assert_array_equal((dense[:, None] == dense)[~out][:, ~out], same[~out][:, ~out])
    np.testing.assert_array_equal(np.unique(dense[~out]), np.arange(len(set(zip(first[~out], second[~out], strict=True)))))
    np.testing.assert_array_equal(groups.refine(np.array([3, 0]), np.array([1, 2])), [1, 0])


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=12))
def test_partner_is_the_neighbour_in_the_group(ids):
    expected = list(range(len(ids)))
    for name in set(ids) - {-1}:
        members = [i for i, found in enumerate(ids) if found == name]
        for first, second in zip(members[::2], members[1::2], strict=False):
            expected[first], expected[second] = second, first
    np.testing.assert_array_equal(groups.partner(np.array(ids)), expected)


def test_first_rows_and_quantiles_of_groups():
    rng = np.random.default_rng(0)
    ids = rng.permutation(np.repeat([7, 0, 3, -1], [4, 1, 6, 2]))
    x = np.where(ids < 0, np.nan, rng.normal(size=13).round(1)).astype(np.float32)
    first = np.asarray(groups.first_rows(ids))
    assert np.flatnonzero(first).tolist() == sorted(np.flatnonzero(ids == i)[0] for i in (7, 0, 3))
    assert not np.asarray(groups.first_rows(np.full(3, -1))).any()
    for q in (0.0, 0.2, 0.5, 1.0):
        expected = [np.quantile(x[ids == i], q) if i >= 0 else 0.0 for i in ids]
        np.testing.assert_allclose(groups.group_quantile(x, ids, q=q), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"group_quantile: q is 1.5, allowed: \[0, 1\]"):
        groups.group_quantile(x, ids, q=1.5)
