import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import GROUPS6, LOGPROBS, MASK, OLD, REF, REWARDS6, assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st

from pojax import advantages, losses, rewards
from pojax.losses import aggregations

RULES = {f.__name__: jax.jit(f) for f in (advantages.group_center, advantages.leave_one_out, advantages.batch_center)}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (advantages.batch_center, [0.5, -0.5, -0.5, 0.5, 0.5, -0.5]),
        (advantages.group_center, [0.666667, -0.333333, -0.333333, 0.333333, 0.333333, -0.666667]),
        (advantages.leave_one_out, [1, -0.5, -0.5, 0.5, 0.5, -1]),
    ],
)
def test_card(rule, expected):
    np.testing.assert_allclose(rule(REWARDS6, GROUPS6), expected, rtol=1e-5)


def test_card_moving_baseline():
    np.testing.assert_allclose(advantages.subtract_baseline(REWARDS6, 3 / 4), [0.25, -0.75, -0.75, 0.25, 0.25, -0.75])
    np.testing.assert_allclose(advantages.subtract_baseline(REWARDS6, np.arange(6.0)), REWARDS6 - np.arange(6))


def test_card_reinforce_loss():
    advantage = np.array([[0.5] * 3, [-0.5] * 3])
    loss = aggregations.sequence_mean_token_sum(MASK) * losses.policy_gradient(LOGPROBS, advantage)
    np.testing.assert_allclose(jnp.sum(loss), 0.05, rtol=1e-5)


def test_card_remax():
    token_rewards = rewards.token_kl_penalty(OLD, REF, MASK, coefficient=0.05)
    weight = advantages.remax(np.array([1.5, -0.2]), np.array([0.5, 0.1]), MASK, token_rewards)
    np.testing.assert_allclose(weight, [[0.972799, 0.9701, 0.985], [-0.29903, -0.302, 0]], rtol=1e-5)
    loss = jnp.sum(aggregations.token_mean(MASK) * losses.policy_gradient(LOGPROBS, weight))
    np.testing.assert_allclose(loss, 0.240813, rtol=1e-5)


@settings(max_examples=30)
@given(st.lists(st.integers(-1, 3), min_size=6, max_size=6), st.integers(0, 2**31), st.sampled_from(sorted(RULES)))
def test_properties_of_group_rules(ids, seed, name):
    rule, ids, rng = RULES[name], np.array(ids), np.random.default_rng(seed)
    r = rng.integers(0, 4, 6).astype(np.float32)
    value = np.asarray(rule(r, ids))
    order = rng.permutation(6)
    np.testing.assert_allclose(rule(r[order], ids[order]), value[order], atol=1e-6)
    np.testing.assert_allclose(rule(r + 8, ids), value, atol=1e-5)  # constants shift out
    np.testing.assert_allclose(rule(4 * r, ids), 4 * value, atol=1e-5)
    np.testing.assert_allclose(rule(r, np.where(ids >= 0, 10 * (5 - ids), -1)), value, atol=1e-6)  # ids are names
    np.testing.assert_array_equal(value[ids < 0], 0)
    np.testing.assert_allclose([value[ids == i].sum() for i in range(4)] if name != "batch_center" else value.sum(), 0, atol=1e-5)
    padded = rule(np.append(r, np.float32([np.nan] * 2)), np.append(ids, [-1] * 2))
    np.testing.assert_allclose(padded, np.append(value, [0, 0]), atol=1e-6)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_equal_rewards_and_groups_of_one_give_exactly_zero(rule):
    np.testing.assert_array_equal(rule(np.full(7, 0.7, np.float32), np.zeros(7, int)), 0)
    np.testing.assert_array_equal(rule(np.array([3.3, np.nan]), np.array([5, -1])), 0)


def test_leave_one_out_in_double_precision(x64):
    r, ids = np.random.default_rng(0).normal(size=6), np.array([3, 1, 3, 3, 1, 9])
    expected = [r[i] - np.mean([r[j] for j in range(6) if ids[j] == ids[i] and j != i] or [r[i]]) for i in range(6)]
    np.testing.assert_allclose(advantages.leave_one_out(r, ids), expected, rtol=1e-9)
    assert_gradient(lambda r: advantages.leave_one_out(r, ids), r)
    assert_gradient(lambda r: advantages.group_center(r, ids), r)
    assert_gradient(lambda r: advantages.batch_center(r, ids), r)


