from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX

from pojax import advantages, losses, schedules
from pojax.losses import aggregations as aggregate

ENTROPY = np.array([[0.3, 1.2, 0.1], [2.0, 0.4, 0.9], [0.2, 0.7, 1.5], [1.1, 0.6, 9.0]])


# -- high-entropy tokens ----------------------------------------------------------------------------------------------------------


def test_worked_example_of_high_entropy_tokens():
    chosen = advantages.high_entropy_tokens(ENTROPY, EX.mask, share=0.4)
    np.testing.assert_array_equal(chosen, [[0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 0, 0]])

    def loss(logprobs):
        return jnp.sum(aggregate.sequence_mean(EX.mask) * chosen * losses.ppo_clip(logprobs, EX.old, EX.advantages, epsilon=0.2))

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(EX.logprobs))
    np.testing.assert_allclose(value, 0.727757, rtol=1e-5)
    assert not np.any(np.asarray(gradient)[np.asarray(chosen) == 0]) and np.any(gradient)


def test_high_entropy_tokens_in_double_precision(x64):
    rng = np.random.default_rng(0)
    entropy, keep = rng.gamma(1.0, size=(7, 9)), rng.random((7, 9)) < 0.7
    for share in (0.0, 0.1, 0.2, 0.5, 0.9, 1.0):
        expected = keep & (entropy >= np.quantile(entropy[keep], 1 - share))
        np.testing.assert_array_equal(advantages.high_entropy_tokens(entropy, keep, share=share), expected)


def test_high_entropy_tokens_of_all_ties_and_of_nothing():
    np.testing.assert_array_equal(advantages.high_entropy_tokens(ENTROPY, EX.mask, share=1.0), EX.mask)
    np.testing.assert_array_equal(advantages.high_entropy_tokens(np.ones((4, 3)), EX.mask, share=0.1), EX.mask)  # ties are kept
    assert not np.any(advantages.high_entropy_tokens(ENTROPY, 0 * EX.mask))
    junk = np.where(EX.mask == 1, ENTROPY, np.nan)
    np.testing.assert_array_equal(
        advantages.high_entropy_tokens(junk, EX.mask, share=0.4), advantages.high_entropy_tokens(ENTROPY, EX.mask, share=0.4)
    )
    # An exact position of the quantile: 100 tokens and more, of which a fifth is wanted.
    for number in (101, 1001, 100_001):
        entropy = np.random.default_rng(number).permutation(number)[None].astype(np.float32)
        assert np.sum(advantages.high_entropy_tokens(entropy, np.ones((1, number)), share=0.2)) == (number - 1) // 5 + 1


def test_high_entropy_tokens_refuse_a_share_that_is_none():
    with pytest.raises(ValueError, match="share"):
        advantages.high_entropy_tokens(ENTROPY, EX.mask, share=1.5)


# -- rows of maximal variance -----------------------------------------------------------------------------------------------------

A = np.array([1.2, -0.3, 0.1, -1.5, 0.0, 0.7])


def rows_kept(a, groups=None, keep=None, **hyper):
    groups = np.zeros(len(a), int) if groups is None else groups
    keep = np.ones((len(a), 2)) if keep is None else keep
    kept = np.asarray(advantages.max_variance_rows(a, keep, groups, **hyper))
    assert ((kept == 0) | (kept == keep)).all()
    return np.flatnonzero(kept.any(axis=1))


def test_worked_example_of_max_variance_rows():
    np.testing.assert_array_equal(rows_kept(A, number=3.0), [0, 3, 5])
    np.testing.assert_array_equal(rows_kept(A, number=3.4), [0, 3, 5])  # rounded
    np.testing.assert_array_equal(rows_kept(A, number=9.0), np.arange(6))
    number, share = (
        schedules.linear(250, start=start, end=end, steps=1000) for start, end in ((32.0, 128.0), (0.2, 1.0))
    )  # a quarter of the run
    np.testing.assert_allclose([number, share], [56, 0.4], rtol=1e-6)


def test_max_variance_rows_against_every_subset(x64):
    rng = np.random.default_rng(1)
    for size, number in ((7, 3), (9, 8)):
        a = rng.normal(size=size)
        best = max(np.var(a[list(rows)]) for rows in combinations(range(size), number))
        found = rows_kept(a, number=float(number))
        assert len(found) == number
        np.testing.assert_allclose(np.var(a[found]), best, rtol=1e-12)


def test_max_variance_rows_of_groups_of_rows_without_tokens_and_of_rows_out():
    groups = np.array([4, 9, 4, -1, 9, 4, 9, 4])
    a = np.array([1.0, 5.0, -1.0, 99.0, 5.5, 0.1, 9.0, -0.5])
    keep = np.ones((8, 2))
    keep[2] = 0  # the lowest of group 4 has no token
    found = rows_kept(a, groups, keep, number=2.0, level="group")
    np.testing.assert_array_equal(found, [0, 1, 6, 7])
    np.testing.assert_array_equal(rows_kept(a, groups, keep, number=2.0), [6, 7])  # 9 and -0.5 of the whole batch


def test_equal_variances_take_fewer_low_rows():
    for scale in (1.0, 0.1, 1 / 3):
        np.testing.assert_array_equal(rows_kept(scale * np.array([2.0, 1.0, -1.0, -2.0], np.float32), number=3.0), [0, 1, 3])
    assert len(rows_kept(np.zeros(5), number=2.0)) == 2
    assert len(rows_kept(np.zeros(3), np.full(3, -1), number=2.0)) == 0
    with pytest.raises(ValueError, match="number is 0"):
        rows_kept(A, number=0.0)


# -- tokens of largest |A| H ------------------------------------------------------------------------------------------------------


def test_worked_example_of_top_advantage_entropy_tokens():
    mask = np.array([[1, 1, 1], [1, 1, 0]])
    entropy = [[0.1, 0.9, 0.5], [2, 0.2, 3]]
    kept = advantages.top_advantage_entropy_tokens(np.array([1.2, -0.5]), np.array(entropy), mask, share=0.4)
    np.testing.assert_array_equal(kept, [[0, 1, 0], [1, 0, 0]])


def test_top_advantage_entropy_tokens_against_a_sort(x64):
    rng = np.random.default_rng(2)
    entropy, keep, a = rng.gamma(1.0, size=(6, 8)), rng.random((6, 8)) < 0.8, rng.normal(size=6)
    score = np.where(keep, np.abs(a)[:, None] * entropy, -1).reshape(-1)
    for share in (0.01, 0.3, 0.55, 1.0):
        wanted = int(np.ceil(share * keep.sum() - 1e-9))
        expected = np.zeros(48, bool)
        expected[np.argsort(-score)[:wanted]] = True
        for form in (a, np.repeat(a[:, None], 8, axis=1)):
            found = advantages.top_advantage_entropy_tokens(form, entropy, keep, share=share)
            np.testing.assert_array_equal(found, expected.reshape(6, 8))


def test_top_advantage_entropy_tokens_at_the_ends():
    ones, zeros = np.ones((2, 5)), np.zeros(2)
    for share, number in ((0.0, 1), (0.1, 1), (0.3, 3), (0.7, 7), (1.0, 10)):
        kept = np.asarray(advantages.top_advantage_entropy_tokens(zeros, ones, ones, share=share))
        assert kept.sum() == number and kept.reshape(-1)[:number].all()  # ties by first index
    assert not np.any(advantages.top_advantage_entropy_tokens(zeros, ones, 0 * ones, share=0.5))
