import jax
import numpy as np
import pytest

from pojax import advantages

REWARDS, SIGNATURE = np.array([1, 0, 1, 0.5]), np.array([0, 1, 0, 2])
SETS = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]])  # members (0, 1), (0, 2), (1, 3), (2, 3)


def test_success_times_diversity():
    value = advantages.set_advantages(REWARDS, SIGNATURE, SETS, np.zeros(4, int))
    np.testing.assert_allclose(value, [0, -0.125, 0.125, 0], atol=1e-7)
    total = advantages.set_advantages(REWARDS, SIGNATURE, SETS, np.zeros(4, int), several="sum")
    np.testing.assert_allclose(total, [0, -0.25, 0.25, 0], atol=1e-7)


@pytest.mark.parametrize("several", ["mean", "sum"])
@pytest.mark.parametrize("seed", range(3))
def test_double_precision(x64, several, seed):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat([6, 2, -1], [7, 5, 2]))
    r, kind, sets = rng.uniform(size=14), rng.integers(0, 3, 14), rng.integers(0, 2, (14, 4))
    expected = np.zeros(14)
    for g in (2, 6):
        rows = np.flatnonzero(groups == g)
        f = {}
        for m in range(4):
            members = [b for b in rows if sets[b, m]]
            if members:
                f[m] = np.mean(r[members]) * len(set(kind[members])) / len(members)
        for b in rows:
            mine = [f[m] - np.mean(list(f.values())) for m in range(4) if sets[b, m]]
            expected[b] = (np.sum(mine) if several == "sum" else np.mean(mine)) if mine else 0.0
    rule = jax.jit(lambda r: advantages.set_advantages(r, kind, sets, groups, several=several))
    np.testing.assert_allclose(rule(np.where(groups < 0, np.nan, r)), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rewards", [np.zeros(4), np.ones(4)])
def test_all_fail_or_all_the_same(rewards):
    same = np.zeros(4, int)
    np.testing.assert_array_equal(advantages.set_advantages(rewards, same, SETS, same), np.zeros(4))
    lonely = advantages.set_advantages(REWARDS, SIGNATURE, SETS[:, :1] * 0, same)
    np.testing.assert_array_equal(lonely, np.zeros(4))


def test_drawn_sets():
    groups = np.array([3, 3, 3, 3, 3, 1, 1, -1])
    sets = np.asarray(advantages.random_sets(jax.random.key(0), groups, set_size=3, sets_per_group=40))
    assert sets.shape == (8, 40) and set(np.unique(sets)) == {0.0, 1.0}
    np.testing.assert_array_equal(sets[:5].sum(0), np.full(40, 3))
    np.testing.assert_array_equal(sets[5:], np.repeat([[1.0], [1.0], [0.0]], 40, axis=1))  # too few rows: all of them
    assert len({tuple(s) for s in sets.T}) == 10  # all of the 3 out of 5
    assert np.all(np.abs(sets[:5].mean(1) - 0.6) < 0.25)


def test_identical_responses():
    tokens = np.array([[3, 5, 9], [3, 5, 7], [3, 5, 9], [3, 5, 9], [3, 5, 1], [0, 5, 9]])
    mask = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 1, 0], [1, 1, 1], [0, 1, 1]])
    groups = np.array([4, 4, 4, 0, -1, 4])
    value = advantages.identical_responses(tokens, mask, groups)
    np.testing.assert_array_equal(value, [0, 0, 2, 3, -1, 5])  # masked tokens are no part of it, other groups no siblings
    rng = np.random.default_rng(1)
    tokens, mask, groups = rng.integers(0, 2, (40, 3)), rng.integers(0, 2, (40, 3)), rng.integers(-1, 3, 40)
    value = np.asarray(advantages.identical_responses(tokens, mask, groups))
    text = [(g, tuple(np.where(m, t, -1))) for g, m, t in zip(groups.tolist(), mask, tokens, strict=True)]
    assert value.tolist() == [-1 if g < 0 else text.index((g, x)) for g, x in text]


def test_first_tokens():
    mask = np.array([[0, 1, 1, 1], [1, 0, 1, 1]])
    value = advantages.first_tokens(np.array([1.0, 2.0]), np.array([[0.1] * 4, [0.2] * 4]), mask, window=1)
    np.testing.assert_allclose(value, [[0, 1, 1, 0.1], [2, 0, 2, 0.2]], rtol=1e-6)
