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


def by_group(rule, r, ids):
    """rule(rewards of a group) for every group that is in, 0 for rows that are out."""
    out = np.zeros(len(r))
    for i in set(ids[ids >= 0].tolist()):
        out[ids == i] = rule(r[ids == i])
    return out


def test_worked_example_of_batch_std():
    expected = [1.21694, -0.60847, -0.60847, 0.60847, 0.60847, -1.21694]
    np.testing.assert_allclose(advantages.group_center_batch_std(REWARDS6, GROUPS6), expected, rtol=1e-5)


def test_worked_example_of_group_mean_normalize():
    value = advantages.group_mean_normalize(np.array([1.0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1]))
    np.testing.assert_allclose(value, [2, -1, -1, -1, 0.5, 0.5], rtol=1e-5)


def test_worked_example_of_rescaled_policy_gradient():
    r, groups, mask = np.array([1.0, 0, 1, 1]), np.array([0, 0, 1, 1]), np.array([[1, 1], [1, 1], [1, 1], [1, 0]])
    logprobs = np.array([[-0.5, -1.0], [-0.3, -0.7], [-0.2, -0.4], [-0.9, -0.1]])
    a = advantages.rescale_to_informative(advantages.group_center(r, groups), r, groups)
    np.testing.assert_allclose(a, [1, -1, 0, 0], rtol=1e-6)  # 2 * 0.5

    @jax.value_and_grad
    def loss(logprobs):
        return jnp.sum(aggregations.token_mean(mask) * losses.policy_gradient(logprobs, jnp.broadcast_to(a[:, None], (4, 2))))

    value, gradient = loss(jnp.asarray(logprobs))
    np.testing.assert_allclose(value, 0.0714286, rtol=1e-5)
    np.testing.assert_allclose(gradient, [[-0.142857] * 2, [0.142857] * 2, [0, 0], [0, 0]], rtol=1e-5)


@pytest.mark.parametrize("ddof", [0, 1])
def test_other_denominators_in_double_precision(x64, ddof):
    rng = np.random.default_rng(3)
    ids = rng.permutation(np.repeat([7, 0, 3, 5, 9, -1], [4, 5, 3, 1, 2, 3]))
    r = np.where(ids == 3, 0.7, rng.normal(size=18) + 0.5)  # one group of equal rewards, one of a single row
    junk = np.where(ids < 0, np.nan, r)
    std = r[ids >= 0].std(ddof=ddof)
    expected = by_group(lambda x: (x - x.mean()) / (std + 0.01), r, ids)
    expected[ids == 3] = 0
    np.testing.assert_allclose(advantages.group_center_batch_std(junk, ids, epsilon=0.01, ddof=ddof), expected, rtol=1e-9, atol=1e-12)
    expected = by_group(lambda x: (x - x.mean()) / (x.mean() + 0.02) if x.mean() > 0 else 0 * x, r, ids)
    expected[ids == 3] = 0
    np.testing.assert_allclose(advantages.group_mean_normalize(junk, ids, epsilon=0.02), expected, rtol=1e-9, atol=1e-12)
    a = rng.normal(size=18)
    informative = np.isin(ids, [7, 0, 9])
    expected = np.where(ids >= 0, a * 15 / informative.sum(), 0)
    np.testing.assert_allclose(advantages.rescale_to_informative(a, junk, ids), expected, rtol=1e-9)
    expected = np.where(ids >= 0, a * 5 / 3, 0)  # three of five groups
    np.testing.assert_allclose(advantages.rescale_to_informative(a, junk, ids, count="groups"), expected, rtol=1e-9)
    spread = rng.uniform(0.1, 1, 18)  # at equal rewards the exact 0 makes a corner
    assert_gradient(lambda r: advantages.group_center_batch_std(r, ids, ddof=ddof), spread)
    assert_gradient(lambda r: advantages.group_mean_normalize(r, ids), spread)
    assert_gradient(lambda a: advantages.rescale_to_informative(a, r, ids), a)


def test_degenerate_other_denominators():
    groups = np.array([0, 0, 3, 3, 3, 1, -1])
    r = np.array([0.7, 0.7, 0.2, 0.9, 0.1, 0.5, np.nan], np.float32)
    for rule in (advantages.group_center_batch_std, advantages.group_mean_normalize):
        value = np.asarray(rule(r, groups))
        assert not value[[0, 1, 5, 6]].any() and np.isfinite(value).all() and value[3] > 0
        assert not np.asarray(rule(np.full(7, 0.7, np.float32), groups)).any()
    means = advantages.group_mean_normalize(np.array([-1.0, -2, 0, 0, 1, -1]), np.repeat([0, 1, 2], 2))
    np.testing.assert_array_equal(means, np.zeros(6))  # a mean that is not above 0 never divides
    equal = advantages.rescale_to_informative(np.ones(4), np.ones(4), np.array([0, 0, 1, 1]))
    np.testing.assert_array_equal(equal, np.ones(4))  # no group with a spread: the factor is 1
    with pytest.raises(ValueError, match="count is 'rows', allowed: {responses, groups}"):
        advantages.rescale_to_informative(np.ones(4), np.ones(4), np.zeros(4, int), count="rows")
