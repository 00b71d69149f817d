import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX

from pojax import advantages, losses
from pojax.losses.aggregations import token_mean


def swap(a, retempered, above, keep=None, groups=None, rewards=None, **hyper):
    n = len(a)
    given = (np.ones((n, 2)) if keep is None else keep, retempered, np.arange(n) if groups is None else groups, above)
    return advantages.swap_in_retempered(np.asarray(a, float), np.ones(n) if rewards is None else rewards, *given, **hyper)


@pytest.mark.parametrize(("above", "taken"), [(False, [5, 8, 9]), (True, [5])])
def test_worked_example_of_the_selection(above, taken):
    """Retempered advantages [.9, -.4, .04, 1.2, .3]: rows 0, 3, 4 of them are positive enough; half of three is one."""
    a = np.concatenate([np.full(5, 0.7), [0.9, -0.4, 0.04, 1.2, 0.3]])
    value, keep = swap(a, np.repeat([0, 1], 5), above, form="code")
    n = len(taken)
    np.testing.assert_array_equal(np.flatnonzero(keep[:, 0]), [*range(n, 5), *taken])
    np.testing.assert_allclose(np.asarray(value)[taken], 1.0)
    np.testing.assert_allclose(value[:5], 0.7, rtol=1e-6)


def test_worked_example_of_the_loss():
    """Two retempered rows take the place of the first two: here they are copies of them, so that the loss is that of the example."""
    two = np.arange(2)
    order = np.concatenate([np.arange(4), two])
    fresh, a = np.array([1.0, -1.0, 0.5, -1.5]), np.array([1.0, -1.0, 0.5, -1.5, 0.8, 0.9])
    np.testing.assert_array_equal(a[:4], fresh)
    value, keep = swap(a, np.array([0, 0, 0, 0, 1, 1]), False, keep=EX.mask[order], form="code")
    np.testing.assert_allclose(value, [1, -1, 0.5, -1.5, 1, 1])
    loss = losses.ppo_clip(EX.logprobs[order], EX.old[order], np.repeat(np.asarray(value)[:, None], 3, 1), dual_clip=3.0)
    np.testing.assert_allclose(jnp.sum(token_mean(np.asarray(keep)) * loss), -0.180345, rtol=1e-5)


def test_limits_and_rows_that_are_out():
    a = np.array([0.5, 0.5, 0.5, 0.5, 9.0, 1.0, 1.0, 1.0])
    retempered, groups = np.repeat([0, 1], 4), np.array([0, -1, 0, 0, -1, 1, 1, 1])
    value, keep = swap(a, retempered, False, groups=groups, form="code", most=2)
    np.testing.assert_array_equal(keep[:, 0], [0, 0, 0, 1, 0, 1, 1, 0])
    np.testing.assert_array_equal(np.asarray(value)[[1, 4]], 0)
    _, keep = swap(np.where(retempered, -1.0, a), retempered, False, form="code")
    np.testing.assert_array_equal(keep[:, 0], 1 - retempered)  # nothing positive: the method without retempered rows
    _, keep = swap(a, retempered, True, form="code", most=1)
    np.testing.assert_array_equal(keep[:, 0], 1 - retempered)  # half of one is none


def test_papers_form_adds_rows_with_their_rewards():
    a, rewards = np.array([0.5, -0.5, 0.9, -0.9]), np.array([1.0, 0.0, 1.0, 0.3])
    keep = np.ones((4, 2))
    value, kept = swap(a, np.array([0, 0, 1, 1]), False, keep=keep, rewards=rewards)
    np.testing.assert_allclose(value, [0.5, -0.5, 1.0, 0.3], rtol=1e-6)
    np.testing.assert_array_equal(kept, keep)
