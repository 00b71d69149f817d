import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import GROUPS6, LOGPROBS, MASK, OLD, REF, REWARDS6, assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st

from pojax import advantages, losses
from pojax.losses import aggregations


def test_card_grpo():
    expected = [1.1547, -0.577349, -0.577349, 0.577349, 0.577349, -1.1547]
    np.testing.assert_allclose(advantages.group_normalize(REWARDS6, GROUPS6), expected, rtol=1e-5)
    expected = [1.41421, -0.707105, -0.707105, 0.707105, 0.707105, -1.41421]
    np.testing.assert_allclose(advantages.group_normalize(REWARDS6, GROUPS6, ddof=0), expected, rtol=1e-5)


def test_card_grpo_loss_and_gradient():
    a = advantages.group_normalize(np.array([1.0, 0.0]), np.array([0, 0]))
    np.testing.assert_allclose(a, [0.707106, -0.707106], rtol=1e-5)
    a = jnp.broadcast_to(a[:, None], (2, 3))

    @jax.value_and_grad
    def loss(logprobs):
        value = losses.ppo_clip(logprobs, OLD, a) + 0.04 * losses.k3(logprobs, REF)
        return jnp.sum(aggregations.sequence_mean(MASK) * value)

    value, gradient = loss(jnp.asarray(LOGPROBS))
    np.testing.assert_allclose(value, -0.0137188, rtol=1e-5)
    np.testing.assert_allclose(gradient, [[-0.12992, -0.0880073, -0.117217], [0.143681, 0.177728, 0]], rtol=1e-5)


def test_card_single_stream():
    """Rewards [1, 1, 0] against success rates 4/8, 1/8 and 7/8."""
    value = advantages.batch_normalize(np.array([1 - 4 / 8, 1 - 1 / 8, 0 - 7 / 8]), np.arange(3))
    np.testing.assert_allclose(value, [0.361773, 0.768767, -1.13054], rtol=1e-5)


@pytest.mark.parametrize("ddof", [0, 1])
def test_double_precision(x64, ddof):
    r, ids = np.random.default_rng(0).normal(size=8), np.array([4, 0, 4, 4, 0, -1, 0, 2])
    expected = np.zeros(8)
    for group in (0, 4):
        x = r[ids == group]
        expected[ids == group] = (x - x.mean()) / (x.std(ddof=ddof) + 0.01)
    np.testing.assert_allclose(advantages.group_normalize(r, ids, epsilon=0.01, ddof=ddof), expected, rtol=1e-9, atol=1e-12)
    x = r[ids >= 0]
    batch = np.where(ids >= 0, (r - x.mean()) / (x.std(ddof=ddof) + 0.01), 0)
    np.testing.assert_allclose(advantages.batch_normalize(r, ids, epsilon=0.01, ddof=ddof), batch, rtol=1e-9)
    assert_gradient(lambda r: advantages.group_normalize(r, ids, epsilon=0.01, ddof=ddof), r)
    assert_gradient(lambda r: advantages.batch_normalize(r, ids, epsilon=0.01, ddof=ddof), r)


RULES = [jax.jit(advantages.group_normalize), jax.jit(advantages.batch_normalize)]


@settings(max_examples=30)
@given(st.lists(st.integers(-1, 2), min_size=6, max_size=6), st.integers(0, 2**31), st.floats(0.25, 8), st.floats(-8, 8))
def test_scale_and_shift_go_out(ids, seed, scale, shift):
    ids, rng = np.array(ids), np.random.default_rng(seed)
    r = rng.integers(0, 4, 6).astype(np.float32)
    for rule in RULES:
        value = np.asarray(rule(r, ids))
        np.testing.assert_allclose(rule(np.float32(scale) * r + np.float32(shift), ids), value, atol=1e-3)
        order = rng.permutation(6)
        np.testing.assert_allclose(rule(r[order], ids[order]), value[order], atol=1e-5)
        np.testing.assert_array_equal(value[ids < 0], 0)


@pytest.mark.parametrize("rule", RULES)
def test_degenerate(rule):
    np.testing.assert_array_equal(rule(np.full(7, 0.7, np.float32), np.zeros(7, int)), 0)  # 0.7 - mean is not 0 in float32
    np.testing.assert_array_equal(rule(np.array([3.0]), np.array([0])), 0)
    out = np.asarray(rule(np.array([1.0, 0.0, np.nan]), np.array([4, 4, -1])))
    assert out[2] == 0 and out[0] == -out[1] > 0
    gradient = jax.grad(lambda r: jnp.sum(rule(r, jnp.zeros(4, int)) * jnp.arange(4.0)))(jnp.ones(4))
    assert np.isfinite(gradient).all()


def test_epsilon_per_row_and_half_precision():
    epsilon = np.repeat([0.0, 1.0], 3)
    value = np.asarray(advantages.group_normalize(REWARDS6, GROUPS6, epsilon=epsilon))
    np.testing.assert_allclose(value[:3], advantages.group_normalize(REWARDS6, GROUPS6, epsilon=0)[:3], rtol=1e-6)
    np.testing.assert_allclose(value[3:], advantages.group_normalize(REWARDS6, GROUPS6, epsilon=1.0)[3:], rtol=1e-6)
    assert advantages.group_normalize(jnp.asarray(REWARDS6, jnp.bfloat16), GROUPS6).dtype == jnp.float32
