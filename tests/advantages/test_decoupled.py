import numpy as np
import pytest
from arrays import EX, assert_gradient

from pojax import advantages

COMPONENTS = {"a": np.array([1.0, 0, 1, 0]), "b": np.array([0.2, 0.8, 0.5, 0.5])}
PAIRS = np.array([0, 0, 1, 1])
WEIGHTS = {"a": 1.0, "b": 0.5}


def reference(components, groups, weights, epsilon, batch_epsilon, mask=None):
    """Row by row; NaN components are skipped. With a mask, the batch step is over tokens with 1e-8 inside the root."""
    total, scored = np.zeros(len(groups)), np.zeros(len(groups), bool)
    for name, weight in weights.items():
        r = components[name]
        for g in set(groups.tolist()) - {-1}:
            rows = [i for i in range(len(groups)) if groups[i] == g and not np.isnan(r[i])]
            scored[rows] = True
            if len(rows) > 1 and len(set(r[rows])) > 1:
                for i in rows:
                    total[i] += weight * (r[i] - np.mean(r[rows])) / (np.std(r[rows], ddof=1) + epsilon)
    out = np.zeros(len(groups)) if mask is None else np.zeros(mask.shape)
    if mask is None:
        x = total[scored]
        if len(x) > 1 and np.ptp(x) > 0:
            out[scored] = (x - x.mean()) / (x.std(ddof=1) + batch_epsilon)
        return out
    on = (mask != 0) & scored[:, None]
    tokens = np.broadcast_to(total[:, None], mask.shape)
    out[on] = (tokens[on] - tokens[on].mean()) / np.sqrt(tokens[on].var(ddof=1) + 1e-8)
    return out


def test_card():
    token = advantages.decoupled_normalize(COMPONENTS, PAIRS, EX.mask, weights=WEIGHTS, epsilon=1e-6, level="token")
    expected = np.array([0.511001, -0.738113, 1.13556, -1.36267])
    np.testing.assert_allclose(token, EX.mask * expected[:, None], rtol=1e-5)
    row = advantages.decoupled_normalize(COMPONENTS, PAIRS, EX.mask, weights=WEIGHTS)
    np.testing.assert_allclose(row, [0.547679, -0.547679, 1.09525, -1.09525], rtol=1e-5)


@pytest.mark.parametrize("level", ["row", "token"])
def test_double_precision(x64, level):
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat([4, 9, 2, -1, 7], [4, 3, 5, 2, 1]))
    mask = rng.integers(0, 2, (15, 6))
    components = {"a": rng.normal(size=15), "b": rng.integers(0, 2, 15).astype(float), "c": 100 * rng.normal(size=15)}
    components["a"][:3] = np.nan
    components["b"][0] = components["c"][0] = np.nan  # row 0 cannot be scored at all
    weights = {"a": 1.0, "b": 0.5, "c": 2.0}
    value = advantages.decoupled_normalize(components, groups, mask, weights=weights, epsilon=1e-3, batch_epsilon=1e-2, level=level)
    expected = reference(components, groups, weights, 1e-3, 1e-2, mask if level == "token" else None)
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)


def test_gradient(x64):
    b, groups = np.array([0.1, 0.9, 0.4, 0.3, 0.2]), np.zeros(5, int)

    def rule(a):
        return advantages.decoupled_normalize({"a": a, "b": b}, groups, np.ones((5, 2)), weights=WEIGHTS)

    assert_gradient(rule, np.array([0.3, 0.1, 0.7, 0.2, 0.25]), rtol=1e-5)


def test_a_reward_of_large_spread_does_not_drown_the_other():
    big = {"a": COMPONENTS["a"], "b": 1000 * COMPONENTS["b"]}
    plain, scaled = (advantages.decoupled_normalize(c, PAIRS, EX.mask, weights=WEIGHTS, epsilon=0.0) for c in (COMPONENTS, big))
    np.testing.assert_allclose(plain, scaled, rtol=1e-5)


def test_degenerate():
    rule = advantages.decoupled_normalize
    constant = {"a": np.full(4, 0.7), "b": COMPONENTS["b"]}
    both = rule(constant, PAIRS, EX.mask, weights={"a": 5.0, "b": 1.0}, level="none")
    np.testing.assert_array_equal(both, rule(constant, PAIRS, EX.mask, weights={"b": 1.0}, level="none"))  # adds exactly 0
    for level in ("row", "token"):
        assert not np.any(rule({"a": np.full(4, 0.7)}, PAIRS, EX.mask, weights={"a": 1.0}, level=level))
        one = np.array([0, -1, -1, -1])
        assert not np.any(rule(COMPONENTS, one, EX.mask, weights=WEIGHTS, level=level))
    grpo = advantages.group_normalize(COMPONENTS["a"], PAIRS, epsilon=1e-4)
    np.testing.assert_allclose(rule(COMPONENTS, PAIRS, EX.mask, weights={"a": 1.0}), advantages.batch_normalize(grpo, PAIRS, epsilon=1e-4))
    with pytest.raises(ValueError, match=r"decoupled_normalize: weights names \['z'\], allowed: \['a', 'b'\]"):
        rule(COMPONENTS, PAIRS, EX.mask, weights={"z": 1.0})
    with pytest.raises(ValueError, match="level is 'batch', allowed"):
        rule(COMPONENTS, PAIRS, EX.mask, weights=WEIGHTS, level="batch")
