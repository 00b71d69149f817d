import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient

from pojax import losses

ZEROS, ONES = np.zeros((1, 3)), np.ones((1, 3))


def test_card():
    x, q = np.log([[1.2, 0.7, 1.5]]), np.array([[0.5, -0.3, 1.0]])
    for order, expected in ((1, -0.586), (2, -0.5617)):
        np.testing.assert_allclose(jnp.sum(losses.taypo(x, ZEROS, q, ONES, gamma=0.9, order=order)), expected, rtol=1e-5)


@pytest.mark.parametrize(("order", "expected"), [(1, [2, 3, 4]), (2, [12, 15, 16]), (3, [24, 24, 24])])
def test_card_of_the_terminal_form(order, expected):
    gradient = jax.grad(lambda x: -jnp.sum(losses.taypo(x, ZEROS, ONES, ONES, order=order)))(jnp.log(jnp.array([[2.0, 3, 4]])))
    np.testing.assert_allclose(gradient, [expected], rtol=1e-5)


def reference(x, old, a, mask, gamma, order):
    """Sum over all increasing sets of at most `order` tokens of gamma^(last) * product of (r - 1) * A(last), at the last token."""
    out = np.zeros(x.shape)
    for b in range(x.shape[0]):
        tokens = np.flatnonzero(mask[b])
        for k in range(1, order + 1):
            for chosen in itertools.combinations(range(len(tokens)), k):
                product = np.prod([np.exp(x[b, tokens[i]] - old[b, tokens[i]]) - 1 for i in chosen])
                out[b, tokens[chosen[-1]]] -= gamma ** chosen[-1] * product * a[b, tokens[chosen[-1]]]
    return out


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_double_precision(x64, order):
    rng = np.random.default_rng(order)
    x, old, a = (rng.normal(size=(4, 5)) for _ in range(3))
    mask = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]])
    value = losses.taypo(np.where(mask, x, np.nan), old, a, mask, gamma=0.8, order=order)
    np.testing.assert_allclose(value, reference(x, old, a, mask, 0.8, order), rtol=1e-9, atol=1e-12)
    assert_gradient(lambda x: losses.taypo(x, old, a, mask, gamma=0.8, order=order), x)


def test_on_policy_it_is_the_policy_gradient():
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(losses.taypo(x, EX.old, EX.advantages, EX.mask)))(jnp.asarray(EX.old))
    assert value == 0
    np.testing.assert_allclose(gradient, -EX.advantages * EX.mask, rtol=1e-6)
    with pytest.raises(ValueError, match="taypo: order is 0"):
        losses.taypo(EX.old, EX.old, EX.advantages, EX.mask, order=0)