def test_leave_one_out_drops_unscorable_rewards():
    value = advantages.leave_one_out(np.array([1.0, np.nan, 0.0, 0.0, np.nan, 1.0]), np.array([0, 0, 0, 0, 4, 4]))
    np.testing.assert_allclose(value, [1.0, 0.0, -0.5, -0.5, 0.0, 0.0], rtol=1e-6)


def test_remax_in_double_precision(x64):
    rng = np.random.default_rng(2)
    mask = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 1, 1, 0, 1]])  # tool output in between; an empty row
    r, greedy, dense = rng.normal(size=3) * 5, rng.normal(size=3), rng.normal(size=(3, 5))
    expected = np.zeros((3, 5))
    for b in range(3):
        places = np.flatnonzero(mask[b])
        for t, place in enumerate(places):
            expected[b, place] = dense[b, place] + 0.9 ** (len(places) - t) * np.clip(r[b] - greedy[b], -2, 2)

    def rule(r, dense=dense, gamma=0.9):
        return advantages.remax(r, greedy, mask, dense, gamma=gamma, clip=2.0)

    np.testing.assert_allclose(rule(r), expected, rtol=1e-9)
    np.testing.assert_allclose(advantages.remax(r, r, mask, dense), dense * mask, rtol=1e-12)  # sampled equals greedy: only the dense part
    assert_gradient(rule, r)
    assert_gradient(lambda dense: rule(r, dense), dense)
    assert_gradient(lambda gamma: rule(r, gamma=gamma), np.array(0.9))
    np.testing.assert_array_equal(rule(r, gamma=0.0), dense * mask)
    last = np.clip(r - greedy, -2, 2)[[0, 2]].sum()  # at gamma = 0 only the last token of a row that has one depends on gamma
    np.testing.assert_allclose(jax.grad(lambda gamma: jnp.sum(rule(r, gamma=gamma)))(0.0), last, rtol=1e-9)


LENGTHS6 = np.array([10, 30, 20, 5, 15, 40])


def test_worked_example_of_length_weighted_center():
    value = advantages.length_weighted_center(REWARDS6, LENGTHS6, GROUPS6)
    np.testing.assert_allclose(value, [0.833333, -0.166667, -0.166667, 0.666667, 0.666667, -0.333333], rtol=1e-5)


def test_length_weighted_center_in_double_precision(x64):
    rng = np.random.default_rng(0)
    ids = rng.permutation(np.repeat([7, 0, 3, -1], [4, 5, 3, 2]))
    r, n = rng.normal(size=14), rng.integers(0, 9, 14)
    n[ids == 3] = 0
    expected = np.zeros(14)
    for i in (7, 0, 3):
        at = ids == i
        expected[at] = r[at] - (np.sum(n[at] * r[at]) / n[at].sum() if i != 3 else r[at].mean())
    value = advantages.length_weighted_center(np.where(ids < 0, np.nan, r), n, ids)
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose([np.sum((n * value)[ids == i]) for i in (7, 0)], 0, atol=1e-12)
    assert_gradient(lambda r: advantages.length_weighted_center(r, n, ids), r)
    equal = advantages.length_weighted_center(r, np.full(14, 4), np.abs(ids))
    np.testing.assert_allclose(equal, advantages.group_center(r, np.abs(ids)), rtol=1e-9, atol=1e-12)


def test_length_weighted_center_of_single_and_equal_rows():
    r, groups = np.array([0.7, 0.7, 0.7, 0.3, 5.0], np.float32), np.array([0, 0, 0, 2, -1])
    np.testing.assert_array_equal(advantages.length_weighted_center(r, np.array([1, 3, 7, 2, 2]), groups), np.zeros(5))
    kept = advantages.length_weighted_center(r, np.array([1, 3, 7, 2, 2]), groups, singles="reward")
    np.testing.assert_array_equal(kept, np.array([0, 0, 0, 0.3, 0], np.float32))
