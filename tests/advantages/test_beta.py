import math

import jax
import numpy as np
import pytest
from arrays import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st

from pojax import advantages
from pojax.advantages.beta import fit_beta

RULE = jax.jit(advantages.beta_normalize)
CENTER = jax.jit(advantages.group_center)
GROUPS = np.repeat([0, 1, 2], 4)


def reference(r, ids):
    """In double precision, group by group; no group of one."""
    names = [i for i in np.unique(ids) if i >= 0]
    p = {i: np.mean(r[ids == i]) for i in names}
    rates = np.array(list(p.values()))
    alpha = beta = 1.0
    if len(rates) > 1 and rates.var(ddof=1) > 0:
        m, v = rates.mean(), rates.var(ddof=1)
        c = m * (1 - m) / v - 1
        alpha, beta = max(1.0, 1 + c * m / 3), max(1.0, 1 + c * (1 - m) / 3)
    out = np.zeros(len(r))
    for i in names:
        if 0 < p[i] < 1:
            log_b = math.lgamma(alpha) + math.lgamma(beta) - math.lgamma(alpha + beta)
            density = math.exp((alpha - 1) * math.log(p[i]) + (beta - 1) * math.log(1 - p[i]) - log_b)
            out[ids == i] = min(1 / density, 1e6) * (r[ids == i] - p[i])
    return out


def test_card():
    r = np.array([1.0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1])
    p = np.repeat([0.25, 0.5, 1.0], 4)
    np.testing.assert_allclose(fit_beta(p, GROUPS), (1.12963, 1.09259), rtol=1e-5)
    expected = [0.741541, -0.24718, -0.24718, -0.24718, 0.469166, 0.469166, -0.469166, -0.469166, 0, 0, 0, 0]
    np.testing.assert_allclose(advantages.beta_normalize(r, GROUPS), expected, rtol=1e-5)


def test_card_symmetric_is_group_normalize_up_to_a_constant():
    r = np.array([1.0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0])
    np.testing.assert_allclose(fit_beta(np.repeat([0.25, 0.5, 0.75], 4), GROUPS), (1.5, 1.5), rtol=1e-5)
    value = advantages.beta_normalize(r, GROUPS)
    expected = [
        0.680175,
        -0.226725,
        -0.226725,
        -0.226725,
        0.392699,
        0.392699,
        -0.392699,
        -0.392699,
        0.226725,
        0.226725,
        0.226725,
        -0.680175,
    ]
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    grpo = advantages.group_normalize(r, GROUPS, epsilon=0.0, ddof=0)
    np.testing.assert_allclose(value, np.pi / 8 * grpo, rtol=1e-5)


def test_card_two_rewards():
    components = {"correct": np.array([1.0, 0, 1, 1]), "format": np.array([1.0, 1, 0, 1])}
    groups, expected = np.array([0, 0, 1, 1]), [0.238695, -0.238695, -0.238695, 0.238695]
    both = advantages.beta_normalize_each(components, groups, weights={"correct": 1.0, "format": 1.0})
    np.testing.assert_allclose(both, expected, rtol=1e-5)
    one = advantages.beta_normalize_each(components, groups, weights={"correct": 2.0})  # weights select and weigh
    np.testing.assert_allclose(one, 2 * advantages.beta_normalize(components["correct"], groups), rtol=1e-6)
    with pytest.raises(ValueError, match=r"weights names \['speed'\], allowed: \['correct', 'format'\]"):
        advantages.beta_normalize_each(components, groups, weights={"speed": 1.0})


@pytest.mark.parametrize("seed", range(4))
def test_double_precision(x64, seed):
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat([7, 0, 3, 5, -1], [4, 5, 3, 4, 2]))
    r = rng.uniform(size=18) if seed % 2 else rng.integers(0, 2, 18).astype(float)
    np.testing.assert_allclose(RULE(np.where(ids < 0, np.nan, r), ids), reference(r, ids), rtol=1e-9, atol=1e-12)


def test_gradient_with_the_fit_held_constant(x64):
    """One group: both parameters are 1 and the advantage is the centred reward."""
    assert_gradient(lambda r: advantages.beta_normalize(r, np.zeros(4, int)), np.array([0.1, 0.9, 0.4, 0.3]))


@settings(max_examples=30)
@given(st.lists(st.sampled_from([0.0, 1.0, 0.3]), min_size=9, max_size=9), st.integers(0, 2**31))
def test_properties(r, seed):
    r, ids, rng = np.array(r, np.float32), np.array([0, 0, 0, 1, 1, 1, 2, 2, -1]), np.random.default_rng(seed)
    value = np.asarray(RULE(r, ids))
    assert np.all(np.isfinite(value)) and value[8] == 0
    np.testing.assert_allclose([value[ids == i].sum() for i in range(3)], 0, atol=1e-5)
    assert np.all(np.sign(value) == np.sign(np.asarray(CENTER(r, ids))))
    order = rng.permutation(9)
    np.testing.assert_allclose(RULE(r[order], ids[order]), value[order], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(RULE(2 * r - 1, ids, low=-1.0, high=1.0), value, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("rate", [1 / 3, 2 / 3])
def test_equal_success_rates_give_a_flat_density(rate):
    """The rates are equal, their computed variance is not quite 0: without a tolerance the law is so sharp that it overflows."""
    r = np.tile(np.arange(3) < 3 * rate, 5).astype(np.float32)
    ids = np.repeat(np.arange(5), 3)
    np.testing.assert_allclose(advantages.beta_normalize(r, ids), advantages.group_center(r, ids), rtol=1e-5)


def test_one_group_and_groups_of_one():
    np.testing.assert_allclose(advantages.beta_normalize(np.array([1.0, 0, 0]), np.zeros(3, int)), [2 / 3, -1 / 3, -1 / 3], rtol=1e-5)
    singles = advantages.beta_normalize(np.array([1.0, 0.0, 1.0, np.nan]), np.array([5, 2, 0, -1]))
    np.testing.assert_array_equal(singles, [1.0, 0.0, 1.0, 0.0])  # success rate taken as 0, as in the released code
    mixed = advantages.beta_normalize(np.array([1.0, 0, 1, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 2]))
    alone = advantages.beta_normalize(np.array([1.0, 0, 1, 0, 1]), np.array([0, 0, 0, 1, 1]))
    np.testing.assert_allclose(mixed, np.append(alone, 1.0), rtol=1e-5)  # and no influence on the other groups


def test_rates_near_the_edge_are_capped():
    """Most groups at one half give a sharp law; a group far out has almost no density."""
    r = np.concatenate([np.tile([1.0, 0.0], 400), [1.0] + [0.0] * 199])
    ids = np.append(np.repeat(np.arange(200), 4), np.full(200, 200))
    np.testing.assert_allclose(RULE(r, ids)[800], 1e6 * 199 / 200, rtol=1e-5)


def test_rewards_outside_the_range():
    with pytest.raises(ValueError, match=r"a reward, rescaled by low and high, is 1.1, allowed: \[0, 1\]"):
        advantages.beta_normalize(np.array([1.1, 0.0]), np.zeros(2, int))
    with pytest.raises(ValueError, match=r"high - low is 0"):
        advantages.beta_normalize(np.array([1.0, 0.0]), np.zeros(2, int), low=1.0)
