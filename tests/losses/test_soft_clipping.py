import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX
from frozen import CASE, assert_like, tokens

from pojax import losses
from pojax.losses import aggregations as aggregate


def value_and_gradient(name, coefficients, **hyper):
    rule = getattr(losses, name)
    return jax.value_and_grad(lambda x: jnp.sum(coefficients * rule(x, EX.old, EX.advantages, **hyper)))(jnp.asarray(EX.logprobs))


def test_card_of_sapo():
    value, slope = value_and_gradient("sapo", aggregate.sequence_mean(EX.mask))
    np.testing.assert_allclose(value, 0.664589, rtol=1e-5)
    expected = [
        [-0.0918434, -0.0543692, -0.113212],
        [0.0659325, 0.0713435, 0.0432612],
        [-0.0320563, -0.0437742, -0.0152554],
        [0.269453, 0.178239, 0],
    ]
    np.testing.assert_allclose(slope, expected, rtol=1e-5)
    on_policy = jnp.sum(aggregate.sequence_mean(EX.mask) * losses.sapo(EX.old, EX.old, EX.advantages))
    np.testing.assert_allclose(on_policy, 0.440476, rtol=1e-5)


@pytest.mark.parametrize(("a", "expected"), [(1.0, [0.470007, 1, 1.5729, 0.353254]), (-1.0, [0.46707, 1, 1.53622, 0.291115])])
def test_card_of_the_weights_of_sapo(a, expected):
    x = jnp.log(jnp.array([[0.5, 1.0, 2.0, 5.0]]))
    slope = jax.grad(lambda x: jnp.sum(losses.sapo(x, np.zeros((1, 4)), np.full((1, 4), a))))(x)
    np.testing.assert_allclose(slope, [-a * np.array(expected)], rtol=1e-5)


def test_card_of_simple_policy_optimization():
    value, slope = value_and_gradient("spo_simple", aggregate.token_mean(EX.mask))
    np.testing.assert_allclose(value, 4.57393, rtol=1e-5)
    expected = [
        [-0.0476374, -0.161389, 0.141305],
        [4.78559, 0.0237508, -0.0626614],
        [-0.0745523, -0.0355351, 4.22475],
        [2.78316, 0.0980822, 0],
    ]
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


def test_double_precision(x64):
    a, old = CASE.token_advantages, CASE.old

    def sapo(x, fixed, b, t):
        tau = 1.2 if a[b, t] > 0 else 0.9
        return -4 / tau / (1 + np.exp(-tau * (np.exp(x - old[b, t]) - 1))) * a[b, t]

    def simple(x, fixed, b, t):
        r = np.exp(x) / np.exp(old[b, t])
        return abs(a[b, t]) * (r - 1) ** 2 / 0.6 - a[b, t] * r

    assert_like(lambda x: losses.sapo(x, old, a, tau=1.2, tau_negative=0.9), tokens(sapo))
    assert_like(lambda x: losses.spo_simple(x, old, a, epsilon=0.3), tokens(simple))


def test_far_ratios():
    """SAPO is bounded by 4 |A| / tau, with no gradient; Simple PO is finite and points back."""
    far = jnp.full((4, 3), 100.0)
    for rule in (losses.sapo, losses.spo_simple):
        value, slope = jax.value_and_grad(lambda x, rule=rule: jnp.sum(rule(x, np.zeros((4, 3)), EX.advantages)))(far)
        assert np.isfinite(value) and np.isfinite(slope).all() and not np.any(slope)
    value = losses.sapo(far, np.zeros((4, 3)), EX.advantages)
    np.testing.assert_allclose(value, -4 * EX.advantages / np.where(EX.advantages > 0, 1.0, 1.05), rtol=1e-6)
    beyond = jnp.log(jnp.array([[1.19, 1.2, 1.21]]))
    slope = jax.grad(lambda x: jnp.sum(losses.spo_simple(x, np.zeros((1, 3)), np.ones((1, 3)))))(beyond)
    np.testing.assert_allclose(slope, [[-1.19 * 0.05, 0, 1.21 * 0.05]], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["sapo", "spo_simple"])
def test_zero_advantages_and_homogeneity(name):
    rule = getattr(losses, name)
    value, slope = jax.value_and_grad(lambda x: jnp.sum(rule(x, EX.old, np.zeros((4, 3)))))(jnp.asarray(EX.logprobs))
    assert value == 0 and not np.any(slope)
    np.testing.assert_allclose(rule(EX.logprobs, EX.old, 3 * EX.advantages), 3 * rule(EX.logprobs, EX.old, EX.advantages), rtol=1e-6)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"sapo: tau is 0, allowed: \(0, inf\)"):
        losses.sapo(EX.logprobs, EX.old, EX.advantages, tau=0.0)
    with pytest.raises(ValueError, match=r"spo_simple: epsilon is 0, allowed: \(0, inf\)"):
        losses.spo_simple(EX.logprobs, EX.old, EX.advantages, epsilon=0.0)
