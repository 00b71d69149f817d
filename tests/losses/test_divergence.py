import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient
from frozen import CASE, assert_like, tokens

from pojax import losses
from pojax.losses import aggregations as aggregate
from pojax.losses.divergence import binary_kl, binary_tv, top_k_kl, top_k_tv

TEACHER = EX.old + np.array([[0.6, -0.2, 0.5], [0.1, -1, 0.3], [-0.4, 0.2, 0.7], [1.1, -0.6, 2.0]])
# The mask hides the sampler's 5.00, where p and q would be probabilities above 1.
SAMPLER = np.where(EX.mask == 1, EX.rollout, EX.old)


def token_mean(loss, x=EX.logprobs):
    return jax.value_and_grad(lambda x: jnp.sum(aggregate.token_mean(EX.mask) * loss(x)))(jnp.asarray(x))


@pytest.mark.parametrize("rule", [losses.dppo_tv, losses.dppo_kl])
def test_card_of_dppo(rule):
    value, slope = token_mean(lambda x: rule(x, EX.old, EX.advantages))
    np.testing.assert_allclose(value, -0.419364, rtol=1e-5)
    expected = [[-0.10047, -0.0609382, -0.129006], [0.333572, 0.0782462, 0], [-0.0354, -0.047785, 0], [0.3354, 0.129713, 0]]
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


def test_card_of_the_divergences():
    kl = binary_kl(EX.logprobs, EX.old)
    expected = [[0.00229787, 0.0568881, 0.0112928], [0.344614, 0.00299489, 0.0840996], [0.0154229, 0.00206869, 0.234326]]
    np.testing.assert_allclose(kl[:3], expected, rtol=1e-4)  # in float32
    p, q = np.array([0.5, 0.3]), np.array([0.6, 0.1])
    np.testing.assert_allclose(top_k_tv(p, q), 0.2, rtol=1e-5)
    np.testing.assert_allclose(top_k_kl(p, q), 0.121171, rtol=1e-5)


def with_square(rule):
    """prime-rl adds 1e-3 times the squared log-ratio; as a term it is 2e-3 times k2."""
    return lambda x: rule(x) + 2e-3 * losses.k2(x, SAMPLER)


def test_card_of_prime_rl():
    value, slope = token_mean(with_square(lambda x: losses.prime_rl(x, SAMPLER, EX.advantages)))
    np.testing.assert_allclose(value, 0.5302, rtol=1e-5)
    expected = [
        [-0.0984661, -0.149793, -0.128943],
        [0.302047, 0.0782189, 0.0672926],
        [-0.0354455, -0.0320949, 0.0003],
        [0.409859, 0.117342, 0],
    ]
    np.testing.assert_allclose(slope, expected, rtol=1e-4)  # 0.0003 is quoted to one digit
    value, _ = token_mean(with_square(lambda x: losses.ipo_intellect(x, SAMPLER, EX.advantages)))
    np.testing.assert_allclose(value, 0.000627687, rtol=1e-4)  # what is left of terms of order 0.1, in float32
    value, slope = token_mean(with_square(lambda x: losses.prime_rl_ref_kl(x, SAMPLER, TEACHER)))
    np.testing.assert_allclose(value, 0.695135, rtol=1e-5)
    np.testing.assert_allclose(slope[0], [-0.0492258, -0.0298858, -0.0192873], rtol=1e-5)


def test_card_of_intellect_in_double_precision(x64):
    value, _ = token_mean(with_square(lambda x: losses.ipo_intellect(x, SAMPLER, EX.advantages)))
    np.testing.assert_allclose(value, 0.000627687, rtol=1e-5)


def test_card_of_the_token_form_of_dro():
    """Two terms: the policy gradient and beta times k2 to the policy that sampled."""

    def loss(x):
        return jnp.sum(aggregate.token_sum(EX.mask) * (losses.policy_gradient(x, EX.advantages) + 0.05 * losses.k2(x, EX.old)))

    value, slope = jax.value_and_grad(loss)(jnp.asarray(EX.logprobs))
    np.testing.assert_allclose(value, -1.62994, rtol=1e-5)
    np.testing.assert_allclose(slope[0], [-0.995, -1.02, -0.9825], rtol=1e-5)


def kl_of_two(p, q):
    return q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))


def gated(divergence):
    def rule(x, fixed, b, t):
        p, q, a = np.exp(fixed), np.exp(CASE.old[b, t]), CASE.token_advantages[b, t]
        d = divergence(p, q)
        if (a > 0 and d > 0.1 and p > q) or (a <= 0 and d > 0.06 and p < q):
            return 0.0
        return -a * min(p / q, 1.5) * x

    return tokens(rule)


