import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import trackers
from pojax.trackers.success_rates import beta_prior, policy_distance, retention

N, T = 5, 3
TOKENS = np.arange(6).reshape(2, 3)
MASK = np.array([[1, 1, 1], [1, 1, 0]])
LOGPROBS = -np.arange(6.0).reshape(2, 3)
UPDATE = jax.jit(trackers.single_stream.update)


def update(table, rewards, prompt_index, groups=(0, 1), previous=None, logprobs=LOGPROBS, **hyper):
    previous = np.zeros((2, T)) if previous is None else previous
    args = (np.array(rewards, float), np.array(prompt_index), np.array(groups), TOKENS, MASK, logprobs, np.array([1.0, 0.5]), previous)
    return (trackers.single_stream.update if hyper else UPDATE)(table, *args, **hyper)


def test_card_worked_numbers():
    alpha, beta = beta_prior(np.array([4]), 8)  # of [1, 0, 1, 1, 0, 0, 0, 1]
    np.testing.assert_allclose((alpha[0], beta[0]), (4, 4), rtol=1e-6)
    np.testing.assert_allclose(retention(np.array([0, 0.006, 0.03])), [0.96, 0.933033, 0.875], rtol=1e-5)


def test_card_update():
    """Success rates with alpha [4, 1, 7], beta [4, 7, 1], rewards [1, 1, 0] and rho (.9, .96, .875)."""
    table = trackers.single_stream.init(3, 1, alpha=np.array([4.0, 1.0, 7.0]), beta=np.array([4.0, 7.0, 1.0]))
    stored = np.zeros((3, 1))
    table = table._replace(mask=jnp.ones((3, 1), bool), visited=jnp.ones(3, bool))
    rho = np.array([0.9, 0.96, 0.875])
    previous = stored + 0.06 * -np.log2(rho)[:, None]  # the distance at which that much is kept
    new = trackers.single_stream.update(
        table, np.array([1.0, 1.0, 0.0]), np.arange(3), np.arange(3), stored.astype(int), stored + 1, stored, np.ones(3), previous
    )
    np.testing.assert_allclose(new.alpha, [4.6, 1.96, 6.125], rtol=1e-5)
    np.testing.assert_allclose(new.beta, [3.6, 6.72, 1.875], rtol=1e-5)
    np.testing.assert_allclose(table.value, [4 / 8, 1 / 8, 7 / 8], rtol=1e-6)


def test_first_visit_and_what_is_stored():
    table = update(trackers.single_stream.init(N, T), [1.0, 0.25], [3, 0], previous=np.full((2, T), -50.0))
    np.testing.assert_allclose(table.alpha, [0.48 + 0.25, 0.5, 0.5, 1.48, 0.5], rtol=1e-6)  # never visited: no distance, rho = 0.96
    np.testing.assert_allclose(table.beta, [0.48 + 0.75, 0.5, 0.5, 0.48, 0.5], rtol=1e-6)
    np.testing.assert_array_equal(table.tokens[np.array([3, 0])], TOKENS)
    np.testing.assert_array_equal(table.mask[np.array([3, 0])], MASK.astype(bool))
    np.testing.assert_array_equal(table.logprobs[np.array([3, 0])], LOGPROBS * MASK)
    np.testing.assert_array_equal(table.temperature, [0.5, 1, 1, 1, 1])
    np.testing.assert_array_equal(table.visited, [True, False, False, True, False])


def test_second_visit_measures_the_distance_on_the_stored_response():
    table = update(trackers.single_stream.init(N, T), [1.0, 0.0], [3, 0])
    junk = np.array([[0, 0, 0], [0, 0, np.nan]])  # the third token of the second response is masked
    again = update(table, [1.0, 1.0], [3, 0], previous=LOGPROBS + np.array([[0.006], [-0.03]]) + junk)
    rho = np.array([2**-0.1, 0.875])
    np.testing.assert_allclose(again.alpha[np.array([3, 0])], rho * np.asarray(table.alpha)[[3, 0]] + 1, rtol=1e-5)
    np.testing.assert_allclose(again.beta[np.array([3, 0])], rho * np.asarray(table.beta)[[3, 0]], rtol=1e-5)
    slow = update(table, [1.0, 1.0], [3, 0], previous=LOGPROBS + 0.06, halving=0.06, low=0.0)
    np.testing.assert_allclose(slow.beta[np.array([3, 0])], 0.5 * np.asarray(table.beta)[[3, 0]], rtol=1e-5)


def test_last_row_of_a_prompt_wins():
    table = trackers.single_stream.init(N, T)
    both = update(table, [0.0, 1.0], [2, 2])
    np.testing.assert_allclose((both.alpha[2], both.beta[2]), (1.48, 0.48), rtol=1e-6)
    np.testing.assert_array_equal(both.tokens[2], TOKENS[1])
    first = update(table, [0.0, 1.0], [2, 2], groups=[0, -1])  # the last one is out
    np.testing.assert_allclose((first.alpha[2], first.beta[2]), (0.48, 1.48), rtol=1e-6)
    np.testing.assert_array_equal(first.tokens[2], TOKENS[0])


def test_rows_that_are_out_change_nothing():
    table = trackers.single_stream.init(N, T)
    same = update(table, [np.nan, np.nan], [4, 1], groups=[-1, -1], previous=np.full((2, T), np.nan), logprobs=np.full((2, T), np.nan))
    for before, after in zip(table, same, strict=True):
        np.testing.assert_array_equal(before, after)


def test_types_of_the_table_never_change():
    table = trackers.single_stream.init(N, T)
    after = jax.eval_shape(lambda t: update(t, [1.0, 0.0], [3, 0]), table)
    assert [(x.shape, x.dtype, x.weak_type) for x in table] == [(x.shape, x.dtype, x.weak_type) for x in after]


def test_distance_is_a_mean_over_the_tokens_that_count(x64):
    before, after = np.random.default_rng(0).normal(size=(2, 2, T))
    expected = [np.abs(before - after)[b][MASK[b] > 0].mean() for b in range(2)]
    np.testing.assert_allclose(policy_distance(before, after, MASK), expected, rtol=1e-9)
    np.testing.assert_array_equal(policy_distance(before * np.nan, after, 0 * MASK), 0)


def test_refuses():
    table, args = trackers.single_stream.init(N, T), (TOKENS, MASK, LOGPROBS, np.ones(2), LOGPROBS)
    with pytest.raises(ValueError, match=r"rewards is 1.1, allowed: \[0, 1\]"):
        trackers.single_stream.update(table, np.array([1.1, 0.0]), np.arange(2), np.arange(2), *args)
    with pytest.raises(ValueError, match=r"prompt_index is 5, allowed: \[-1, 5\)"):
        trackers.single_stream.update(table, np.array([1.0, 0.0]), np.array([0, 5]), np.arange(2), *args)
    with pytest.raises(ValueError, match=r"logprobs has shape \[2, 3\], allowed: \[B, T\] with T = 4"):
        trackers.single_stream.update(trackers.single_stream.init(N, 4), np.array([1.0, 0.0]), np.arange(2), np.arange(2), *args)
