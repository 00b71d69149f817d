import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import curricula
from pojax.curricula.selection import bernoulli_uncertainty_probabilities as probabilities


def test_uniform_draws_different_prompts_and_depends_on_the_key_only():
    draws = [np.asarray(curricula.uniform(jax.random.key(seed), 7, 7)) for seed in range(5)]
    assert all(sorted(d) == list(range(7)) and d.dtype == np.int32 for d in draws)
    assert len({tuple(d) for d in draws}) > 1
    np.testing.assert_array_equal(draws[3], curricula.uniform(jax.random.key(3), 7, 7))
    assert curricula.uniform(jax.random.PRNGKey(3), 7, 2).shape == (2,)


def test_uniform_is_uniform():
    draw = jax.jit(jax.vmap(lambda key: curricula.uniform(key, 5, 2)))(jax.random.split(jax.random.key(0), 20000))
    frequency = np.bincount(np.asarray(draw).ravel(), minlength=5) / 20000
    np.testing.assert_allclose(frequency, 2 / 5, atol=5 * np.sqrt(0.4 * 0.6 / 20000))


@pytest.mark.parametrize(
    "call",
    [
        lambda: curricula.uniform(jax.random.key(0), 3, 4),
        lambda: curricula.bernoulli_uncertainty(jax.random.key(0), np.full(3, 0.5), 4),
    ],
)
def test_more_prompts_than_there_are(call):
    with pytest.raises(ValueError, match="batch_prompts is 4, allowed: at most num_prompts = 3"):
        call()


def test_card_probabilities():
    np.testing.assert_allclose(probabilities(np.array([4 / 8, 1 / 8, 7 / 8])), [0.419387, 0.290306, 0.290306], rtol=1e-5)


def test_probabilities_in_double_precision(x64):
    v = np.random.default_rng(0).uniform(size=9)
    weight = np.sqrt(v * (1 - v)) + 0.3
    np.testing.assert_allclose(probabilities(v, floor=0.3), weight / weight.sum(), rtol=1e-9)


def test_probabilities_degenerate():
    np.testing.assert_array_equal(probabilities(np.array([0.0, 1.0, 0.0, 1.0]), floor=0.0), 0.25)
    np.testing.assert_allclose(probabilities(np.array([-0.5, 0.0, 1.5])), 1 / 3, rtol=1e-6)
    assert np.isfinite(jax.grad(lambda v: probabilities(v)[0])(jnp.array([0.0, 0.5, 1.0]))).all()


def test_bernoulli_uncertainty_draws_one_after_the_other():
    """Two of three without replacement: the probability of an ordered pair is w_i / W * w_j / (W - w_i)."""
    success, keys = np.array([0.5, 0.05, 0.9]), jax.random.split(jax.random.key(1), 20000)
    weight = np.sqrt(success * (1 - success)) + 0.05
    draws = np.asarray(jax.jit(jax.vmap(lambda key: curricula.bernoulli_uncertainty(key, success, 2)))(keys))
    assert draws.dtype == np.int32
    for i, j in itertools.permutations(range(3), 2):
        expected = weight[i] / weight.sum() * weight[j] / (weight.sum() - weight[i])
        found = np.mean((draws[:, 0] == i) & (draws[:, 1] == j))
        assert abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / 20000), (i, j, found, expected)


def test_certain_prompts_are_drawn_only_when_no_other_is_left():
    draw = np.asarray(curricula.bernoulli_uncertainty(jax.random.key(0), np.array([0.0, 0.5, 1.0, 0.2]), 3, floor=0.0))
    assert set(draw[:2]) == {1, 3} and draw[2] in (0, 2)


def test_a_subset_comes_back_soon():
    """Eight of the first ten prompts at a time; of five prompts there are no more than five."""
    drawn = np.stack([curricula.uniform_subset(jax.random.key(seed), 100, 8, size=10) for seed in range(20)])
    assert set(drawn.reshape(-1).tolist()) == set(range(10)) and all(len(set(row.tolist())) == 8 for row in drawn)
    assert sorted(np.asarray(curricula.uniform_subset(jax.random.key(0), 5, 5, size=10)).tolist()) == list(range(5))
    with pytest.raises(ValueError, match="batch_prompts is 8, allowed: at most num_prompts = 4"):
        curricula.uniform_subset(jax.random.key(0), 100, 8, size=4)
