import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX, assert_gradient

from pojax import advantages, losses
from pojax.losses.aggregations import sequence_mean

REWARDS, ONE = np.array([0.2, 1, -0.5, 0.4]), np.zeros(4, int)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("best", [1e-08, 1, 1e-08, 1e-08]),
        ("best_random", [0.142857, 0.571429, 0.142857, 0.142857]),
        ("best_worst", [5e-09, 0.5, 0.5, 5e-09]),
        ("power", [0.0275862, 0.689655, 0.172414, 0.110345]),
    ],
)
def test_worked_example(rule, expected):
    np.testing.assert_allclose(advantages.filtration_weights(REWARDS, ONE, rule=rule), expected, rtol=1e-5)


def reference(r, groups, rule, form):
    out = np.zeros(len(r))
    batch = np.where(groups >= 0, 0, -1) if form == "verl" else groups
    for g in set(batch[batch >= 0]):
        rows = np.flatnonzero(batch == g)
        x = r[rows]
        best, worst = np.zeros(len(x), bool), np.zeros(len(x), bool)
        if form == "verl":
            best, worst = x == x.max(), x == x.min()
        else:
            best[int(np.argmax(x))] = worst[int(np.argmin(x))] = True
        w = {"best": best * 1.0, "best_random": np.where(best, 0.4, 0.1), "best_worst": (best | worst) * 1.0, "power": x**2}[rule] + 1e-8
        out[rows] = w / w.sum()
    return out


@pytest.mark.parametrize("rule", ["best", "best_random", "best_worst", "power"])
@pytest.mark.parametrize("form", ["paper", "verl"])
def test_in_double_precision(x64, rule, form):
    rng = np.random.default_rng(1)
    groups = rng.permutation(np.repeat([7, 0, 3, -1], [4, 5, 1, 3]))
    r = rng.integers(-1, 3, 13) / 2  # with ties
    given = np.where(groups < 0, np.nan, r)
    value = advantages.filtration_weights(given, groups, rule=rule, form=form)
    np.testing.assert_allclose(value, reference(r, groups, rule, form), rtol=1e-9)
    if rule == "power":
        assert_gradient(lambda x: advantages.filtration_weights(x, ONE, rule=rule), REWARDS)


def test_equal_rewards():
    equal = np.full(4, 0.3)
    np.testing.assert_allclose(advantages.filtration_weights(equal, ONE), [1, 1e-8, 1e-8, 1e-8], rtol=1e-5)  # one row is both extremes
    for r in (equal, 0 * equal):
        np.testing.assert_allclose(advantages.filtration_weights(r, ONE, rule="power"), 0.25, rtol=1e-6)
    np.testing.assert_allclose(advantages.filtration_weights(equal, ONE, form="verl"), 0.25, rtol=1e-6)  # all tie with both


def test_draws_are_whole_numbers_of_the_right_expectation():
    groups = np.array([5, 2, 5, -1, 5, 2, 5])
    weight = np.array([0.1, 0.75, 0.2, np.nan, 0.7, 0.25, 0.0], np.float32)
    draws = jax.jit(jax.vmap(lambda key: advantages.resample(key, weight, groups)))(jax.random.split(jax.random.key(3), 4000))
    draws = np.asarray(draws)
    assert (draws == np.round(draws)).all() and (draws[:, [3, 6]] == 0).all()
    np.testing.assert_array_equal(draws[:, groups == 5].sum(1), 4)
    np.testing.assert_array_equal(draws[:, groups == 2].sum(1), 2)
    np.testing.assert_allclose(draws.mean(0), [0.4, 1.5, 0.8, 0, 2.8, 0.5, 0], atol=0.06)  # 4 standard errors of a sum of four draws
    assert len(np.unique(draws, axis=0)) > 10
    batch = advantages.resample(jax.random.key(0), np.full(7, 1 / 6), groups, form="verl")
    assert float(jnp.sum(batch)) == 6 and batch[3] == 0


def test_multiplicities_give_the_loss_of_the_resampled_batch():
    """Every response weighs the same: rows that are drawn twice count twice in the sum, and the number of rows stays."""
    times = np.array([2, 0, 1, 1])
    value = jnp.sum(sequence_mean(EX.mask) * times[:, None] * losses.ppo_clip(EX.logprobs, EX.old, EX.advantages))
    rows = np.repeat(np.arange(4), times)
    again = jnp.sum(sequence_mean(EX.mask[rows]) * losses.ppo_clip(EX.logprobs[rows], EX.old[rows], EX.advantages[rows]))
    np.testing.assert_allclose(value, again, rtol=1e-6)


def test_hard_filter():
    groups = np.array([0, 0, 0, 0, 3, 3, -1, 9])
    rewards = np.array([0.2, 1, -0.5, 0.4, 0.7, 0.7, np.nan, 0.1])
    keep = np.ones((8, 2))

    def rows(rule, key=0):
        return np.flatnonzero(np.asarray(advantages.filter_extremes(jax.random.key(key), keep, rewards, groups, rule=rule))[:, 0]).tolist()

    assert rows("best") == [1, 4, 7]
    assert rows("best_worst") == [1, 2, 4, 7]
    seen = {tuple(rows("best_random", key)) for key in range(40)}
    assert seen == {tuple(sorted((1, other, 4, 5, 7))) for other in (0, 2, 3)}


@pytest.mark.parametrize("ddof", [0, 1])
def test_normalised_among_what_was_drawn(x64, ddof):
    """The same as GRPO's advantages of the batch in which every response stands as often as it was drawn."""
    rng = np.random.default_rng(0)
    groups, times = rng.permutation(np.repeat([3, 0, 7, -1], 5)), rng.integers(0, 4, 20).astype(float)
    rewards = np.where(groups < 0, np.nan, rng.uniform(size=20))
    rows = np.repeat(np.arange(20), np.where(groups < 0, 0, times).astype(int))
    expected = np.zeros(20)
    for g in (3, 0, 7):
        x = rewards[rows[groups[rows] == g]]
        for b in np.flatnonzero((groups == g) & (times > 0)):
            expected[b] = (rewards[b] - x.mean()) / (x.std(ddof=ddof) + 1e-3)
    value = advantages.resampled_normalize(rewards, times, groups, epsilon=1e-3, ddof=ddof)
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(advantages.resampled_normalize(np.array([0.7, 0.7, 1.0]), np.array([5.0, 2, 0]), np.zeros(3, int)), 0)
    smooth = np.array([1.0, 2, 0, 1])
    assert_gradient(lambda r: advantages.resampled_normalize(r, smooth, ONE, epsilon=1e-3, ddof=ddof), REWARDS)
