import numpy as np
import pytest
from arrays import assert_gradient

from pojax import advantages


def reference(rewards, ends, mask, groups, ddof, epsilon):
    """Group by group, token by token."""
    out = np.zeros(rewards.shape)
    for g in set(groups[groups >= 0].tolist()):
        places = [(b, t) for b in np.flatnonzero(groups == g) for t in range(rewards.shape[1]) if mask[b, t] and ends[b, t]]
        steps = np.array([rewards[p] for p in places])
        if len(steps) < 2 or np.ptp(steps) == 0:
            continue
        z = dict(zip(places, (steps - steps.mean()) / (steps.std(ddof=ddof) + epsilon), strict=True))
        for b in np.flatnonzero(groups == g):
            for t in range(rewards.shape[1]):
                out[b, t] = mask[b, t] * sum(value for (row, end), value in z.items() if row == b and end >= t)
    return out


def test_worked_example():
    rewards, ends = np.array([[0, 0.2, 0, 0.8], [0.5, 0, 0.1, 0]]), np.array([[0, 1, 0, 1], [1, 0, 1, 0]])
    value = advantages.process_normalize(rewards, np.ones((2, 4)), np.array([0, 0]), ends)
    expected = [[0.632454, 0.632454, 1.26491, 1.26491], [-0.632454, -0.94868, -0.94868, 0]]
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ddof", [0, 1])
def test_double_precision(x64, ddof):
    rng = np.random.default_rng(0)
    groups = np.array([4, 1, -1, 4, 1, 4, 8, 6, 6])
    rewards, mask, ends = rng.normal(size=(9, 5)), rng.integers(0, 2, (9, 5)), rng.integers(0, 2, (9, 5))
    mask[3] = 0
    rewards[groups == 6] = 0.7
    junk = np.where((mask == 0) | (groups < 0)[:, None], np.nan, rewards)
    expected = reference(rewards, ends, mask, groups, ddof, 0.01)
    value = advantages.process_normalize(junk, mask, groups, ends, epsilon=0.01, ddof=ddof)
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)
    everywhere = advantages.process_normalize(junk, mask, groups, epsilon=0.01, ddof=ddof)
    np.testing.assert_allclose(everywhere, reference(rewards, np.ones((9, 5)), mask, groups, ddof, 0.01), rtol=1e-9, atol=1e-12)
    smooth = rng.normal(size=(9, 5))
    assert_gradient(lambda x: advantages.process_normalize(x, mask, groups, ends, epsilon=0.01, ddof=ddof), smooth)


def test_one_step_each_is_outcome_supervision():
    r, groups = np.array([1.0, 0.2, 0.7, 0.1]), np.array([3, 3, 0, 0])
    last = np.tile([0, 0, 1], (4, 1))
    value = advantages.process_normalize(r[:, None] * last, np.ones((4, 3)), groups, last)
    np.testing.assert_allclose(value, np.tile(advantages.group_normalize(r, groups)[:, None], 3), rtol=1e-5)


def test_equal_steps_and_a_single_step_give_zero():
    mask = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]])
    value = np.asarray(advantages.process_normalize(np.full((4, 3), 0.7, np.float32), mask, np.array([0, 0, 5, -1])))
    np.testing.assert_array_equal(value, np.zeros((4, 3)))
    assert not np.asarray(advantages.process_normalize(np.eye(4, 3), 0 * mask, np.zeros(4, int))).any()
