import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient, central_difference

from pojax import advantages, losses
from pojax.losses.aggregations import token_mean, token_sum
from pojax.schedules import linear, warmup_ramp_cosine

FIRST, LAST = EX.mask * np.array([[1], [1], [0], [0]]), EX.mask * np.array([[0], [0], [1], [1]])


def supervised(logprobs, **hyper):
    return jnp.sum(token_mean(LAST) * losses.weighted_likelihood(logprobs, **hyper))


def test_worked_example_of_chord():
    """Rows 0 and 1 are sampled, rows 2 and 3 those of the expert; each part over its own tokens."""
    np.testing.assert_allclose(supervised(EX.old), 0.189068, rtol=1e-5)
    np.testing.assert_allclose(supervised(EX.old, weight="none"), 1.42, rtol=1e-5)
    policy = jnp.sum(token_mean(FIRST) * losses.ppo_clip(EX.logprobs, EX.old, EX.advantages))
    np.testing.assert_allclose(0.9 * policy + 0.1 * supervised(EX.old), 0.372084, rtol=1e-5)
    gradient = jax.grad(supervised)(jnp.asarray(EX.old))
    np.testing.assert_allclose(gradient[2:], [[-0.0465088, -0.0477302, -0.0137514], [-0.0197052, -0.0494865, 0]], rtol=1e-5)


@pytest.mark.parametrize(("step", "expected"), [(0, 0), (100, 0.25), (200, 0.5), (400, 0.26), (600, 0.02), (900, 0.02)])
def test_worked_example_of_the_schedule(step, expected):
    mu = warmup_ramp_cosine(step, start=0.0, peak=0.5, end=0.02, warmup=200, decay=400)
    np.testing.assert_allclose(mu, expected, rtol=1e-5, atol=1e-7)
    rest = warmup_ramp_cosine(step, start=1.0, peak=0.5, end=0.98, warmup=200, decay=400)
    np.testing.assert_allclose(mu + rest, 1.0, rtol=1e-6)  # the complement is a schedule of the same kind


def test_schedule_without_a_warm_up():
    found = [warmup_ramp_cosine(step, start=0.0, peak=0.9, end=0.05, warmup=0, decay=200) for step in (0, 100, 200)]
    np.testing.assert_allclose(found, [0.9, 0.475, 0.05], rtol=1e-5)
    np.testing.assert_allclose(warmup_ramp_cosine(0, start=0.0, peak=0.9, end=0.05, warmup=0, decay=0), 0.05, rtol=1e-6)
    assert linear(0, start=0.3, end=0.1, steps=5) == np.float32(0.3)


@pytest.mark.parametrize(("weight", "w"), [("phi", lambda p: p * (1 - p)), ("probability", lambda p: p), ("none", lambda p: 1.0)])
def test_weighted_likelihood_in_double_precision(x64, weight, w):
    value = losses.weighted_likelihood(EX.old, weight=weight, cutoff=0.4)
    factor = np.array([[w(np.exp(x)) for x in row] for row in EX.old])
    expected = -factor * np.minimum(EX.old, np.log(0.4))
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    # The weight is a constant of the gradient: central differences of the loss with the weight frozen.
    frozen = central_difference(lambda x: jnp.sum(-factor * jnp.minimum(x, np.log(0.4))), EX.old)
    gradient = jax.grad(lambda x: jnp.sum(losses.weighted_likelihood(x, weight=weight, cutoff=0.4)))(jnp.asarray(EX.old))
    np.testing.assert_allclose(gradient, frozen, rtol=1e-6, atol=1e-9)


def test_weight_vanishes_at_both_ends():
    gradient = jax.grad(lambda x: jnp.sum(losses.weighted_likelihood(x)))(jnp.array([[0.0, -60.0, -1e5]]))
    np.testing.assert_allclose(gradient, 0.0, atol=1e-20)


# -- the unified estimator --------------------------------------------------------------------------------------------------------


def coefficients(reference, a=EX.advantages, stable=None):
    """What multiplies the gradient of every log-probability."""
    loss = lambda x: jnp.sum(token_sum(EX.mask) * losses.unified_policy_gradient(x, reference, a, stable))  # noqa: E731
    return -jax.grad(loss)(jnp.asarray(EX.logprobs))


