import numpy as np
from arrays import assert_gradient
from ragged import names, ragged

from pojax import advantages


def test_card():
    ones = np.zeros(4, int)
    np.testing.assert_allclose(advantages.a_star_value(np.array([1.0, 0, 0, 1]), ones), np.full(4, 0.71689), rtol=1e-5)
    np.testing.assert_array_equal(advantages.a_star_value(np.zeros(4), ones), np.zeros(4))


def test_double_precision(x64):
    b = ragged()
    expected = np.zeros(10)
    for i in names(b.groups):
        expected[b.groups == i] = 0.3 * np.log(np.mean(np.exp(b.rewards[b.groups == i] / 0.3)))
    np.testing.assert_allclose(advantages.a_star_value(b.rewards, b.groups, beta=0.3), expected, rtol=1e-9, atol=1e-14)
    assert_gradient(lambda r: advantages.a_star_value(r, b.groups, beta=0.3), np.nan_to_num(b.rewards))


def test_limits_and_released_codes_special_cases():
    rewards, groups = np.array([0.2, 1.0, 0.1, 0.5]), np.zeros(4, int)
    np.testing.assert_allclose(advantages.a_star_value(rewards, groups, beta=1e-3), np.full(4, 1.0), rtol=2e-3)  # towards the largest
    np.testing.assert_allclose(advantages.a_star_value(rewards, groups, beta=1e4), np.full(4, 0.45), rtol=1e-3)  # towards the mean
    np.testing.assert_allclose(advantages.a_star_value(rewards, groups, beta=0.0), np.full(4, 0.45), rtol=1e-6)
    np.testing.assert_array_equal(advantages.a_star_value(rewards, groups, beta=-1.0), np.zeros(4))
