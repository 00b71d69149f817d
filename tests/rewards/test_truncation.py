import numpy as np
import pytest
from arrays import assert_gradient

from pojax import rewards

REWARDS, TRUNCATED = np.array([1.0, 0.4]), np.array([True, False])


@pytest.mark.parametrize(("coefficient", "expected"), [(-0.5, [-0.5, 0.4]), (0.0, [0, 0.4]), (0.5, [0.5, 0.4]), (1.0, [1, 0.4])])
def test_card(coefficient, expected):
    value = rewards.stop_properly_penalty(REWARDS, TRUNCATED, coefficient=coefficient)
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_double_precision(x64):
    rng = np.random.default_rng(0)
    r, cut = rng.normal(size=9), rng.integers(0, 2, 9)
    for coefficient in (-0.3, 0.7):
        expected = [(coefficient if coefficient < 0 else coefficient * x) if c else x for x, c in zip(r, cut, strict=True)]
        np.testing.assert_allclose(rewards.stop_properly_penalty(r, cut, coefficient=coefficient), expected, rtol=1e-9)
        assert_gradient(lambda x, k=coefficient: rewards.stop_properly_penalty(x, cut, coefficient=k), r)


def test_the_trap_and_the_range():
    assert rewards.stop_properly_penalty(np.array([-1.0]), np.ones(1), coefficient=0.5) == -0.5  # being cut pays
    with pytest.raises(ValueError, match=r"coefficient is 1.5, allowed: \(-inf, 1\]"):
        rewards.stop_properly_penalty(REWARDS, TRUNCATED, coefficient=1.5)
