import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import GROUPS6, LOGPROBS, MASK, OLD, REWARDS6, assert_gradient

from pojax import advantages, losses
from pojax.losses import aggregations

KEY = jax.random.key(0)
KEEP6 = np.ones((6, 2))
BUNDLE6, SCORES6 = np.array([0, 1, 2, 0, 1, 2]), np.array([2.0, 1, 0, 2, 1, 0])


def test_worked_example():
    bundle, scores, keep = advantages.bundle_prompts(REWARDS6, GROUPS6[::-1], KEEP6, KEY, prompts=2, permute=False)
    np.testing.assert_array_equal(scores, SCORES6)
    np.testing.assert_array_equal(keep, KEEP6)
    assert [bundle[i] == bundle[j] for i in range(3) for j in range(3, 6)] == np.eye(3, dtype=bool).reshape(-1).tolist()
    value = advantages.mixed_value_at_risk(SCORES6, BUNDLE6, 0.4, 1.6, weight=0.5)
    np.testing.assert_allclose(value, np.tile([0, -0.6, -1.8], 2), rtol=2e-6, atol=1e-6)
    # The 0.2 and 0.8 quantiles of the scores 2, 1, 0 are those very numbers.
    np.testing.assert_allclose(advantages.mixed_value_at_risk(SCORES6, BUNDLE6), value, rtol=1e-5, atol=1e-6)


def test_worked_example_of_the_released_form():
    def released(credit):
        return advantages.mixed_value_at_risk_by_bundle(REWARDS6, SCORES6, BUNDLE6, np.repeat([0, 1], 3), prompts=2, credit=credit)

    np.testing.assert_allclose(released("std"), np.tile([0, -0.692817, -3.46408], 2), rtol=1e-5, atol=1e-5)
    expected = [0.533332, 0.199999, -0.399998, 0.266666, 0.199999, -0.799995]
    np.testing.assert_allclose(released("sum_mean"), expected, rtol=1e-5)
    np.testing.assert_allclose(released("uniform"), np.tile([0, -0.4, -2.0], 2), rtol=1e-4, atol=1e-5)


def test_worked_example_of_the_loss():
    a = np.repeat([[0.8], [-1.5]], 3, axis=1)
    loss = losses.gspo(LOGPROBS, OLD, a, MASK, epsilon=0.2, epsilon_high=0.2)
    np.testing.assert_allclose(jnp.sum(aggregations.sequence_mean(np.ones(2)) * loss), 0.304425, rtol=1e-5)


