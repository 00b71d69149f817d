import jax.numpy as jnp
import numpy as np
import pytest
import tiny_services as tiny

from pojax.rollouts import turns
from pojax.tasks import Environment

WALK = Environment(tiny.Walk.reset, tiny.Walk.step, tiny.Walk.anchor)
NAMES = ("render", "sample", "extend", "environment")


@pytest.fixture(scope="module")
def params():
    return tiny.parameters()


@pytest.mark.parametrize(("number", "action_tokens"), [(3, 1), (2, 2)])
def test_rows_are_what_the_world_makes_of_their_tokens(params, number, action_tokens):
    """Against a walk through each row in loops: observations, turns, rewards, anchors; and the learner says what the sampler said."""
    services, samples = tiny.Services(params, environment=WALK), 6
    rollout = services(turns, *NAMES, samples=samples, turns=number, action_tokens=action_tokens)
    seen = set()
    for row in range(tiny.P * samples):
        tokens, start = rollout.tokens[row], row // samples % 2
        turn, observed, rewards, anchors, done, length = tiny.walked(tokens, start, number, action_tokens, tiny.T)
        np.testing.assert_array_equal(rollout.labels["turn"][row], turn)
        np.testing.assert_array_equal(rollout.mask[row], np.array(turn) >= 0)
        for t, token in observed:
            assert tokens[t] == token and rollout.old_logprobs[row, t] == 0
        assert (tokens[length:] == 0).all()
        rest = number - len(rewards)
        np.testing.assert_array_equal(rollout.components["step_rewards"][row], rewards + [0.0] * rest)
        np.testing.assert_array_equal(rollout.components["anchor"][row], anchors + [-1] * rest)
        assert rollout.components["episode_return"][row] == pytest.approx(sum(rewards))
        assert rollout.components["done"][row] == done and rollout.truncated[row] != done
        seen.add((len(rewards), done))
    assert len(seen) > 1
    np.testing.assert_allclose(rollout.old_logprobs, tiny.learner_logprobs(params, rollout), atol=1e-4)
    np.testing.assert_array_equal(rollout.groups, np.repeat(np.arange(tiny.P), samples))
    assert services.prefilled() == tiny.P * tiny.S and len(services.held) == number


def test_episodes_that_are_over_cost_a_token_per_turn(params):
    """What stands still is fed once in a call, to keep one program for all; nothing of the history is run again."""
    services = tiny.Services(params, environment=WALK)
    services(turns, *NAMES, samples=6, turns=3, action_tokens=1)
    before = np.zeros(tiny.P * 6, int)
    for call, held in enumerate(services.held):
        new = np.asarray(held.lengths) - before
        assert int(held.decoded) == (np.maximum(new, 1) if call else new - 1).sum()
        before = np.asarray(held.lengths)


def test_rewards_that_are_no_number_take_the_row_out(params):
    def step(state, tokens, mask):
        after, observation, reward, done = tiny.Walk.step(state, tokens, mask)
        return after, observation, jnp.where(after["place"] == 1, jnp.nan, reward), done

    broken = Environment(tiny.Walk.reset, step, tiny.Walk.anchor)
    rollout = tiny.Services(params, environment=broken)(turns, *NAMES, samples=6, turns=2, action_tokens=1)
    out = np.isnan(rollout.components["step_rewards"]).any(1)
    np.testing.assert_array_equal(rollout.groups == -1, out)
    assert out.any() and not out.all()


@pytest.mark.parametrize("name", ["samples", "turns", "action_tokens"])
def test_errors(params, name):
    with pytest.raises(ValueError, match=f"turns: {name} is 0, allowed: 1 or more"):
        tiny.Services(params, environment=WALK)(turns, *NAMES, **{name: 0})
