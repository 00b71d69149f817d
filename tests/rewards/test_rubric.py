import numpy as np
import pytest
from arrays import MASK, OLD, assert_gradient

from pojax import advantages, rewards

SCORES = {"a": np.array([1.0, 0, 1]), "b": np.array([0.5, 0.5, 1])}
CONFIDENCES = {"a_confidence": np.array([0.9, 0.8, 1]), "b_confidence": np.array([0.2, 0.4, 0.3])}
NAMES = dict(weights={"a": 1.0, "b": 1.0}, confidences={"a_confidence": 1.0, "b_confidence": 1.0})
ONE = np.zeros(3, int)


def test_card():
    value = rewards.confidence_weighted_rubric({**SCORES, **CONFIDENCES}, ONE, **NAMES)
    np.testing.assert_allclose(value, [0.875, 0.125, 1], rtol=1e-5)
    np.testing.assert_allclose(advantages.group_center(value, ONE), [0.208333, -0.541667, 0.333333], rtol=1e-5)


@pytest.mark.parametrize("over", ["group", "batch"])
def test_double_precision(x64, over):
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat([4, 9, -1, 7], [4, 3, 2, 1]))
    items = {k: rng.normal(size=10) for k in "abc"}
    sure = {k: rng.uniform(size=10) for k in "ab"}  # item c is a plain checker
    sure["a"][:2] = np.nan
    w = {"a": 1.0, "b": 2.0, "c": 0.5}
    expected = np.zeros(10)
    for i in np.flatnonzero(groups >= 0):
        mine = groups == groups[i] if over == "group" else groups >= 0
        c = {k: np.mean(np.where(np.isnan(sure[k]), 0.3, sure[k])[mine]) for k in "ab"} | {"c": 1.0}
        expected[i] = sum(w[k] * c[k] * items[k][i] for k in "abc") / sum(w[k] * c[k] for k in "abc")
    components = items | {f"{k}_confidence": v for k, v in sure.items()}
    confidences = {"a_confidence": 0.3, "b_confidence": 0.3}

    def rule(a):
        return rewards.confidence_weighted_rubric({**components, "a": a}, groups, weights=w, confidences=confidences, over=over)

    np.testing.assert_allclose(rule(items["a"]), expected, rtol=1e-9)
    assert_gradient(rule, items["a"])


def test_degenerate():
    rule, nothing = rewards.confidence_weighted_rubric, {k: np.zeros(3) for k in CONFIDENCES}
    np.testing.assert_allclose(rule({**SCORES, **nothing}, ONE, **NAMES), [0.75, 0.25, 1], rtol=1e-6)  # the weights alone
    one = rule({**SCORES, **CONFIDENCES}, ONE, weights={"a": 2.0}, confidences={"a_confidence": 1.0})
    np.testing.assert_allclose(one, SCORES["a"], rtol=1e-6)  # one item is its score: GRPO's reward
    with pytest.raises(ValueError, match="weights is empty"):
        rule({**SCORES, **CONFIDENCES}, ONE, weights={}, confidences=NAMES["confidences"])
    for wrong in ("a", "z_confidence"):
        with pytest.raises(ValueError, match=f"confidences names '{wrong}', allowed"):
            rule({**SCORES, "z_confidence": ONE}, ONE, weights={"b": 1.0}, confidences={wrong: 1.0})


def test_an_unsure_item_moves_the_reward_less():
    """One noisy item of low confidence: the weighted reward varies less than the plain mean of the items."""
    rng = np.random.default_rng(0)
    scores = {"a": np.ones(100), "b": rng.normal(size=100)}
    sure = {"a_confidence": np.full(100, 0.9), "b_confidence": np.full(100, 0.1)}
    value = rewards.confidence_weighted_rubric({**scores, **sure}, np.zeros(100, int), **NAMES)
    plain = rewards.weighted_sum(scores, weights={"a": 0.5, "b": 0.5})
    assert np.std(value) < 0.3 * np.std(plain)


def test_mean_probability():
    expected = [np.exp((-0.6 - 0.7 - 0.2) / 3), np.exp((-1.0 - 0.3) / 2)]
    np.testing.assert_allclose(rewards.mean_probability(OLD, MASK), expected, rtol=1e-6)
    np.testing.assert_array_equal(rewards.mean_probability(OLD, 0 * MASK), [1, 1])
