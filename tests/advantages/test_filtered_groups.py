import numpy as np
import pytest
from arrays import GROUPS6, REWARDS6

from pojax import advantages

LENGTHS = np.array([10, 30, 20, 5, 15, 40])
KEEP = np.ones((6, 2))


def filtered(metric, k, rewards=REWARDS6, groups=GROUPS6):
    score = advantages.brevity_score(rewards, LENGTHS, groups, 50, metric=metric)
    keep, kept = advantages.keep_best(KEEP, score, groups, k=k)
    return keep, kept, advantages.group_normalize(rewards, kept, epsilon=1e-4)


def test_card():
    keep, kept, a = filtered("length", 2)
    np.testing.assert_array_equal(keep, KEEP * np.isin(np.arange(6), [0, 2, 3, 4])[:, None])
    np.testing.assert_array_equal(kept, np.where(keep[:, 0], GROUPS6, -1))
    np.testing.assert_allclose(a, [0.707007, 0, -0.707007, 0, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(filtered("efficiency", 2)[2], [0.707007, -0.707007, 0, 0, 0, 0], rtol=1e-5)


@pytest.mark.parametrize("metric", ["length", "efficiency", "mixed"])
def test_double_precision(x64, metric):
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat([4, 9, -1, 7], [5, 4, 2, 1]))
    r, n = rng.normal(size=12), rng.integers(1, 30, 12)
    inside = groups >= 0
    efficiency = r / n
    share = efficiency / np.abs(efficiency[inside]).max()
    score = {"length": -n, "efficiency": efficiency, "mixed": 0.5 * share + 0.5 * (1 - n / 30)}[metric]
    dirty = np.where(inside, r, np.nan)
    value = advantages.brevity_score(dirty, n, groups, 30, metric=metric)
    np.testing.assert_allclose(value, np.where(inside, score, 0), rtol=1e-9)
    kept = np.full(12, -1)
    for g in (4, 9, 7):
        rows = sorted(np.flatnonzero(groups == g), key=lambda i: (-score[i], i))[:3]
        kept[rows] = g
    np.testing.assert_array_equal(advantages.keep_best(np.ones((12, 2)), value, groups, k=3)[1], kept)


def test_degenerate():
    keep, kept, a = filtered("length", 3)  # k = G is GRPO
    np.testing.assert_array_equal(keep, KEEP)
    np.testing.assert_allclose(a, advantages.group_normalize(REWARDS6, GROUPS6, epsilon=1e-4))
    assert not np.any(filtered("length", 1)[2])  # a kept set of one
    assert not np.any(filtered("efficiency", 0)[0])
    ties = advantages.keep_best(KEEP, np.ones(6), GROUPS6, k=2)[1]
    np.testing.assert_array_equal(ties, [7, 7, -1, 2, 2, -1])
    with pytest.raises(ValueError, match="k is -1"):
        advantages.keep_best(KEEP, np.ones(6), GROUPS6, k=-1)


def test_k_may_differ_between_prompts():
    kept = advantages.keep_best(KEEP, -LENGTHS.astype(float), GROUPS6, k=np.array([1.0, 1, 1, 3, 3, 3]))[1]
    np.testing.assert_array_equal(kept, [7, -1, -1, 2, 2, 2])
