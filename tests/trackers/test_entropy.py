import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX

from pojax import losses, trackers
from pojax.losses import aggregations as aggregate

ENTROPY = np.array([[0.3, 1.2, 0.1], [2.0, 0.4, 0.9], [0.2, 0.7, 1.5], [1.1, 0.6, 9.0]])


@pytest.mark.parametrize(("h", "following", "applied"), [(0.15, 0.025, 0.025), (0.3, 0.015, 0.0), (0.2, 0.025, 0.025)])
def test_worked_example_of_the_adaptive_coefficient(h, following, applied):
    table = trackers.adaptive_entropy.init(start=0.02)
    np.testing.assert_allclose(table.applied, 0.02, rtol=1e-6)  # nothing is known yet: on
    table = trackers.adaptive_entropy.update(table, np.full((4, 3), h), EX.mask)
    np.testing.assert_allclose(table.coefficient, following, rtol=1e-5)
    np.testing.assert_allclose(table.applied, applied, rtol=1e-5)


def test_worked_example_of_the_bonus():
    surrogate = jnp.sum(aggregate.sequence_mean(EX.mask) * losses.ppo_clip(EX.logprobs, EX.old, EX.advantages, epsilon=0.2))
    bonus = jnp.sum(aggregate.token_mean(EX.mask) * losses.entropy_bonus(ENTROPY))
    np.testing.assert_allclose(surrogate + 0.01 * bonus, 0.701306, rtol=1e-5)


def test_the_coefficient_stays_between_its_ends():
    table = trackers.adaptive_entropy.init(start=0.9)
    for _ in range(3):
        table = trackers.adaptive_entropy.update(table, 0.1 * ENTROPY, EX.mask, target=1.0, change=0.06)
    np.testing.assert_allclose(table.coefficient, 1.0)
    for _ in range(30):
        table = trackers.adaptive_entropy.update(table, ENTROPY, EX.mask, target=0.1, change=0.06, low=0.3)
    np.testing.assert_allclose(table.coefficient, 0.3, rtol=1e-6)
    same = trackers.adaptive_entropy.update(table, ENTROPY, 0 * EX.mask)
    np.testing.assert_array_equal(same, table)


def test_initial_entropy_is_that_of_the_first_iteration_with_a_response():
    update, groups = trackers.initial_entropy.update, np.array([3, 3, -1, 1])
    table = trackers.initial_entropy.init()
    assert table.value == -1
    assert update(table, ENTROPY, EX.mask, np.full(4, -1)).value == -1
    table = update(table, ENTROPY, EX.mask, groups)
    np.testing.assert_allclose(table.value, np.mean([1.6 / 3, 3.3 / 3, 1.7 / 2]), rtol=1e-6)
    np.testing.assert_array_equal(update(table, 2 * ENTROPY, EX.mask, groups).value, table.value)


def test_entropy_statistics_are_those_of_the_previous_iteration():
    entropy, mask = np.array([[0.05, 1.2, 0.4], [2.0, 0.1, 9.0]]), np.array([[1, 1, 1], [1, 1, 0]])
    table = trackers.entropy_statistics.init()
    assert not table.ready
    unchanged = trackers.entropy_statistics.update(table, entropy, mask, np.full(2, -1))
    assert not unchanged.ready and unchanged.scale == table.scale
    table = trackers.entropy_statistics.update(table, entropy, mask, np.zeros(2, int))
    np.testing.assert_allclose(table.scale, (0.182322, 1.88376, 0.271174, -1.68708), rtol=1e-5)
    assert table.ready
    again = trackers.entropy_statistics.update(table, 3 * entropy, mask, np.zeros(2, int))
    np.testing.assert_allclose(again.scale.center, 0.182322 + np.log(3), rtol=1e-5)
