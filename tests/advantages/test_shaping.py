import numpy as np
import pytest

from pojax import advantages

A = np.array([1.2, 1.2, 0.8, -1.0])
DATA = dict(
    marker_position=np.array([100.0, 900, 0, 50]),
    has_marker=np.array([1, 1, 0, 1]),
    correct=np.array([1.0, 1, 1, 0]),
    lengths=np.array([1000, 1000, 800, 900]),
    groups=np.zeros(4, int),
)


def test_worked_example():
    np.testing.assert_allclose(advantages.shape_by_position(A, **DATA), [2, 0.4, 0.8, -1], rtol=1e-5)
    np.testing.assert_allclose(advantages.shape_by_position(A, **DATA, delta=-10.0, cap=0.5), [1.8, 0.6, 0.8, -1], rtol=1e-5)


def test_a_correct_response_below_zero_takes_the_upper_bound():
    a = np.array([-1.0, 1.2, 0.8, -1.0])
    np.testing.assert_allclose(advantages.shape_by_position(a, **DATA)[0], -1.7, rtol=1e-5)


def test_against_loops(x64):
    rng = np.random.default_rng(0)
    n = 24
    a, groups = rng.normal(size=n), rng.integers(-1, 4, n)
    position, length = rng.uniform(0, 50, n), rng.integers(1, 100, n)
    has, correct = rng.integers(0, 2, n), rng.integers(0, 2, n).astype(float)
    found = advantages.shape_by_position(a, position, has, correct, length, groups, delta=-1.5, cap=0.6)
    changed = 0
    for b in range(n):
        mates = [r for r in range(n) if groups[r] == groups[b] and has[r] and correct[r]]
        expected = 0.0 if groups[b] < 0 else a[b]
        if groups[b] >= 0 and b in mates:
            bias = -1.5 * (position[b] - np.mean(position[mates])) / np.mean(length[mates])
            expected += min(max(bias, -0.6 * a[b]), 0.6 * a[b])
            changed += len(mates) > 1
        np.testing.assert_allclose(found[b], expected, rtol=1e-9)
    assert changed > 3


def test_no_change():
    alone = DATA | dict(has_marker=np.array([1, 0, 0, 1]))
    np.testing.assert_array_equal(advantages.shape_by_position(A, **alone), A.astype(np.float32))
    none = DATA | dict(has_marker=np.zeros(4, int))
    np.testing.assert_array_equal(advantages.shape_by_position(A, **none), A.astype(np.float32))
    np.testing.assert_array_equal(advantages.shape_by_position(np.zeros(4), **DATA), np.zeros(4))  # all correct: A = 0, and so is the bound
    with pytest.raises(ValueError, match="cap is 1"):
        advantages.shape_by_position(A, **DATA, cap=1.0)


def test_first_marker_counts_own_tokens():
    tokens = np.array([[7, 3, 7, 3], [3, 3, 1, 1], [7, 7, 7, 7], [3, 1, 1, 3]])
    mask = np.array([[1, 1, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]])
    position, has = advantages.first_marker(tokens, mask, token=3)
    np.testing.assert_array_equal(position, [1, 0, 0, 2])
    np.testing.assert_array_equal(has, [1, 0, 0, 1])
