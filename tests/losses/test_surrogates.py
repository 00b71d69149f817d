import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, LOGPROBS, MASK, OLD, REF, assert_gradient

from pojax import advantages, losses
from pojax.losses import aggregations as aggregate


def ex_loss(coefficients, **hyper):
    return jnp.sum(coefficients * losses.ppo_clip(EX.logprobs, EX.old, EX.advantages, **hyper))


DAPO = {"epsilon": 0.2, "epsilon_high": 0.28}


@pytest.mark.parametrize(
    ("aggregation", "hyper", "expected"),
    [
        (aggregate.token_mean, {**DAPO, "dual_clip": 3.0}, 0.469675),
        (aggregate.sequence_mean_token_sum, {**DAPO, "dual_clip": 3.0}, 1.29161),
        (aggregate.sequence_mean, {**DAPO, "dual_clip": 3.0}, 0.643713),
        (lambda where: aggregate.constant(where, length=3), {**DAPO, "dual_clip": 3.0}, 0.430536),
        (aggregate.token_mean, DAPO, 0.530521),
        (aggregate.token_mean, {"epsilon": 0.2, "dual_clip": 3.0}, 0.480585),
    ],
)
def test_card_of_ppo_clip(aggregation, hyper, expected):
    np.testing.assert_allclose(ex_loss(aggregation(EX.mask), **hyper), expected, rtol=1e-5)


def test_card_gradient():
    def loss(logprobs):
        return jnp.sum(aggregate.token_mean(EX.mask) * losses.ppo_clip(logprobs, EX.old, EX.advantages, **DAPO, dual_clip=3.0))

    expected = [[-0.10047, -0.0609382, 0], [0, 0.0782462, 0], [-0.0354, -0.047785, 0], [0.3354, 0.129713, 0]]
    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(EX.logprobs)), expected, rtol=1e-4, atol=1e-7)  # quoted to 3 digits in places


def test_card_with_importance_and_kl():
    weight = advantages.truncated_importance(EX.old, EX.rollout, EX.mask)
    loss = ex_loss(aggregate.token_mean(EX.mask) * weight, **DAPO, dual_clip=3.0)
    np.testing.assert_allclose(loss, 0.484903, rtol=1e-5)
    kl = jnp.sum(aggregate.token_mean(EX.mask) * losses.k3(EX.logprobs, EX.ref))
    np.testing.assert_allclose(ex_loss(aggregate.token_mean(EX.mask), **DAPO, dual_clip=2.0) + 0.04 * kl, 0.324763, rtol=1e-5)  # TRL


def test_card_of_dapo_and_dr_grpo():
    a = np.repeat([[0.707106], [-0.707106]], 3, axis=1)
    loss = jax.value_and_grad(lambda x: jnp.sum(aggregate.token_mean(MASK) * losses.ppo_clip(x, OLD, a, **DAPO)))
    value, gradient = loss(jnp.asarray(LOGPROBS))
    np.testing.assert_allclose(value, -0.145276, rtol=1e-5)
    np.testing.assert_allclose(gradient, [[-0.156295, -0.104767, -0.141421], [0.115786, 0.141421, 0]], rtol=1e-5)
    half = np.repeat([[0.5], [-0.5]], 3, axis=1)
    value = jnp.sum(aggregate.constant(MASK, length=8) * losses.ppo_clip(LOGPROBS, OLD, half))
    np.testing.assert_allclose(value, -0.0321018, rtol=1e-5)


def test_ppo_clip_in_double_precision(x64):
    a = np.random.default_rng(0).normal(size=EX.old.shape) * 2
    ratio = np.exp(EX.logprobs - EX.old)
    expected = np.maximum(-ratio * a, -np.clip(ratio, 0.9, 1.4) * a)
    expected = np.where(a < 0, np.minimum(expected, -2.5 * a), expected)
    hyper = {"epsilon": 0.1, "epsilon_high": 0.4, "dual_clip": 2.5}
    np.testing.assert_allclose(losses.ppo_clip(EX.logprobs, EX.old, a, **hyper), expected, rtol=1e-9)
    assert_gradient(lambda x: losses.ppo_clip(x, EX.old, a, **hyper), EX.logprobs)
    np.testing.assert_allclose(losses.policy_gradient(EX.logprobs, a), -a * EX.logprobs, rtol=1e-9)
    assert_gradient(lambda x: losses.policy_gradient(x, a), EX.logprobs)


