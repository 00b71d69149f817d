import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX

from pojax import advantages, losses
from pojax.losses.aggregations import token_mean

KEEP = EX.mask.astype(float)


def rejected(**hyper):
    return np.asarray(KEEP - advantages.reject_divergent(KEEP, EX.old, EX.rollout, EX.mask, **hyper))


@pytest.mark.parametrize(
    ("hyper", "expected"),
    [
        (dict(criterion="k1", high=2.0), [(0, 1)]),
        (dict(criterion="k1", level="mean", low=0.8, high=1.25), [(0, 0), (0, 1), (0, 2)]),
        (dict(criterion="k3", level="sum", high=0.1), [(0, 0), (0, 1), (0, 2)]),
        (dict(criterion="k2", level="max", high=0.05), [(row, t) for row in (0, 2) for t in range(3)]),
    ],
)
def test_worked_example(hyper, expected):
    np.testing.assert_array_equal(np.argwhere(rejected(**hyper)), expected)


def test_worked_example_of_the_bypass():
    """The sampler's log-probabilities are the anchor; what is rejected is judged by the current policy."""
    kept = advantages.reject_divergent(KEEP, EX.logprobs, EX.rollout, EX.mask, high=2.0)
    coefficients = token_mean(np.asarray(kept))
    loss = jnp.sum(coefficients * losses.ppo_clip(EX.logprobs, EX.rollout, EX.advantages))
    np.testing.assert_allclose(loss, -0.159158, rtol=1e-5)
    weight = advantages.truncated_importance(EX.logprobs, EX.rollout, EX.mask, cap=2.0)
    loss = jnp.sum(coefficients * weight * losses.policy_gradient(EX.logprobs, EX.advantages))
    np.testing.assert_allclose(loss, 0.295397, rtol=1e-5)


LEVELS = {"token": None, "sum": sum, "mean": lambda x: sum(x) / len(x), "max": max}


@pytest.mark.parametrize(("criterion", "level"), [c for c in itertools.product(("k1", "k2", "k3"), LEVELS) if c != ("k1", "max")])
@pytest.mark.parametrize("ratio", ["learner", "sampler"])
def test_against_plain_python(x64, criterion, level, ratio):
    bounds = dict(low=0.9, high=1.3) if criterion == "k1" else dict(high=0.03)
    value = advantages.reject_divergent(KEEP, EX.old, EX.rollout, EX.mask, criterion=criterion, level=level, ratio=ratio, **bounds)
    for row in range(4):
        tokens = [t for t in range(3) if EX.mask[row, t]]
        l = {t: EX.old[row, t] - EX.rollout[row, t] for t in tokens}
        sign = -1 if ratio == "sampler" else 1
        statistic = [{"k1": sign * x, "k2": x * x / 2, "k3": np.exp(x) - 1 - x}[criterion] for x in l.values()]
        if LEVELS[level]:
            statistic = [LEVELS[level](statistic)] * len(tokens)
        for t, s in zip(tokens, statistic, strict=True):
            expected = np.log(0.9) <= s <= np.log(1.3) if criterion == "k1" else s <= 0.03
            assert bool(value[row, t]) == expected, (row, t)
    assert (np.asarray(value)[EX.mask == 0] == 0).all()


def test_the_sign_matters_for_bounds_that_are_no_reciprocals():
    assert rejected(low=0.96, high=3.0).sum() == 3  # 0.905 twice and 0.670
    assert rejected(low=0.96, high=3.0, ratio="sampler").sum() == 4  # 2.46, 1.35, 1.051 and 1.22, seen from the other side


def test_criteria_add_up_and_geometric_rejection():
    first = advantages.reject_divergent(KEEP, EX.old, EX.rollout, EX.mask, high=2.0)
    both = advantages.reject_divergent(first, EX.old, EX.rollout, EX.mask, criterion="k2", level="max", high=0.05)
    np.testing.assert_array_equal(both, KEEP * np.array([[0], [1], [0], [1]]))
    assert rejected(level="mean", low=0.999, high=1.001).sum() == EX.mask.sum()
    exact = advantages.reject_divergent(KEEP, EX.old, EX.old, EX.mask, level="mean", low=0.999, high=1.001)
    np.testing.assert_array_equal(exact, KEEP)


def test_tokens_without_a_score_are_kept():
    rollout = EX.rollout.copy()
    rollout[0, 1] = rollout[3] = np.nan
    value = advantages.reject_divergent(KEEP, EX.old, rollout, EX.mask, level="token", high=1.01, low=0.999)
    assert value[0, 1] == 1 and value[3, 0] == value[3, 1] == 1 and value[1, 0] == 0
    row = advantages.reject_divergent(KEEP, EX.old, rollout, EX.mask, level="mean", low=2.0, high=3.0)
    np.testing.assert_array_equal(row, KEEP * np.array([[0], [0], [0], [1]]))  # a row without any score says nothing


def test_veto():
    rollout = EX.rollout.copy()
    rollout[2, 0] = EX.old[2, 0] + 10.0
    value = advantages.veto_improbable(KEEP, EX.old, rollout, EX.mask)
    np.testing.assert_array_equal(value, KEEP * np.array([[1], [1], [0], [1]]))  # exp(-10) = 4.5e-5; the 5 in a masked slot does not count
    np.testing.assert_array_equal(advantages.veto_improbable(KEEP, EX.old, rollout, EX.mask, threshold=4e-5), KEEP)


def test_what_is_refused():
    with pytest.raises(ValueError, match="level is 'max' with criterion 'k1', allowed: token, sum, mean"):
        rejected(criterion="k1", level="max")
    with pytest.raises(ValueError, match="low is given with criterion 'k3', allowed: high alone"):
        rejected(criterion="k3", low=0.5, high=1.0)
    with pytest.raises(ValueError, match=r"criterion is 'k4', allowed: \{k1, k2, k3\}"):
        rejected(criterion="k4")
