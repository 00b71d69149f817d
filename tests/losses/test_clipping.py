import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX
from frozen import CASE, assert_like, tokens

from pojax import losses
from pojax.losses import aggregations as aggregate

DAPO = {"epsilon": 0.2, "epsilon_high": 0.28}
TOKEN, ROW = aggregate.token_mean(EX.mask), aggregate.sequence_mean(EX.mask)


def value_and_gradient(name, coefficients=TOKEN, **hyper):
    rule = getattr(losses, name)
    return jax.value_and_grad(lambda x: jnp.sum(coefficients * rule(x, EX.old, EX.advantages, **hyper)))(jnp.asarray(EX.logprobs))


@pytest.mark.parametrize(
    ("name", "hyper", "value", "gradient"),
    [
        (
            "cispo",
            DAPO,
            -0.137524,
            [
                [-0.10047, -0.0727273, -0.116364],
                [0.116364, 0.0782462, 0.0727273],
                [-0.0363636, -0.047785, -0.0581818],
                [0.174545, 0.129713, 0],
            ],
        ),
        (
            "ce_gppo",
            {},
            0.505066,
            [
                [-0.10047, -0.0609382, -0.109091],
                [0.333572, 0.0782462, 0.0363636],
                [-0.0354, -0.047785, -0.0545455],
                [0.3354, 0.129713, 0],
            ],
        ),
        (
            "gppo",
            DAPO,
            0.530521,
            [
                [-0.10047, -0.0609382, -0.116364],
                [0.333572, 0.0782462, 0.0727273],
                [-0.0354, -0.047785, -0.0581818],
                [0.3354, 0.129713, 0],
            ],
        ),
    ],
)
def test_cards(name, hyper, value, gradient):
    found, slope = value_and_gradient(name, **hyper)
    np.testing.assert_allclose(found, value, rtol=1e-5)
    np.testing.assert_allclose(slope, gradient, rtol=1e-5, atol=1e-7)


def test_card_of_cispo_with_a_cap_only():
    for hyper in ({}, {"epsilon": 1.0, "epsilon_high": 4.0}):  # a ratio is never below 0
        np.testing.assert_allclose(value_and_gradient("cispo", **hyper)[0], -0.269064, rtol=1e-5)


def test_card_of_gppo_with_the_likelihood_of_rewarded_rows():
    on = EX.mask * EX.correct[:, None]
    likelihood = jnp.sum(aggregate.token_mean(on) * losses.negative_log_likelihood(EX.logprobs))
    np.testing.assert_allclose(likelihood, 1.09167, rtol=1e-5)
    np.testing.assert_allclose(value_and_gradient("gppo", **DAPO)[0] + 0.1 * likelihood, 0.639687, rtol=1e-5)


def test_card_of_pspo():
    gradient = [
        [-0.0828878, -0.050274, -0.10643],
        [0.275197, 0.0645531, 0.0411609],
        [-0.029205, -0.0394227, -0.185739],
        [0.415058, 0.16052, 0],
    ]
    value, slope = value_and_gradient("pspo", ROW)
    np.testing.assert_allclose(value, 0.487531, rtol=1e-5)
    np.testing.assert_allclose(slope, gradient, rtol=1e-5)
    np.testing.assert_allclose(value_and_gradient("pspo", ROW, alpha=0.0)[0], 0.513923, rtol=1e-5)
    assert not np.any(value_and_gradient("pspo", ROW, alpha=1.0)[1])


def test_card_of_delay_adapted_clip():
    loss = jnp.sum(TOKEN * losses.delay_adapted_clip(EX.logprobs, EX.old, EX.ref, EX.advantages))
    np.testing.assert_allclose(loss, 0.478006, rtol=1e-5)
    old, arrival = np.log([[0.2, 0.5]]), np.log([[0.4, 0.1]])
    at_the_start = losses.delay_adapted_clip(old, old, arrival, -np.ones((1, 2)), epsilon=np.inf)  # pi is still what sampled
    np.testing.assert_allclose(at_the_start, [[0.5, 1.0]], rtol=1e-6)
    np.testing.assert_array_equal(
        losses.delay_adapted_clip(EX.logprobs, EX.old, EX.old, EX.advantages), losses.ppo_clip(EX.logprobs, EX.old, EX.advantages)
    )