def test_gradient_at_the_edges_of_the_interval():
    """At a tie of the two branches the whole gradient passes; only strictly beyond is it cut."""
    edges = jnp.log(jnp.array([[0.5, 1.0, 1.5, 1.5000005]]))  # 1 +- 0.5 is exact in binary

    def gradient(a):
        return jax.grad(lambda x: jnp.sum(losses.ppo_clip(x, jnp.zeros((1, 4)), jnp.full((1, 4), a), epsilon=0.5)))(edges)

    np.testing.assert_allclose(gradient(1.0), [[-0.5, -1.0, -1.5, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(gradient(-1.0)[0, 1:], [1.0, 1.5, 1.5], rtol=1e-6)


def test_homogeneous_in_advantages_and_zero_at_zero():
    one = losses.ppo_clip(EX.logprobs, EX.old, EX.advantages, **DAPO, dual_clip=3.0)
    np.testing.assert_allclose(losses.ppo_clip(EX.logprobs, EX.old, 3 * EX.advantages, **DAPO, dual_clip=3.0), 3 * one, rtol=1e-6)
    loss = jax.value_and_grad(lambda x: jnp.sum(losses.ppo_clip(x, EX.old, np.zeros((4, 3)), **DAPO, dual_clip=3.0)))
    value, gradient = loss(jnp.asarray(EX.logprobs))
    assert value == 0 and not np.any(gradient)


def test_hyper_parameters_are_traced_and_may_be_arrays():
    rule = jax.jit(lambda e: losses.ppo_clip(EX.logprobs, EX.old, EX.advantages, epsilon=e))
    for epsilon in (0.1, 0.3):
        np.testing.assert_array_equal(rule(epsilon), losses.ppo_clip(EX.logprobs, EX.old, EX.advantages, epsilon=epsilon))
    assert rule._cache_size() <= 1  # 0: JAX has dropped it since, its cache is shared by all functions
    per_row = np.array([0.1, 0.3, 0.1, 0.3])
    expected = np.where((per_row == 0.1)[:, None], rule(0.1), rule(0.3))
    for epsilon in (per_row, per_row[:, None], np.repeat(per_row[:, None], 3, axis=1)):
        np.testing.assert_allclose(losses.ppo_clip(EX.logprobs, EX.old, EX.advantages, epsilon=epsilon), expected, rtol=1e-6)
    np.testing.assert_array_equal(rule(np.inf), losses.ppo_clip(EX.logprobs, EX.old, EX.advantages, epsilon=1e9))  # no clipping


@pytest.mark.parametrize("shift", [1e4, -1e4])
@pytest.mark.parametrize("dual_clip", [None, 3.0])
def test_overflowing_ratios_stay_finite(shift, dual_clip):
    def loss(logprobs):
        return jnp.sum(losses.ppo_clip(logprobs, EX.old + shift, -EX.advantages, dual_clip=dual_clip))

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(EX.logprobs))
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_half_precision_is_promoted():
    half = [jnp.asarray(x, jnp.bfloat16) for x in (EX.logprobs, EX.old, EX.advantages)]
    value = losses.ppo_clip(*half)
    assert value.dtype == jnp.float32
    np.testing.assert_array_equal(value, losses.ppo_clip(*[x.astype(jnp.float32) for x in half]))
    assert (
        losses.policy_gradient(half[0], half[2]).dtype
        == losses.k3(half[0], jnp.asarray(REF[:1].repeat(4, 0), jnp.bfloat16)).dtype
        == jnp.float32
    )
