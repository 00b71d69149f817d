import numpy as np
import pytest
from arrays import EX

from pojax import advantages

COLLISIONS = np.array([[0.3, 0.4, 0.2], [0.5, 0.3, 0.4], [0.35, 0.5, 0.1], [0.25, 0.45, 0.6]])
DENSE = np.array([[0, 0, 1.0], [0, 0, 0], [0, 0, 0.8], [0, 0.1, 0]])
GROUPS = np.array([0, 0, 1, 1])
NONE = np.zeros(4)


def otb(mask=EX.mask, **given):
    return np.asarray(advantages.optimal_token_baseline(NONE, EX.old, COLLISIONS, mask, GROUPS, DENSE, **given))


def test_worked_example(x64):
    expected = [
        [0.632541, 0.650388, 0.564991],
        [-0.367459, -0.349612, -0.435009],
        [0.438244, 0.445729, 0.8],
        [-0.261756, -0.254271, 0],
    ]
    np.testing.assert_allclose(otb(), expected, rtol=1e-5)
    tail = otb(zero_tail=False)
    np.testing.assert_allclose(tail[2, 2], 4e-9, rtol=0.1)
    np.testing.assert_array_equal(np.delete(tail.reshape(-1), 8), np.delete(otb().reshape(-1), 8))


def test_worked_example_with_a_hole(x64):
    mask = EX.mask.copy()
    mask[0, 1] = 0
    np.testing.assert_allclose(otb(mask)[:2], [[0.632541, 0, 0.618841], [-0.367459, 0, 0]], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(otb(mask, packed=True)[:2], [[0.632541, 0, 0.558082], [-0.367459, -0.441918, 0]], rtol=1e-5, atol=1e-9)


def reference(rewards, old, collisions, mask, groups, dense, rho, packed, zero_tail, singles):
    """Group by group and step by step."""
    rows, width = mask.shape
    out = np.zeros(mask.shape)
    returns = np.array([[rewards[b] + sum(dense[b, k] for k in range(t, width) if mask[b, k]) for t in range(width)] for b in range(rows)])
    energy = (1 - 2 * np.exp(old) + collisions) * rho**2
    total = np.array([[sum(energy[b, k] for k in range(t + 1) if mask[b, k]) for t in range(width)] for b in range(rows)])
    for g in set(groups[groups >= 0]):
        members = [b for b in range(rows) if groups[b] == g and mask[b].any()]
        if len(members) == 1:
            out[members[0]] = mask[members[0]] * returns[members[0]] if singles == "reward" else 0
            continue
        # The column in which row b's token of time t stands.
        at = [dict(enumerate(np.flatnonzero(mask[b]))) if packed else {t: t for t in np.flatnonzero(mask[b])} for b in members]
        lengths = [len(a) for a in at]
        second = sorted(lengths)[-2] if len(members) > 1 else 0
        for t in range(width):
            there = [(b, a[t]) for b, a in zip(members, at, strict=True) if t in a]
            weight = sum(total[i] for i in there)
            baseline = sum(returns[i] * total[i] for i in there) / (weight + 1e-8)
            for i in there:
                longest = lengths[members.index(i[0])] > second
                out[i] = returns[i] - (0 if zero_tail and longest and t >= second else baseline)
    return out


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("zero_tail", [False, True])
@pytest.mark.parametrize("singles", ["zero", "reward"])
def test_against_loops(x64, packed, zero_tail, singles):
    rng = np.random.default_rng(0)
    for _ in range(4):
        rewards, groups = rng.normal(size=10), rng.integers(-1, 4, 10)
        groups[0] = 7
        old, collisions = -rng.gamma(1.0, size=(10, 6)), rng.uniform(0.1, 0.9, (10, 6))
        mask, dense, rho = rng.random((10, 6)) < 0.6, rng.normal(size=(10, 6)), rng.uniform(0.5, 2, (10, 6))
        mask[3] = False
        found = advantages.optimal_token_baseline(
            rewards, old, collisions, mask, groups, dense, rho, packed=packed, zero_tail=zero_tail, singles=singles
        )
        expected = reference(rewards, old, collisions, mask, groups, dense, rho, packed, zero_tail, singles)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_equal_energies_give_the_mean_of_the_group_and_none_give_the_return():
    rewards, mask = np.array([1.0, 0.0, 0.8, 0.1]), np.ones((4, 3))
    same = advantages.optimal_token_baseline(rewards, np.full((4, 3), -0.7), np.full((4, 3), 0.5), mask, GROUPS)
    np.testing.assert_allclose(same, np.asarray(advantages.group_center(rewards, GROUPS))[:, None] * mask, rtol=1e-5)
    certain = advantages.optimal_token_baseline(rewards, np.zeros((4, 3)), np.ones((4, 3)), mask, GROUPS)
    np.testing.assert_array_equal(certain, np.float32(rewards)[:, None] * mask)
    alone = advantages.optimal_token_baseline(rewards, EX.old, COLLISIONS, mask, np.arange(4))
    assert not np.any(alone)
    with pytest.raises(ValueError, match="singles"):
        advantages.optimal_token_baseline(rewards, EX.old, COLLISIONS, mask, GROUPS, singles="keep")
