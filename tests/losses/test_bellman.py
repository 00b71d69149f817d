import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient

from pojax import losses

V = float(jax.nn.logsumexp(jnp.array([0.3, 1.0, -2.0, 0.0])))
FIRST = np.full((4, 3), V)


def test_card():
    np.testing.assert_allclose(V, 1.64933, rtol=1e-5)
    value = losses.tbrm(EX.logprobs, FIRST, EX.ref, EX.rewards, EX.mask, beta=0.5)
    np.testing.assert_allclose(np.mean(value), 3.39494, rtol=1e-5)


def test_double_precision(x64):
    rng = np.random.default_rng(0)
    mask = np.array([[1, 1, 1], [0, 1, 1], [1, 0, 1], [0, 0, 0]])  # the first token that the policy chose need not be the first of the row
    x, ref, partition, before = (np.where(mask, rng.normal(size=(4, 3)), np.nan) for _ in range(4))
    r, first = rng.normal(size=4), [0, 1, 0, None]
    expected, calibrated = np.zeros(4), np.zeros(4)
    for b in range(3):
        rest = sum(x[b, t] - ref[b, t] for t in range(3) if mask[b, t]) - r[b] / 0.3
        expected[b] = (partition[b, first[b]] + rest) ** 2
        calibrated[b] = (partition[b, first[b]] - before[b, first[b]] + rest) ** 2
    np.testing.assert_allclose(losses.tbrm(x, partition, ref, r, mask, beta=0.3), expected, rtol=1e-9)
    np.testing.assert_allclose(losses.tbrm(x, partition, ref, r, mask, before, beta=0.3), calibrated, rtol=1e-9)
    x, partition = (np.nan_to_num(y) for y in (x, partition))
    assert_gradient(lambda x: losses.tbrm(x, partition, ref, r, mask, beta=0.3), x)
    assert_gradient(lambda p: losses.tbrm(x, p, ref, r, mask, beta=0.3), partition)


def test_the_reference_without_reward_has_no_residual_where_its_value_is_subtracted():
    value = losses.tbrm(EX.ref, FIRST, EX.ref, np.zeros(4), EX.mask, FIRST)
    np.testing.assert_array_equal(value, np.zeros(4))
    np.testing.assert_allclose(losses.tbrm(EX.ref, FIRST, EX.ref, np.zeros(4), EX.mask), np.full(4, V**2), rtol=1e-6)
    with pytest.raises(ValueError, match="tbrm: beta is 0"):
        losses.tbrm(EX.ref, FIRST, EX.ref, np.zeros(4), EX.mask, beta=0.0)
