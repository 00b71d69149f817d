import jax.numpy as jnp
import numpy as np
import pytest
from arrays import LOGPROBS, MASK, OLD, assert_gradient

from pojax import advantages, losses
from pojax.losses import aggregations as aggregate

PAIRS = np.array([0, 0, 1, 1])
IOU = np.array([0.9, 0.7, 0.1, 0.0])


def test_card():
    np.testing.assert_allclose(advantages.hard_prompt_weight(IOU, PAIRS), [1.2214, 1.2214, 2.58571, 2.58571], rtol=1e-5)
    a = advantages.group_center(np.array([1.3, 0.1]), np.zeros(2, int))
    loss = losses.ppo_clip(LOGPROBS, OLD, jnp.repeat(a[:, None], 3, axis=1))
    np.testing.assert_allclose(jnp.sum(1.4 * aggregate.constant(MASK, length=64) * loss), -0.00674138, rtol=1e-5)


FORMS = {
    "exp": lambda m: np.exp(1 - m),
    "power": lambda m: (1.05 - m) ** 2,
    "log": lambda m: -np.log(0.02 + m),
}


@pytest.mark.parametrize("form", FORMS)
def test_double_precision(x64, form):
    rng = np.random.default_rng(0)
    groups, r = rng.permutation(np.repeat([4, 9, -1, 7], [4, 3, 2, 1])), rng.uniform(size=10)
    expected = [FORMS[form](np.mean(r[groups == g])) if g >= 0 else 0.0 for g in groups]
    dirty = np.where(groups < 0, np.nan, r)
    np.testing.assert_allclose(advantages.hard_prompt_weight(dirty, groups, form=form, power=2.0), expected, rtol=1e-9)
    batch = advantages.hard_prompt_weight(dirty, groups, form=form, power=2.0, over="batch")
    np.testing.assert_allclose(batch, np.where(groups >= 0, FORMS[form](np.mean(r[groups >= 0])), 0.0), rtol=1e-9)
    assert_gradient(lambda r: advantages.hard_prompt_weight(r, groups, form=form, power=2.0), r)


def test_degenerate():
    np.testing.assert_allclose(advantages.hard_prompt_weight(np.array([1.0, 1, 0, 0]), PAIRS), [1, 1, np.e, np.e], rtol=1e-6)
    with pytest.raises(ValueError, match="form is 'linear', allowed: {exp, power, log}"):
        advantages.hard_prompt_weight(IOU, PAIRS, form="linear")


def test_size_weight(x64):
    sizes, groups = np.array([0.5, 0.1, 0.25, 0.0, 9.0]), np.array([3, 3, 1, 1, -1])
    expected = np.array([2.0, 10.0, 4.0, 0.0, 0.0]) / (16.0 / 3.0)
    np.testing.assert_allclose(advantages.size_weight(sizes, groups), expected, rtol=1e-9)
    carries = np.array([0, 1, 2])
    np.testing.assert_allclose(advantages.size_weight(carries, np.zeros(3, int), offset=1.0, power=1.0), [0.5, 1.0, 1.5], rtol=1e-9)
    np.testing.assert_array_equal(advantages.size_weight(np.zeros(3), np.zeros(3, int)), np.zeros(3))