def make(seed, sizes=(4, 4, 3, 4, 4, 2, 4)):
    """Rewards of groups in any order, and rows that are out."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.concatenate([np.repeat(np.arange(len(sizes)) * 3, sizes), [-1, -1]]))
    rewards = rng.normal(size=len(groups))
    return rewards, groups, np.where(groups < 0, np.nan, rewards)


@pytest.mark.parametrize("permute", [False, True])
def test_every_bundle_has_one_response_of_each_of_its_prompts(permute):
    rewards, groups, junk = make(0)
    bundle, scores, keep = (
        np.asarray(x) for x in advantages.bundle_prompts(junk, groups, np.ones((27, 2)), KEY, prompts=3, permute=permute)
    )
    ids = np.unique(bundle[bundle >= 0])
    members = [sorted(set(groups[bundle == i].tolist())) for i in ids]
    assert all(np.sum(bundle == i) == 3 for i in ids)
    assert sorted(members) == [[0, 3, 6]] * 3 + [[9, 12, 15]] * 2  # the smallest group decides; the seventh prompt is the tail
    np.testing.assert_array_equal(keep, np.repeat((bundle >= 0)[:, None], 2, axis=1))
    for i in ids:
        np.testing.assert_allclose(scores[bundle == i], rewards[bundle == i].sum(), rtol=1e-5)
    assert not scores[bundle < 0].any()
    again = advantages.bundle_prompts(junk, groups, np.ones((27, 2)), jax.random.key(1), prompts=3, permute=permute)[0]
    assert np.array_equal(again, bundle) != permute  # another key, other partners
    if not permute:
        first = [np.flatnonzero(groups == g)[0] for g in (0, 3, 6)]
        assert len(set(bundle[first].tolist())) == 1


def released_reference(r, bundle, groups, prompts, lower, upper, weight, credit, e=1e-6):
    """The released form, bundle by bundle."""
    out, order = np.zeros(len(r)), sorted(set(groups[groups >= 0].tolist()))
    for s in range(len(order) // prompts):
        these = order[s * prompts : (s + 1) * prompts]
        members = [i for i in sorted(set(bundle[bundle >= 0].tolist())) if groups[bundle == i].min() in these]
        scores = {i: r[bundle == i].sum() for i in members}
        values = np.array(list(scores.values()))
        low, high = np.quantile(values, lower), np.quantile(values, upper)
        std = values.std(ddof=1) if len(values) > 1 else 1.0
        for i, score in scores.items():
            middle = max(score - low, 0) - max(score - high, 0) + (0 if credit == "sum_mean" else low - high)
            a = ((1 + weight) * -max(low - score, 0) / (lower + e) + middle / (upper - lower + e)) / (2 + weight) / (std + e)
            rows = np.flatnonzero(bundle == i)
            deviation = np.array([r[b] - r[groups == groups[b]].mean() for b in rows])
            for b, d in zip(rows, deviation, strict=True):
                own = r[groups == groups[b]]
                own = own.std(ddof=1) if len(own) > 1 and own.std(ddof=1) > 1e-3 else 1.0
                share = d / deviation.sum() if abs(deviation.sum()) > 1e-6 else 1 / prompts
                out[b] = a / (own + e) if credit == "std" else a * share if credit == "sum_mean" else a
    return out


@pytest.mark.parametrize("credit", ["std", "sum_mean", "uniform"])
@pytest.mark.parametrize("seed", [0, 1])
def test_double_precision(x64, credit, seed):
    rewards, groups, junk = make(seed, (4, 4, 4, 4, 1, 2, 4))
    if seed:
        rewards, junk = np.round(rewards), np.round(junk)
    bundle, scores, _ = (np.asarray(x) for x in advantages.bundle_prompts(junk, groups, np.ones((25, 2)), KEY, prompts=2))
    hyper = dict(lower=0.3, upper=0.7, weight=0.4)
    expected = released_reference(rewards, bundle, groups, 2, **hyper, credit=credit)
    value = advantages.mixed_value_at_risk_by_bundle(junk, scores, bundle, groups, prompts=2, credit=credit, **hyper)
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)
    if not seed:
        smooth = rewards
        rule = lambda r: advantages.mixed_value_at_risk_by_bundle(r, scores, bundle, groups, prompts=2, credit=credit, **hyper)  # noqa: E731
        assert_gradient(rule, smooth)


def test_paper_weight_in_double_precision(x64):
    rewards, groups, junk = make(3, (4,) * 6)
    bundle, scores, _ = (np.asarray(x) for x in advantages.bundle_prompts(junk, groups, np.ones((26, 2)), KEY, prompts=3))
    once = np.array([scores[bundle == i][0] for i in np.unique(bundle[bundle >= 0])])
    low, high = np.quantile(once, 0.3), np.quantile(once, 0.7)

    def paper(low, high):
        g = np.maximum(scores - low, 0) - np.maximum(scores - high, 0) + low - high
        return np.where(bundle >= 0, -1.4 * np.maximum(low - scores, 0) + g, 0)

    hyper = dict(lower=0.3, upper=0.7, weight=0.4)
    value = advantages.mixed_value_at_risk(scores, bundle, **hyper)
    np.testing.assert_allclose(value, paper(low, high), rtol=1e-9, atol=1e-12)
    assert np.all(value <= 1e-12) and not np.any(np.asarray(value)[scores >= high])
    tracked = advantages.mixed_value_at_risk(scores, bundle, -0.2, 0.5, np.array(True), **hyper)
    np.testing.assert_allclose(tracked, paper(-0.2, 0.5), rtol=1e-9, atol=1e-12)
    fresh = advantages.mixed_value_at_risk(scores, bundle, 99.0, 99.0, np.array(False), **hyper)
    np.testing.assert_allclose(fresh, value, rtol=1e-12)
    assert_gradient(lambda r: advantages.mixed_value_at_risk(r, bundle, -0.2, 0.5, **hyper), scores)


def test_degenerate_bundles():
    groups = np.repeat([0, 1], 3)
    equal = np.full(6, 1.4, np.float32)
    np.testing.assert_allclose(advantages.mixed_value_at_risk(equal, BUNDLE6), 0, atol=1e-6)
    for credit in ("std", "sum_mean", "uniform"):
        value = advantages.mixed_value_at_risk_by_bundle(np.full(6, 0.7, np.float32), equal, BUNDLE6, groups, prompts=2, credit=credit)
        np.testing.assert_allclose(value, 0, atol=1e-6)
    bundle, scores, keep = advantages.bundle_prompts(REWARDS6, groups, KEEP6, KEY, prompts=5)  # fewer prompts than a bundle has
    assert np.all(np.asarray(bundle) == -1) and not np.any(scores) and not np.any(keep)
    assert not np.any(advantages.mixed_value_at_risk(scores, bundle))
    with pytest.raises(ValueError, match="credit is 'score', allowed: {std, sum_mean, uniform}"):
        advantages.mixed_value_at_risk_by_bundle(REWARDS6, SCORES6, BUNDLE6, groups, credit="score")
