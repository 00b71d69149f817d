import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import assert_gradient

from pojax import advantages

R6, TRIPLES = np.array([0.1, 0.9, 0.5, 0.4, 0.3, 0.2]), np.repeat([0, 1], 3)


def drifted(log_ratios):
    """Log-probabilities of one token whose log-ratio to a reference of 0 is given; (logprobs, ref_logprobs, mask)."""
    x = np.asarray(log_ratios, float)[:, None]
    return x, np.zeros_like(x), np.ones_like(x)


def pairs(*arguments):
    role, chosen = advantages.constrained_pairs(*arguments)
    np.testing.assert_array_equal(chosen, np.asarray(role) == 1)
    return [[int(np.flatnonzero(np.asarray(role) * (arguments[2] == g) == s)[0]) for s in (1, -1)] for g in np.unique(arguments[2])]


def test_card():
    calibrated = advantages.calibrated_reward(np.array([1.0, 2, 0.5]), np.float32(0.5))
    value = advantages.constrained_reward(calibrated, np.array([1, 0, 1]), *drifted([2, 1, 30]), kl_max=20.0)
    np.testing.assert_allclose(value, [0.560213, 0, 0], rtol=1e-5)
    a = advantages.batch_center(value, np.zeros(3, int))
    np.testing.assert_allclose(a, [0.373476, -0.186738, -0.186738], rtol=1e-5)
    assert pairs(R6, np.array([1, 0, 1, 1, 1, 1]), TRIPLES) == [[2, 1], [3, 5]]
    best = advantages.constrained_best(R6, np.array([1, 0, 1, 0, 0, 0]), *drifted([0, 0, 3, 0, 0, 0]), TRIPLES, kl_max=2.0)
    np.testing.assert_array_equal(best, [1, 0, 0, 0, 0, 0])


def test_double_precision(x64):
    rng = np.random.default_rng(0)
    n, t = 40, 4
    groups = rng.integers(-1, 6, n)
    r, base, satisfied = rng.normal(size=n), rng.normal(size=n), rng.integers(0, 2, n)
    logprobs, ref, mask = -rng.uniform(0, 3, (n, t)), -rng.uniform(0, 3, (n, t)), rng.integers(0, 2, (n, t))
    drift = np.array([sum((logprobs - ref)[b, i] for i in range(t) if mask[b, i]) for b in range(n)])
    calibrated = 1 / (1 + np.exp(base - r))
    np.testing.assert_allclose(advantages.calibrated_reward(r, base), calibrated, rtol=1e-9)
    value = advantages.constrained_reward(calibrated, satisfied, logprobs, ref, mask, kl_max=2.0)
    np.testing.assert_allclose(value, np.maximum(1 - drift / 2, 0) * calibrated * satisfied, rtol=1e-9, atol=1e-15)
    role, selected = np.zeros(n), np.zeros(n)
    for g in range(6):
        rows = np.flatnonzero(groups == g)
        good, bad = [b for b in rows if satisfied[b]], [b for b in rows if not satisfied[b]]
        if good:
            best, worst = max(good, key=lambda b: r[b]), min(bad or rows, key=lambda b: r[b])
            if best != worst:
                role[best], role[worst] = 1, -1
        near = [b for b in good if drift[b] <= 2]
        if near:
            selected[max(near, key=lambda b: r[b])] = 1
    dirty = np.where(groups < 0, np.nan, r)
    np.testing.assert_array_equal(advantages.constrained_pairs(dirty, satisfied, groups)[0], role)
    np.testing.assert_array_equal(advantages.constrained_best(dirty, satisfied, logprobs, ref, mask, groups, kl_max=2.0), selected)


def test_gradient(x64):
    assert_gradient(lambda r: advantages.calibrated_reward(r, np.array([0.5, 1.0])), np.array([0.3, 2.0]))
    x, ref, mask = drifted([1.0, 2.0])
    gradient = jax.grad(lambda x: jnp.sum(advantages.constrained_reward(np.ones(2), np.ones(2), x, ref, mask)))(jnp.asarray(x))
    assert not np.any(gradient)


def test_degenerate():
    x = drifted([-40.0, 45.0])
    value = advantages.constrained_reward(np.full(2, 0.5), np.ones(2), *x, kl_max=50.0)
    np.testing.assert_allclose(value, [0.9, 0.05], rtol=1e-5)  # no clamp of the log-ratio, no cap above 1
    assert not np.any(advantages.constrained_reward(np.full(2, 0.5), np.zeros(2), *x))
    for satisfied in (np.zeros(3), np.array([1, 1, 1])):  # nobody satisfies; one response only
        groups = np.zeros(3, int) if not satisfied.any() else np.array([0, 1, 2])
        assert not np.any(advantages.constrained_pairs(np.array([0.1, 0.9, 0.5]), satisfied, groups)[0])
    assert not np.any(advantages.constrained_pairs(np.full(3, 0.7), np.ones(3), np.zeros(3, int))[0])  # both would be row 0
    with pytest.raises(ValueError, match=r"kl_max is 0, allowed: \(0, inf\)"):
        advantages.constrained_best(R6, np.ones(6), *drifted(np.zeros(6)), TRIPLES, kl_max=0.0)


def test_base_response_where_nobody_else_is_left():
    near, base = drifted([0, 9, 9, 9, 9, 9.0]), np.array([0, 0, 1, 0, 0, 1])
    best = advantages.constrained_best(R6, np.ones(6), *near, TRIPLES, base, kl_max=2.0)
    np.testing.assert_array_equal(best, [1, 0, 0, 0, 0, 1])
    best = advantages.constrained_best(R6, np.array([1, 1, 1, 1, 1, 0]), *near, TRIPLES, base, kl_max=2.0)
    np.testing.assert_array_equal(best, [1, 0, 0, 0, 0, 0])


def test_all_judges_must_pass():
    verdicts = {"a": np.array([1.0, 1, 0, np.nan]), "b": np.array([0.9, 0.2, 0.9, 0.9])}
    np.testing.assert_array_equal(advantages.judges_satisfied(verdicts, thresholds={"a": 0.5, "b": 0.3}), [1, 0, 0, 0])
    with pytest.raises(ValueError, match=r"judges_satisfied: weights names \['c'\], allowed: \['a', 'b'\]"):
        advantages.judges_satisfied(verdicts, thresholds={"c": 0.5})