def reference(name):
    """One token of each method, equation by equation."""
    a, old, low, high = CASE.token_advantages, CASE.old, 0.8, 1.28

    def cispo(x, fixed, b, t):
        return -min(max(np.exp(fixed - old[b, t]), low), high) * a[b, t] * x

    def ce_gppo(x, fixed, b, t, betas=(0.5, 0.75), cap=1.3):
        r, unit = np.exp(x - old[b, t]), np.exp(x - fixed)
        inside = np.exp(fixed - old[b, t])
        if inside < low and a[b, t] < 0:
            loss = -betas[0] * low * unit * a[b, t]
        elif inside > high and a[b, t] > 0:
            loss = -betas[1] * high * unit * a[b, t]
        else:
            loss = -r * a[b, t]
        return min(loss, -cap * a[b, t]) if a[b, t] < 0 else loss

    def gppo(x, fixed, b, t, only_high=False):
        r, unit, A = np.exp(x - old[b, t]), np.exp(x - fixed), a[b, t]
        frozen = np.exp(fixed - old[b, t])
        clipped = low * (1.0 if only_high else unit) if frozen < low else high * unit if frozen > high else r
        loss = max(-A * r, -A * clipped)
        return min(loss, -1.3 * A) if A < 0 else loss

    def pspo(x, fixed, b, t):
        smooth = 0.7 * np.exp(x) + 0.3 * np.exp(old[b, t])
        return -smooth / np.exp(old[b, t]) * a[b, t]

    def delay_adapted_clip(x, fixed, b, t):
        r = np.exp(x) / max(np.exp(old[b, t]), np.exp(CASE.ref[b, t]))
        return max(-r * a[b, t], -min(max(r, low), high) * a[b, t])

    return locals()[name]


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        ("cispo", DAPO),
        ("ce_gppo", {**DAPO, "beta_low": 0.5, "beta_high": 0.75, "dual_clip": 1.3}),
        ("gppo", {**DAPO, "dual_clip": 1.3}),
        ("pspo", {"alpha": 0.3}),
        ("delay_adapted_clip", DAPO),
    ],
)
def test_double_precision(x64, name, hyper):
    data = (CASE.old, CASE.ref) if name == "delay_adapted_clip" else (CASE.old,)
    assert_like(lambda x: getattr(losses, name)(x, *data, CASE.token_advantages, **hyper), tokens(reference(name)))


def test_only_the_high_side_of_gppo(x64):
    rule = reference("gppo")
    assert_like(
        lambda x: losses.gppo(x, CASE.old, CASE.token_advantages, **DAPO, dual_clip=1.3, only_high=True),
        tokens(lambda x, fixed, b, t: rule(x, fixed, b, t, only_high=True)),
    )


def test_gradient_preserving_clips_against_ppo():
    """GPPO has PPO's value; with both betas 0, CE-GPPO has PPO's gradient."""
    np.testing.assert_allclose(
        losses.gppo(EX.logprobs, EX.old, EX.advantages, **DAPO),
        losses.ppo_clip(EX.logprobs, EX.old, EX.advantages, **DAPO, dual_clip=10.0),
        rtol=1e-6,
    )
    zero = value_and_gradient("ce_gppo", beta_low=0.0, beta_high=0.0)[1]
    np.testing.assert_allclose(zero, value_and_gradient("ppo_clip", dual_clip=10.0)[1], rtol=1e-6)


@pytest.mark.parametrize("name", ["cispo", "ce_gppo", "gppo", "pspo"])
def test_zero_advantage_gives_zero_gradient(name):
    value, slope = jax.value_and_grad(lambda x: jnp.sum(getattr(losses, name)(x, EX.old, np.zeros((4, 3)))))(jnp.asarray(EX.logprobs))
    assert value == 0 and not np.any(slope)
    one = getattr(losses, name)(EX.logprobs, EX.old, EX.advantages)
    np.testing.assert_allclose(getattr(losses, name)(EX.logprobs, EX.old, 3 * EX.advantages), 3 * one, rtol=1e-6)


def test_what_is_refused():
    for call, message in [
        (lambda: losses.cispo(EX.logprobs, EX.old, EX.advantages, epsilon=-0.1), r"cispo: epsilon is -0.1, allowed: \[0, inf\]"),
        (lambda: losses.ce_gppo(EX.logprobs, EX.old, EX.advantages, beta_low=-1.0), r"ce_gppo: beta_low is -1, allowed: \[0, inf\)"),
        (lambda: losses.gppo(EX.logprobs, EX.old, EX.advantages, dual_clip=1.0), r"gppo: dual_clip is 1, allowed: \(1, inf\]"),
        (lambda: losses.pspo(EX.logprobs, EX.old, EX.advantages, alpha=1.1), r"pspo: alpha is 1.1, allowed: \[0, 1\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
