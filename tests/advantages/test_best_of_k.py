import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import assert_gradient

from pojax import advantages

R4 = np.array([0.2, 0.9, 0.5, 0.0])
ZEROS = np.zeros(4, int)
RATIOS = np.array([1.1, 0.9, 1.05, 0.8])


def old_for(ratios):
    """Log-probabilities [B, 2] whose sequence ratios are given; a third, masked token holds junk."""
    new = np.tile([-0.7, -1.1, np.nan], (len(ratios), 1))
    return (
        new,
        new - np.stack([0.4 * np.log(ratios), 0.6 * np.log(ratios), np.zeros(len(ratios))], axis=1),
        np.tile([1, 1, 0], (len(ratios), 1)),
    )


def subsets(r, k, weight=lambda s: 1.0):
    """Each row's share by enumeration: the mean over all subsets of k of their maximum, where the row is in the subset."""
    n = len(r)
    share = np.zeros(n)
    for chosen in itertools.combinations(range(n), k):
        for i in chosen:
            share[i] += weight(chosen) * max(r[list(chosen)]) / math.comb(n, k)
    return share


def per_group(rule, groups, *columns):
    out = np.zeros(len(groups))
    for g in set(groups[groups >= 0].tolist()):
        out[groups == g] = rule(*(c[groups == g] for c in columns))
    return out


def test_worked_examples_of_max_at_k():
    np.testing.assert_allclose(advantages.max_at_k(R4, ZEROS, k=2), [0.266667, 0.45, 0.316667, 0.266667], rtol=2e-6)
    value = advantages.group_normalize(advantages.max_at_k(R4, ZEROS, k=2), ZEROS)
    np.testing.assert_allclose(value, [-0.673568, 1.44336, -0.0962239, -0.673568], rtol=1e-5)
    new, old, mask = old_for(RATIOS)
    expected = {2: [0.275833, 0.3975, 0.309167, 0.205833], 3: [0.535, 0.585, 0.52375, 0.4675]}
    for k, shares in expected.items():
        np.testing.assert_allclose(advantages.max_at_k_off_policy(R4, new, old, mask, ZEROS, k=k), shares, rtol=2e-6)
    exact = subsets(R4, 2, lambda s: np.prod(RATIOS[list(s)]))
    np.testing.assert_allclose(exact, [0.274083, 0.39825, 0.308, 0.207333], rtol=2e-6)  # what the first order approximates


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_max_at_k_by_enumeration(x64, k):
    rng = np.random.default_rng(k)
    groups = rng.permutation(np.repeat([4, 0, 9, -1], [5, 7, 6, 2]))
    r = np.round(rng.uniform(size=20), 1)  # with ties
    junk = np.where(groups < 0, np.nan, r)
    value = np.asarray(advantages.max_at_k(junk, groups, k=k))
    np.testing.assert_allclose(value, per_group(lambda x: subsets(x, k), groups, r), rtol=1e-9, atol=1e-14)
    for g in (4, 0, 9):
        best = np.mean([max(s) for s in itertools.combinations(r[groups == g], k)])
        np.testing.assert_allclose(value[groups == g].sum(), k * best, rtol=1e-9)
    ratios = rng.uniform(0.5, 1.5, 20)
    new, old, mask = old_for(ratios)
    old = np.where((groups < 0)[:, None], np.nan, old)

    def first_order(r, ratios):
        return subsets(r, k) + sum(subsets(r, k, lambda s, i=i: float(i in s)) * (ratios[i] - 1) for i in range(len(r)))

    value = advantages.max_at_k_off_policy(junk, new, old, mask, groups, k=k)
    np.testing.assert_allclose(value, per_group(first_order, groups, r, ratios), rtol=1e-9, atol=1e-14)
    same = advantages.max_at_k_off_policy(junk, new, new, mask, groups, k=k)
    np.testing.assert_allclose(same, advantages.max_at_k(junk, groups, k=k), rtol=1e-9, atol=1e-14)
    smooth = rng.normal(size=20)  # without ties
    assert_gradient(lambda r: advantages.max_at_k(r, groups, k=k), smooth)
    assert_gradient(lambda r: advantages.max_at_k_off_policy(r, new, new, mask, groups, k=k), smooth)


def test_extremes_of_k():
    np.testing.assert_allclose(advantages.max_at_k(R4, ZEROS, k=1), R4 / 4, rtol=1e-6)
    whole = advantages.max_at_k(R4, ZEROS, k=4)
    np.testing.assert_allclose(whole, np.full(4, 0.9), rtol=1e-6)
    assert not np.asarray(advantages.group_normalize(whole, ZEROS)).any()  # no signal
    for k in (0, 5):
        with pytest.raises(ValueError, match=rf"max_at_k: k is {k}, allowed: \[1"):
            advantages.max_at_k(R4, ZEROS, k=k)
    with pytest.raises(ValueError, match=r"max_at_k_off_policy: k is 3, allowed: \[1, 2\]"):
        advantages.max_at_k_off_policy(R4, *old_for(RATIOS), np.array([0, 0, 1, 1]), k=3)
    ragged = np.array([0, 0, 0, 7])  # traced, a group with too few rows has no signal
    value = np.asarray(jax.jit(lambda g: advantages.max_at_k(R4, g, k=3))(jnp.asarray(ragged)))
    np.testing.assert_allclose(value, [0.9, 0.9, 0.9, 0], rtol=1e-6)


def test_worked_example_of_best_minus_second():
    r, groups = np.array([0.2, 0.9, 0.5, 0, 1, 1]), np.array([3, 3, 3, 0, 0, 0])
    np.testing.assert_allclose(advantages.best_minus_second(r, groups), [0, 0.4, 0, 0, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(advantages.best_minus_second(r, groups, normalize=True), [0, 1.13899, 0, 0, 0, 0], rtol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
def test_best_minus_second_in_double_precision(x64, normalize):
    rng = np.random.default_rng(2)
    groups = rng.permutation(np.repeat([4, 0, 9, 2, -1], [5, 3, 2, 1, 3]))
    r = rng.normal(size=14)

    def rule(x):
        if len(x) < 2:
            return 0 * x
        out = np.array([max(x) - max(np.delete(x, i)) for i in range(len(x))])
        return out / (x.std(ddof=1) + 1e-6) if normalize else out

    junk = np.where(groups < 0, np.nan, r)
    value = advantages.best_minus_second(junk, groups, normalize=normalize)
    np.testing.assert_allclose(value, per_group(rule, groups, r), rtol=1e-9, atol=1e-14)
    assert_gradient(lambda r: advantages.best_minus_second(r, groups, normalize=normalize), r)


def test_nothing_for_ties_and_for_a_group_of_one():
    r, groups = np.array([0.7, 0.7, 0.1, -3.0, 0.7, 0.7]), np.array([0, 0, 0, 5, 6, 6])
    for normalize in (False, True):
        np.testing.assert_array_equal(advantages.best_minus_second(r, groups, normalize=normalize), np.zeros(6))
