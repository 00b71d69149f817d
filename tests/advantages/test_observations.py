import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX

from pojax import advantages, losses
from pojax.losses.aggregations import token_mean

ACTIONS = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 0, 0]])
TOOL = np.array([[0, 0, 1], [0, 1, 1], [0, 0, 0], [0, 0, 0]])


def test_worked_example():
    """Policy gradient on action tokens plus the likelihood of observations, each over its own number of tokens."""
    weight = advantages.observation_weights({"tool": TOOL}, ACTIONS, weights={"tool": 0.1})
    np.testing.assert_allclose(weight, 0.1 * TOOL, rtol=1e-6)
    policy = jnp.sum(token_mean(ACTIONS) * losses.ppo_clip(EX.logprobs, EX.old, EX.advantages))
    observed = jnp.sum(token_mean(np.asarray(weight)) * weight * losses.negative_log_likelihood(EX.logprobs))
    np.testing.assert_allclose(policy + observed, 0.741168, rtol=1e-5)


def test_roles_add_up_and_actions_are_none():
    user = np.array([[0, 1, 1], [0, 0, 0], [0, 0, 0], [0, 1, 0]])
    weight = advantages.observation_weights({"tool": TOOL, "user": user}, ACTIONS, weights={"tool": 0.1, "user": 0.5})
    np.testing.assert_allclose(weight, (0.1 * TOOL + 0.5 * user) * (1 - ACTIONS), rtol=1e-6)
    np.testing.assert_array_equal(token_mean(advantages.observation_weights({"tool": 0 * TOOL}, ACTIONS, weights={"tool": 0.1})), 0)
    with pytest.raises(ValueError, match=r"weights names \['system'\], allowed: \['tool'\]"):
        advantages.observation_weights({"tool": TOOL}, ACTIONS, weights={"system": 0.1})


def test_spans_are_what_stands_between_actions():
    mask = np.array([[1, 0, 0, 1, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 1, 0, 1], [1, 0, 1, 0, 1]])
    expected = [[0, 1, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(advantages.observation_spans(mask, np.array([0, 0, 1, 1, -1])), expected)
