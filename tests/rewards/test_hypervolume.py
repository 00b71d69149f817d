import jax
import numpy as np
import pytest
from arrays import assert_gradient

from pojax import rewards
from pojax.rewards.hypervolume import hypervolume


def by_counting(points, reference, cells=24):
    """The dominated share of a grid of cells whose corners the points lie on; points and reference are multiples of 1 / cells."""
    centres = (np.indices((cells,) * len(reference)).reshape(len(reference), -1).T + 0.5) / cells
    above = np.all(centres >= reference, axis=1)
    return np.mean(above & np.any(np.all(centres[:, None] <= points[None], axis=2), axis=1)) if len(points) else 0.0


def test_card():
    points = np.array([[0.6, 0.4], [0.3, 0.8]])
    np.testing.assert_allclose(hypervolume(points, np.ones(2), np.array([0.1, 0.2])), 0.18, rtol=1e-5)


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_double_precision(x64, objectives):
    rng = np.random.default_rng(objectives)
    rule = jax.jit(hypervolume)
    for number in (0, 1, 3, 6):
        points, reference = rng.integers(0, 25, (6, objectives)) / 24, rng.integers(0, 8, objectives) / 24
        used = np.arange(6) < number
        expected = by_counting(points[used], reference)
        np.testing.assert_allclose(rule(np.where(used[:, None], points, np.nan), used, reference), expected, rtol=1e-9, atol=1e-12)


def test_a_point_below_the_reference():
    """It dominates nothing; the released code lets its last coordinate subtract."""
    point, reference = np.array([[0.6, 0.1]]), np.array([0.1, 0.2])
    assert hypervolume(point, np.ones(1), reference) == 0
    np.testing.assert_allclose(hypervolume(point, np.ones(1), reference, clamp=False), -0.05, rtol=1e-5)
    assert hypervolume(point[:, ::-1], np.ones(1), reference[::-1], clamp=False) == 0


def test_scale_reward(x64):
    r = np.array([1.0, -0.5])
    np.testing.assert_allclose(rewards.scale_reward(r, np.float64(1.3)), 1.3 * r, rtol=1e-12)
    np.testing.assert_allclose(rewards.scale_reward(r, np.array([2.0, 3.0])), [2, -1.5], rtol=1e-12)
    assert_gradient(lambda r: rewards.scale_reward(r, np.float64(1.3)), r)
