import numpy as np
import pytest
from arrays import EX, assert_gradient

from pojax import advantages, rewards

PAIRS = np.array([0, 0, 1, 1])


def test_card():
    rule = advantages.centred_advantages
    value = rule(EX.rewards, PAIRS, estimator="reinforce_plus_plus", scale="batch")
    np.testing.assert_allclose(value, [1.00315, -1.00315, 0.702204, -0.702204], rtol=1e-5)
    value = rule(EX.rewards, PAIRS, estimator="rloo")
    np.testing.assert_allclose(value, [1.41401, -1.41401, 1.41393, -1.41393], rtol=1e-5)
    kl = np.array([[0.1], [0.2], [0.0], [0.3]])
    penalised = rewards.sequence_kl_penalty(EX.rewards, kl - 1.0, np.full((4, 1), -1.0), np.ones((4, 1)), coefficient=0.5)
    np.testing.assert_allclose(rule(penalised, PAIRS), [0.707012, -0.707012, 0.706989, -0.706989], rtol=1e-5)
    rloo = advantages.batch_normalize(advantages.leave_one_out(EX.rewards, PAIRS), PAIRS, epsilon=1e-4)
    np.testing.assert_allclose(rloo, [1.00325, -1.00325, 0.702275, -0.702275], rtol=1e-5)


@pytest.mark.parametrize("estimator", ["grpo", "rloo", "reinforce_plus_plus"])
@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_double_precision(x64, estimator, scale):
    rng = np.random.default_rng(1)
    groups = rng.permutation(np.repeat([4, 9, 2, -1, 7], [4, 3, 5, 2, 1]))
    r = rng.normal(size=15)
    centred, std = np.zeros(15), np.zeros(15)
    for i in range(15):
        if groups[i] >= 0:
            mine = r[groups == groups[i]]
            n = len(mine)
            centred[i] = (r[i] - mine.mean()) * (n / (n - 1) if estimator == "rloo" and n > 1 else 1.0)
            std[i] = mine.std(ddof=1) if n > 1 else 0.0
    inside = groups >= 0
    if scale == "batch":
        std[:] = (centred if estimator == "reinforce_plus_plus" else r)[inside].std(ddof=1)
    expected = np.zeros(15)
    for i in np.flatnonzero(inside):
        expected[i] = centred[i] if scale == "none" else centred[i] / (std[i] + 1e-3) if std[i] else 0.0
    value = advantages.centred_advantages(np.where(inside, r, np.nan), groups, estimator=estimator, scale=scale, epsilon=1e-3)
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)


def test_gradient(x64):
    for scale in ("group", "batch"):
        assert_gradient(lambda r, s=scale: advantages.centred_advantages(r, PAIRS, estimator="rloo", scale=s), EX.rewards)


def test_degenerate():
    for estimator in ("grpo", "rloo", "reinforce_plus_plus"):
        for scale in ("group", "batch", "none"):
            options = {"estimator": estimator, "scale": scale}
            value = advantages.centred_advantages(np.array([0.7, 0.7, 0.7, 1.0]), np.array([0, 0, 0, 5]), **options)
            np.testing.assert_array_equal(value, np.zeros(4))
    with pytest.raises(ValueError, match="estimator is 'ppo', allowed: {grpo, rloo, reinforce_plus_plus}"):
        advantages.centred_advantages(EX.rewards, PAIRS, estimator="ppo")