def gradient_of(loss):
    return -jax.grad(lambda x: jnp.sum(token_sum(EX.mask) * loss(x)))(jnp.asarray(EX.logprobs))


def test_worked_example_of_the_estimator():
    expected = [[1.10517, 0.67032, 1.41907], [-3.6693, -0.860708, -0.548812], [0.3894, 0.525636, 2.47652], [-3.6894, -1.42684, 0]]
    np.testing.assert_allclose(coefficients(EX.old), expected, rtol=1e-5)


def test_worked_example_of_the_ungated_loss():
    """Two groups of two, advantages without the standard deviation, unclipped, summed over all and divided by T."""
    a = np.asarray(advantages.group_center(EX.rewards, np.array([0, 0, 1, 1])))
    loss = jnp.sum(token_sum(EX.mask) / 3 * losses.unified_policy_gradient(EX.logprobs, EX.old, np.repeat(a[:, None], 3, 1)))
    np.testing.assert_allclose(loss, -0.0793887, rtol=1e-5)
    clipped = losses.ppo_clip(EX.logprobs, EX.old, np.repeat(a[:, None], 3, 1), epsilon=np.inf)
    np.testing.assert_allclose(jnp.sum(token_sum(EX.mask) / 3 * clipped), loss, rtol=1e-6)


def test_every_instance_of_the_table(x64):
    ones, on = np.ones((4, 3)), EX.mask != 0
    a, p, mask = EX.advantages, np.exp(EX.logprobs), EX.mask
    same = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)  # noqa: E731
    same(coefficients(EX.logprobs, ones), gradient_of(losses.negative_log_likelihood))  # SFT
    same(coefficients(EX.logprobs, a), gradient_of(lambda x: losses.policy_gradient(x, a)))  # REINFORCE
    hyper = dict(epsilon=0.2, epsilon_high=0.28)
    stable = advantages.clip_stability(EX.logprobs, EX.old, a, mask, **hyper)
    same(coefficients(EX.old, a, stable), gradient_of(lambda x: losses.ppo_clip(x, EX.old, a, **hyper)))  # PPO, GRPO
    ratio = np.exp(EX.logprobs - EX.old)
    reference = advantages.capped_reference(EX.logprobs, EX.old, mask, low=0.8, high=1.28)
    same(coefficients(reference, a), on * a * np.clip(ratio, 0.8, 1.28))  # CISPO
    rows = np.array([[np.exp(np.mean(np.log(ratio)[b, on[b]]))] for b in range(4)])
    kept = advantages.clip_stability(EX.logprobs, EX.old, a, mask, epsilon=0.1, level="sequence")
    clipped = np.where(a > 0, rows > 1.1, rows < 0.9)
    same(coefficients(advantages.sequence_reference(EX.logprobs, EX.old, mask), a, kept), on * a * rows * ~clipped)  # GSPO
    same(coefficients(0 * ones, a), on * a * p)  # SRFT: a reference of probability 1
    luffy = advantages.shaping_stability(EX.logprobs, 0 * ones, mask, gamma=0.1)
    same(coefficients(0 * ones, a, luffy), gradient_of(lambda x: losses.shaped_policy(x, 0 * ones, a, gamma=0.1)))  # LUFFY
    same(coefficients(0 * ones, a, luffy), on * a * p * 0.1 / (p + 0.1) ** 2)


def test_shaped_policy_in_double_precision(x64):
    ratio = np.exp(EX.logprobs - EX.old)
    expected = [[-EX.advantages[b, t] * ratio[b, t] / (ratio[b, t] + 0.3) for t in range(3)] for b in range(4)]
    np.testing.assert_allclose(losses.shaped_policy(EX.logprobs, EX.old, EX.advantages, gamma=0.3), expected, rtol=1e-9)
    assert_gradient(lambda x: losses.shaped_policy(x, EX.old, EX.advantages, gamma=0.3), EX.logprobs)
    assert_gradient(lambda x: losses.unified_policy_gradient(x, EX.old, EX.advantages), EX.logprobs)


def test_the_reference_is_a_constant_whatever_it_is_computed_from():
    gradient = jax.grad(lambda x: jnp.sum(losses.unified_policy_gradient(x, x, EX.advantages)))(jnp.asarray(EX.logprobs))
    np.testing.assert_allclose(gradient, -EX.advantages, rtol=1e-6)