def test_double_precision(x64):
    a, old = CASE.token_advantages, CASE.old
    hyper = {"threshold": 0.06, "threshold_high": 0.1, "cap": 1.5}
    assert_like(lambda x: losses.dppo_tv(x, old, a, **hyper), gated(lambda p, q: abs(p - q)))
    assert_like(lambda x: losses.dppo_kl(x, old, a, **hyper), gated(kl_of_two))
    given = binary_tv(CASE.logprobs, old)
    np.testing.assert_array_equal(
        losses.divergence_gated(CASE.logprobs, old, a, given, **hyper), losses.dppo_tv(CASE.logprobs, old, a, **hyper)
    )

    def prime(keep, advantage=lambda fixed, b, t: a[b, t]):
        def rule(x, fixed, b, t):
            move, gain = np.exp(fixed) - np.exp(old[b, t]), advantage(fixed, b, t)
            return -gain * np.exp(x - old[b, t]) if keep(move, gain) else 0.0

        return tokens(rule)

    assert_like(
        lambda x: losses.prime_rl(x, old, a, threshold=0.05, threshold_high=0.1),
        prime(lambda move, gain: move <= 0.1 if gain > 0 else move >= -0.05),
    )
    assert_like(lambda x: losses.ipo_intellect(x, old, a), prime(lambda move, gain: abs(move) <= 0.1))
    assert_like(
        lambda x: losses.prime_rl_ref_kl(x, old, CASE.ref, threshold=0.05),
        prime(lambda move, gain: move >= -0.05, lambda fixed, b, t: CASE.ref[b, t] - fixed),
    )


def test_divergences_in_double_precision(x64):
    p, q = np.exp(CASE.logprobs), np.exp(CASE.old)
    np.testing.assert_allclose(binary_tv(CASE.logprobs, CASE.old), np.abs(p - q), rtol=1e-9)
    np.testing.assert_allclose(binary_kl(CASE.logprobs, CASE.old), kl_of_two(p, q), rtol=1e-9)
    assert_gradient(lambda x: binary_kl(x, CASE.old), CASE.logprobs)
    full = np.random.default_rng(2).dirichlet(np.ones(6), (2, 3))
    a, b = full[0], full[1]
    merged = [np.append(x[:, :4], x[:, 4:].sum(1, keepdims=True), axis=1) for x in (a, b)]
    np.testing.assert_allclose(top_k_tv(a[:, :4], b[:, :4]), 0.5 * np.abs(merged[0] - merged[1]).sum(1), rtol=1e-9)
    np.testing.assert_allclose(top_k_kl(a[:, :4], b[:, :4]), (merged[1] * np.log(merged[1] / merged[0])).sum(1), rtol=1e-9)


def test_certain_tokens_and_the_policy_that_sampled():
    certain = np.array([[0.0, -1e-9, -3.0]])
    for x, other in ((certain, certain - 2.0), (certain - 2.0, certain), (certain, certain)):
        assert np.isfinite(binary_kl(x, other)).all()
    assert np.isfinite(top_k_kl(np.array([1.0, 0.0]), np.array([0.5, 0.5]))) and top_k_kl(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0
    on_policy = losses.policy_gradient(EX.old, EX.advantages)
    for rule in (losses.dppo_tv, losses.dppo_kl):  # everything is kept
        np.testing.assert_allclose(rule(EX.old, EX.old, EX.advantages, threshold=0.0), on_policy, rtol=1e-6)
    for rule in (losses.prime_rl, losses.ipo_intellect):
        np.testing.assert_allclose(rule(EX.old, EX.old, EX.advantages, threshold=0.0), -EX.advantages, rtol=1e-6)


@pytest.mark.parametrize("rule", [losses.dppo_tv, losses.dppo_kl, losses.prime_rl, losses.ipo_intellect])
def test_zero_advantages_and_homogeneity(rule):
    value, slope = jax.value_and_grad(lambda x: jnp.sum(rule(x, EX.old, np.zeros((4, 3)))))(jnp.asarray(EX.logprobs))
    assert value == 0 and not np.any(slope)
    np.testing.assert_allclose(rule(EX.logprobs, EX.old, 3 * EX.advantages), 3 * rule(EX.logprobs, EX.old, EX.advantages), rtol=1e-6)


def test_what_is_refused():
    for rule in (losses.dppo_tv, losses.dppo_kl, losses.prime_rl, losses.ipo_intellect):
        with pytest.raises(ValueError, match=rf"{rule.__name__}: threshold is -1, allowed: \[0, inf\]"):
            rule(EX.logprobs, EX.old, EX.advantages, threshold=-1.0)
