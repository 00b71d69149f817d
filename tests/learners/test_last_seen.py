"""Log-probabilities of shuffled minibatches, put back where their rows stand in the batch."""

import numpy as np
import pytest

from pojax.learners.updates import last_seen

ROWS, LENGTH = 12, 5


@pytest.mark.parametrize("epochs, minibatches", [(1, 1), (3, 1), (1, 4), (2, 3)])
def test_rows_come_back_in_order(epochs, minibatches):
    """Every number says its epoch, row and token."""
    rng = np.random.default_rng(0)
    values = np.arange(epochs)[:, None, None] * 1000 + np.arange(ROWS)[:, None] * 10 + np.arange(LENGTH)
    order = np.stack([rng.permutation(ROWS) for _ in range(epochs)])
    seen = np.stack([v[o] for v, o in zip(values, order, strict=True)]).reshape(epochs * minibatches, -1, LENGTH)
    order = order.reshape(epochs * minibatches, -1)
    if minibatches == 1:  # nothing is shuffled then
        order, seen = np.zeros((epochs, 0), int), values
    np.testing.assert_array_equal(last_seen(order, seen, minibatches), values[-1])
