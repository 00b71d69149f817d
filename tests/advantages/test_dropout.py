import jax.numpy as jnp
import numpy as np
import pytest
from frozen import CASE

from pojax import advantages, losses
from pojax.losses import aggregations as aggregate

RATIOS, A = np.log([[1.1, 0.7, 1.4, 0.9, 1.0]]), np.array([[1, -0.5, 0.3, -2, 2]])


def test_card():
    keep = advantages.drop_high_variance(RATIOS, 0 * RATIOS, A, np.ones((1, 5)), drop=0.4)
    np.testing.assert_array_equal(keep, [[1, 1, 0, 0, 1]])
    loss = jnp.sum(aggregate.token_mean(keep) * losses.ppo_clip(RATIOS, 0 * RATIOS, A))
    np.testing.assert_allclose(loss, -0.9, rtol=1e-5)


@pytest.mark.parametrize("drop", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_double_precision(x64, drop):
    a, on = CASE.token_advantages, CASE.mask
    cells = [tuple(i) for i in np.argwhere(on)]
    surrogate = {i: np.exp(CASE.logprobs[i] - CASE.old[i]) * a[i] for i in cells}
    phi = {i: s * sum(surrogate.values()) for i, s in surrogate.items()}
    expected = np.zeros((5, 4))
    for part in ([i for i in cells if phi[i] > 0], [i for i in cells if phi[i] <= 0]):
        for i in sorted(part, key=phi.get, reverse=True)[: round((1 - drop) * len(part))]:
            expected[i] = 1
    np.testing.assert_array_equal(advantages.drop_high_variance(CASE.logprobs, CASE.old, a, on, drop=drop), expected)


def test_rows_small_parts_and_empty_batches():
    row = advantages.drop_high_variance(CASE.logprobs, CASE.old, CASE.row_advantages, CASE.mask)
    np.testing.assert_array_equal(row, advantages.drop_high_variance(CASE.logprobs, CASE.old, CASE.advantages, CASE.mask))
    one = np.array([[0, 0, 1, 0, 0]])
    np.testing.assert_array_equal(advantages.drop_high_variance(RATIOS, 0 * RATIOS, A, one), one)  # round(0.8) is 1
    assert not np.any(advantages.drop_high_variance(RATIOS, 0 * RATIOS, A, 0 * one))
    with pytest.raises(ValueError, match=r"drop_high_variance: drop is 1.5, allowed: \[0, 1\]"):
        advantages.drop_high_variance(RATIOS, 0 * RATIOS, A, one, drop=1.5)


def test_paired_rows():
    np.testing.assert_array_equal(advantages.paired_rows(np.array([5, 2, 5, 5, -1, 2, 5, 5, 9])), [1, 1, 1, 1, 0, 1, 1, 0, 0])
