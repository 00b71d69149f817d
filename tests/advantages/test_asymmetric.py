import numpy as np
import pytest
from arrays import assert_gradient

from pojax import advantages

REWARDS, LENGTHS, ONE = np.array([1.5, 0.5, 0.5, 0.0]), np.array([400, 300, 5400, 900]), np.zeros(4, int)
CORRECT = np.trunc(REWARDS)


def reference(a, correct, lengths, groups, rate, sharpness):
    pushed, weight = np.zeros(len(a)), np.zeros(len(a))
    for i in range(len(a)):
        if groups[i] < 0:
            continue
        mine = groups == groups[i]
        right = mine & (correct != 0)
        factor = 1.0
        if correct[i] == 0 and right.any():
            excess = lengths[i] - lengths[right].mean()
            factor = 1 + (1 - (1 + rate) ** -excess) if excess > 0 else 1.0
        pushed[i] = a[i] * factor
        difficulty = 1 - right.sum() / mine.sum()
        weight[i] = 1 - np.exp(-sharpness * (1 - difficulty)) if a[i] > 0 and 0 < difficulty < 1 else 1.0
    return pushed, weight


def test_card():
    a = advantages.group_normalize(REWARDS, ONE, epsilon=1e-9)
    pushed = advantages.push_long_failures(a, CORRECT, LENGTHS, ONE)
    np.testing.assert_allclose(pushed, [1.39076, -0.19868, -0.20837, -0.998354], rtol=1e-5)
    np.testing.assert_allclose(pushed / a, [1, 1, 1.04877, 1.00499], rtol=1e-5)
    for positive in ("advantage", "correct"):
        weight = advantages.difficulty_kl_weight(pushed, CORRECT, ONE, positive=positive)
        np.testing.assert_allclose(weight, [0.493165, 1, 1, 1], rtol=1e-5)


def test_double_precision(x64):
    rng = np.random.default_rng(2)
    groups = rng.permutation(np.repeat([4, 9, 2, -1, 7], [6, 5, 3, 2, 1]))
    a, lengths = rng.normal(size=17), rng.integers(1, 2000, 17)
    correct = np.where(groups == 9, 0.0, rng.integers(0, 2, 17))
    dirty = np.where(groups < 0, np.nan, a)
    pushed, weight = reference(a, correct, lengths, groups, 1e-3, 2.0)
    np.testing.assert_allclose(advantages.push_long_failures(dirty, correct, lengths, groups, rate=1e-3), pushed, rtol=1e-9)
    np.testing.assert_allclose(advantages.difficulty_kl_weight(dirty, correct, groups, sharpness=2.0), weight, rtol=1e-9)
    assert_gradient(lambda a: advantages.push_long_failures(a, correct, lengths, groups, rate=1e-3), a)


def test_degenerate():
    """Nobody correct: no push; everybody or nobody correct: full weight; the factor stays below 2 however long a response is."""
    a, n = np.array([1.0, -1.0]), np.array([1, 10**8])
    np.testing.assert_array_equal(advantages.push_long_failures(a, np.zeros(2), n, np.zeros(2, int)), a)
    np.testing.assert_allclose(advantages.push_long_failures(a, np.array([1, 0]), n, np.zeros(2, int)), [1, -2], rtol=1e-6)
    for correct in (np.zeros(2), np.ones(2)):
        np.testing.assert_array_equal(advantages.difficulty_kl_weight(a, correct, np.zeros(2, int)), [1, 1])


def test_a_positive_response_that_is_wrong():
    """Format reward in a group that is half right: by sign it counts as positive, and the push amplifies it; by correctness it does not."""
    a, correct, groups = np.array([1.0, 0.5, -1.5]), np.array([1, 0, 0]), np.zeros(3, int)
    assert advantages.difficulty_kl_weight(a, correct, groups)[1] < 1
    assert advantages.difficulty_kl_weight(a, correct, groups, positive="correct")[1] == 1
    assert advantages.push_long_failures(a, correct, np.array([1, 900, 1]), groups, rate=1e-2)[1] > 0.9
    with pytest.raises(ValueError, match="positive is 'reward', allowed: {advantage, correct}"):
        advantages.difficulty_kl_weight(a, correct, groups, positive="reward")
