import numpy as np
import pytest
from arrays import assert_gradient

from pojax import advantages, rewards

R = np.array([1.0, 1, 0, 1])
OLD = np.array([[-0.1, -0.1], [-2, -1], [-0.5, -0.5], [-0.3, 0.0]])
MASK = np.array([[1, 1], [1, 1], [1, 1], [1, 0]])


def test_worked_example():
    code = rewards.unlikeliness(R, OLD, MASK, np.zeros(4, int), form="code")
    np.testing.assert_allclose(code, [0.8125, 1, 0, 0.875], rtol=1e-6)
    np.testing.assert_allclose(rewards.unlikeliness(R, OLD, MASK, np.zeros(4, int)), [0.75, 0.9375, 0, 0.8125], rtol=1e-6)
    value = advantages.group_normalize(code, np.zeros(4, int))
    np.testing.assert_allclose(value, [0.309304, 0.721709, -1.47779, 0.446772], rtol=1e-5)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_double_precision(x64, form):
    rng = np.random.default_rng(0)
    groups = np.array([4, 1, 4, -1, 1, 4, 4, 9])
    r, old, mask = rng.normal(size=8), np.round(rng.normal(size=(8, 3)), 1), rng.integers(0, 2, (8, 3))
    old[5], mask[5] = old[2], mask[2]  # a tie: the earlier row counts as less likely
    expected = np.zeros(8)
    for b in np.flatnonzero(groups >= 0):
        score = [np.sum(old[i] * mask[i]) / max(mask[i].sum(), 1) for i in range(8)]
        rank = sum(groups[i] == groups[b] and (score[i], i) < (score[b], b) for i in range(8))
        size = np.sum(groups == groups[b])
        lost = (size - (size - 1 - rank)) / size if form == "paper" else rank / size  # the paper's rank is 0 for the likeliest
        expected[b] = r[b] * (1 - 0.3 * lost)
    junk = np.where(groups < 0, np.nan, r), np.where((mask == 0) | (groups < 0)[:, None], np.nan, old)
    np.testing.assert_allclose(rewards.unlikeliness(*junk, mask, groups, coefficient=0.3, form=form), expected, rtol=1e-9)
    assert_gradient(lambda r: rewards.unlikeliness(r, old, mask, groups, form=form), r)


def test_degenerate():
    groups = np.array([0, 0, 0, 5])
    all_right = np.asarray(rewards.unlikeliness(np.ones(4), np.full((4, 2), -1.0), MASK, groups))
    np.testing.assert_allclose(all_right, 1 - 0.25 * np.array([1 / 3, 2 / 3, 1, 1]), rtol=1e-6)  # ties by row, and not equal any more
    assert np.asarray(advantages.group_normalize(all_right, groups))[:3].any()
    np.testing.assert_array_equal(rewards.unlikeliness(np.zeros(4), OLD, MASK, groups), np.zeros(4))
    with pytest.raises(ValueError, match="form is 'release', allowed: {paper, code}"):
        rewards.unlikeliness(R, OLD, MASK, groups, form="release")
