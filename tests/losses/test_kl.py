import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient

from pojax import losses
from pojax.losses import aggregations

FORMS = {f.__name__: f for f in (losses.k1, losses.k2, losses.k3, losses.k1_value_k2_gradient, losses.k3_value_k2_gradient)}
D = EX.logprobs - EX.ref
VALUES = {"k1": D, "k2": D**2 / 2, "k3": np.exp(-D) + D - 1}
GRADIENTS = {"k1": np.ones_like(D), "k2": D, "k3": 1 - np.exp(-D)}


def value_and_gradient(name, logprobs=EX.logprobs, ref=EX.ref):
    form = FORMS[name]
    return form(logprobs, ref), jax.grad(lambda x: jnp.sum(form(x, ref)))(jnp.asarray(logprobs))


@pytest.mark.parametrize(("name", "expected"), [("k1", 0.268182), ("k2", 0.318295), ("k3", 0.216743)])
def test_card(name, expected):
    value = jnp.sum(aggregations.token_mean(EX.mask) * FORMS[name](EX.logprobs, EX.ref))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("name", FORMS)
def test_value_and_gradient_are_what_the_name_says(x64, name):
    parts = name.split("_")  # k1, or k1_value_k2_gradient
    value, gradient = value_and_gradient(name)
    np.testing.assert_allclose(value, VALUES[parts[0]], rtol=1e-9)
    np.testing.assert_allclose(gradient, GRADIENTS[parts[2] if len(parts) > 1 else name], rtol=1e-9)
    if len(parts) == 1:
        assert_gradient(lambda x: FORMS[name](x, EX.ref), EX.logprobs)


def test_straight_through_has_the_bits_of_the_value():
    for name in ("k1", "k3"):
        np.testing.assert_array_equal(FORMS[f"{name}_value_k2_gradient"](EX.logprobs, EX.ref), FORMS[name](EX.logprobs, EX.ref))


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("shift", [0.0, 1e3, -1e3])
def test_finite_and_zero_where_equal(name, shift):
    value, gradient = value_and_gradient(name, EX.old + shift, EX.old)
    assert np.isfinite(value).all() and np.isfinite(gradient).all()
    if shift == 0.0:
        np.testing.assert_array_equal(value, 0)


def test_k3_is_never_negative_in_float32():
    d = np.float32(np.concatenate([np.logspace(-9, 1, 60), -np.logspace(-9, 1, 60)]))[None]
    assert np.min(losses.k3(d, np.zeros_like(d))) >= -1e-9
