import numpy as np
import pytest
from arrays import MASK, OLD, REF, assert_gradient

from pojax import advantages, rewards

ONES = np.zeros(2, int)


def plus_plus(r, old, ref, mask, groups, *, beta, gamma, population=False):
    """REINFORCE++ token by token: KL in the reward, discounted returns over masked tokens, whitening over all of them."""
    returns = np.zeros(mask.shape)
    for b in range(len(r)):
        following, last = 0.0, True
        for t in reversed(range(mask.shape[1])):
            if mask[b, t]:
                following = -beta * (old[b, t] - ref[b, t]) + (r[b] if last else gamma * following)
                returns[b, t], last = following, False
    on = (mask != 0) & (groups >= 0)[:, None]
    x = returns[on]
    v = x.var(ddof=0 if population else 1)
    root = np.sqrt(max(v, 1e-8)) if population else np.sqrt(v + 1e-8)
    return np.where(on, (returns - x.mean()) / root, 0.0)


def composed(r, old, ref, mask, groups, *, beta, gamma=1.0, **how):
    dense = rewards.token_kl_penalty(old, ref, mask, coefficient=beta)
    return advantages.token_whiten(advantages.token_returns(r, mask, dense, gamma=gamma), mask, groups, **how)


def test_worked_example():
    value = composed(np.array([1.0, 0.0]), OLD, REF, MASK, np.array([0, 1]), beta=0.1)
    np.testing.assert_allclose(value, [[0.724089, 0.7149, 0.751655], [-1.10451, -1.08613, 0]], rtol=1e-5)
    centred = advantages.group_center(np.array([1.0, 0.0]), ONES)
    baseline = advantages.token_whiten(centred, MASK, ONES)
    np.testing.assert_allclose(baseline, [[0.730297] * 3, [-1.09545, -1.09545, 0]], rtol=1e-5)


@pytest.mark.parametrize("population", [False, True])
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_double_precision(x64, population, gamma):
    rng = np.random.default_rng(0)
    r, (old, ref) = rng.normal(size=7), rng.normal(size=(2, 7, 5))
    mask = rng.integers(0, 2, (7, 5))  # holes: tool output
    mask[3] = 0
    groups = np.array([4, 4, -1, 0, 0, 2, 2])
    r, old = np.where(groups < 0, np.nan, r), np.where((groups < 0)[:, None] | (mask == 0), np.inf, old)
    expected = plus_plus(r, old, ref, mask, groups, beta=0.3, gamma=gamma, population=population)
    variance = "population" if population else "unbiased"
    np.testing.assert_allclose(
        composed(r, old, ref, mask, groups, beta=0.3, gamma=gamma, variance=variance), expected, rtol=1e-9, atol=1e-12
    )


def test_gradient(x64):
    rng = np.random.default_rng(1)
    mask, groups, x = np.array([[1, 0, 1], [1, 1, 1], [0, 1, 0]]), np.array([0, 3, 3]), rng.normal(size=(3, 3))
    assert_gradient(lambda x: advantages.token_returns(x[:, 0], mask, x, gamma=0.7), x)
    assert_gradient(lambda x: advantages.token_whiten(x, mask, groups), x)
    assert_gradient(lambda x: advantages.token_whiten(x, mask, groups, variance="population"), x)


def test_the_reward_stands_on_the_last_masked_token():
    mask = np.array([[1, 0, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(advantages.token_returns(np.array([2.0, 3.0]), mask, gamma=0.5), [[1.0, 0, 2.0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("variance", ["unbiased", "population"])
def test_degenerate(variance):
    whiten = lambda a, mask, groups: np.asarray(advantages.token_whiten(a, mask, groups, variance=variance))  # noqa: E731
    assert not whiten(np.full(2, 0.7), MASK, ONES).any()  # equal returns: exactly 0
    assert not whiten(np.array([1.0, 0.0]), np.array([[0, 1], [0, 0]]), ONES).any()  # fewer than two tokens
    assert not whiten(np.array([1.0, 0.0]), 0 * MASK, ONES).any()
    assert not whiten(np.array([1.0, 0.0]), MASK, np.array([-1, -1])).any()
    tiny = whiten(np.array([1e-6, 0.0]), MASK, ONES)  # the floor of the variance
    assert 0 < np.abs(tiny).max() < 0.02
    with pytest.raises(ValueError, match="token_whiten: variance is 'biased', allowed: {unbiased, population}"):
        advantages.token_whiten(np.zeros(2), MASK, ONES, variance="biased")


def test_groups_of_one_keep_their_reward_where_asked():
    r, groups = np.array([0.4, 1.0, 0.0]), np.array([2, 5, 5])
    np.testing.assert_allclose(advantages.group_center(r, groups, singles="reward"), [0.4, 0.5, -0.5], rtol=1e-6)
    np.testing.assert_allclose(advantages.group_center(r, groups), [0, 0.5, -0.5], rtol=1e-6)
    with pytest.raises(ValueError, match="singles is 'raw', allowed: {zero, reward}"):
        advantages.group_center(r, groups, singles="raw")
