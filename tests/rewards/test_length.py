import numpy as np
from arrays import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st

from pojax import rewards

LENGTHS = np.array([10, 17, 19, 20, 21])


def test_card():
    expected = [0, -0.25, -0.75, -1, -1]
    np.testing.assert_allclose(rewards.overlong_penalty(np.zeros(5), LENGTHS, 20, cache=4.0), expected, rtol=1e-5)
    np.testing.assert_allclose(rewards.overlong_penalty(np.ones(5), LENGTHS, 99, cache=4.0, limit=20.0), np.add(expected, 1.0), rtol=1e-5)


def test_hyper_parameters_per_row():
    limit = np.array([20.0, 20.0, 30.0, 30.0, 30.0])
    value = rewards.overlong_penalty(np.zeros(5), LENGTHS, 99, cache=np.full((5, 1), 4.0), limit=limit)
    np.testing.assert_allclose(value, [0, -0.25, 0, 0, 0], atol=1e-6)


@settings(max_examples=30)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 100))
def test_never_positive_never_below_minus_one_and_never_rising(cache, limit, start):
    lengths = np.arange(start, start + 5)
    value = np.asarray(rewards.overlong_penalty(np.zeros(5), lengths, 50, cache=cache, limit=limit))
    assert np.all((value <= 0) & (value >= -1)) and np.all(np.diff(value) <= 0)
    assert np.all(value[lengths <= limit - cache] == 0) and np.all(value[lengths >= limit] == -1)


def test_gradient(x64):
    assert_gradient(lambda r: rewards.overlong_penalty(r, LENGTHS, 20, cache=4.0), np.linspace(-1, 1, 5))


def test_conciseness():
    lengths, groups = np.array([10, 30, 20, 5, 15, 900]), np.array([7, 7, 7, 2, 2, -1])
    np.testing.assert_array_equal(rewards.conciseness(lengths, groups), [1, 0, 0, 1, 1, 0])  # mean 16
    np.testing.assert_array_equal(rewards.conciseness(lengths, groups, over="group"), [1, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(rewards.conciseness(np.full(6, 7), groups), np.zeros(6))
