import jax
import jax.numpy as jnp
import numpy as np

from pojax.numerics import floating, log_ratio, masked, per_row


def test_floating_promotes_half_precision_and_keeps_double(x64):
    assert floating(jnp.ones(2, jnp.bfloat16)).dtype == jnp.float32
    assert floating(np.ones(2, np.float16)).dtype == jnp.float32
    assert floating(np.ones(2, np.float32)).dtype == jnp.float32
    assert floating(np.ones(2)).dtype == jnp.float64
    assert floating(np.array([True, False])).dtype == jnp.float64


def test_floating_of_bools_is_the_default_float():
    assert floating(np.array([True])).dtype == jnp.float32


def test_masked_hides_nan_from_values_and_gradients():
    x = jnp.array([1.0, jnp.nan, jnp.inf])
    where = np.array([2, 0, 0])  # a mask of any type
    np.testing.assert_array_equal(masked(x, where), [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(masked(x, where) ** 2))(x), [2.0, 0.0, 0.0])


def test_per_row_shapes():
    assert per_row(0.5, 2).shape == () and per_row(np.ones(4), 2).shape == (4, 1) and per_row(np.ones((4, 1)), 1).shape == (4,)
    assert per_row(np.ones((4, 3)), 2).shape == (4, 3) and per_row(np.ones(4), 1).shape == (4,)


def test_log_ratio_is_clamped_without_gradient_beyond():
    ratio = jax.value_and_grad(lambda x: jnp.exp(log_ratio(x, jnp.zeros(()))))
    np.testing.assert_allclose(ratio(1000.0), (np.exp(20.0), 0.0), rtol=1e-6)
    np.testing.assert_allclose(ratio(-1000.0), (np.exp(-20.0), 0.0), rtol=1e-6)
    assert log_ratio(jnp.bfloat16(-1.0), jnp.bfloat16(-1.25)).dtype == jnp.float32
