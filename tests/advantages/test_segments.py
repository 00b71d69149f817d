import jax
import numpy as np
import pytest
from arrays import LOGPROBS, MASK, OLD

from pojax import advantages, losses
from pojax.losses.aggregations import token_mean

RULE = jax.jit(advantages.segment_advantages)


def spread(per_segment, lengths):
    return np.repeat(per_segment, lengths)[None]


def test_steps_with_a_missing_estimate():
    """Three steps of 2, 1 and 1 tokens; continuations before them returned 1/3, 2/3 and nothing."""
    values = spread([1 / 3, 2 / 3, np.nan], [2, 1, 1])
    segment, mask = spread([0, 1, 2], [2, 1, 1]), np.ones((1, 4))
    value = advantages.segment_advantages(np.array([1.0]), values, segment, mask)
    np.testing.assert_allclose(value, [[1 / 3, 1 / 3, 1 / 3, 0]], rtol=1e-6)
    white = advantages.token_whiten(value, mask, np.zeros(1, int))
    np.testing.assert_allclose(white, [[0.5, 0.5, 0.5, -1.5]], rtol=1e-5)


def test_only_unsure_tokens_have_credit():
    p = np.array([[0.5, 0.95, 0.8, 0.99, 0.6, 0.97, 0.3, 0.98]])
    # Every second unsure token begins a segment: before tokens 0 and 4.
    values, segment, mask = np.repeat([[0.4, 0.6]], 4, axis=1), np.repeat([[0, 1]], 4, axis=1), np.ones((1, 8))
    value = advantages.segment_advantages(np.ones(1), values, segment, mask)
    keep = advantages.low_probability(mask, np.log(p), mask)
    np.testing.assert_allclose(value * keep, [[0.2, 0, 0.2, 0, 0.4, 0, 0.4, 0]], rtol=1e-5)


def test_whitening_and_loss_over_unsure_tokens():
    a = np.array([[0.5, 0.2, 0.1], [-0.3, 0.4, 0.0]])
    keep = advantages.low_probability(MASK, OLD, MASK, threshold=0.7)
    a = advantages.token_whiten(a, keep, np.zeros(2, int))
    loss = np.sum(token_mean(keep) * losses.ppo_clip(LOGPROBS, OLD, a, epsilon=0.2))
    np.testing.assert_allclose(loss, -0.0823416, rtol=1e-5)


def test_no_unsure_token():
    mask = np.array([[1, 1, 0]])
    none = advantages.low_probability(mask, np.full((1, 3), -0.01), mask)
    np.testing.assert_array_equal(none, np.zeros((1, 3)))
    np.testing.assert_array_equal(advantages.low_probability(mask, np.full((1, 3), -0.01), mask, otherwise="all"), mask)
    logprobs = np.array([[-0.01, -2.0, -2.0]])  # one is enough, and a masked one is not
    np.testing.assert_array_equal(advantages.low_probability(mask, logprobs, mask, otherwise="all"), [[0, 1, 0]])


def reference(rewards, values, segment, mask, token_rewards):
    out = np.zeros(mask.shape)
    for b in range(len(rewards)):
        stretches = []
        for t in np.flatnonzero(mask[b]):
            if not stretches or segment[b, t] != segment[b, stretches[-1][-1]]:
                stretches.append([])
            stretches[-1].append(t)
        after = 0.0
        for s, tokens in reversed(list(enumerate(stretches))):
            gain = token_rewards[b, tokens].sum() + (rewards[b] if s == len(stretches) - 1 else 0.0)
            here = values[b, tokens[0]]
            if np.isnan(here):
                here = gain + after
            out[b, tokens] = gain + after - here
            after = here
    return out


@pytest.mark.parametrize("seed", range(4))
def test_double_precision(x64, seed):
    rng = np.random.default_rng(seed)
    mask = (rng.uniform(size=(5, 9)) < 0.8).astype(int)
    mask[3] = 0
    segment = np.cumsum(rng.uniform(size=(5, 9)) < 0.4, axis=1) % 3 if seed % 2 else np.cumsum(rng.uniform(size=(5, 9)) < 0.4, axis=1)
    values, rewards, dense = rng.normal(size=(5, 9)), rng.normal(size=5), rng.normal(size=(5, 9))
    for b in range(5):  # one value for a segment, missing for some
        known = {s: rng.normal() if rng.uniform() < 0.7 else np.nan for s in range(10)}
        values[b] = [known[s] for s in segment[b]]
    values, segment = np.where(mask == 0, np.inf, values), np.where(mask == 0, -1, segment)
    expected = reference(rewards, values, segment, mask, dense)
    np.testing.assert_allclose(RULE(rewards, values, segment, mask, np.where(mask == 0, np.nan, dense)), expected, rtol=1e-9, atol=1e-12)
    plain = reference(rewards, values, segment, mask, 0 * dense)
    np.testing.assert_allclose(advantages.segment_advantages(rewards, values, segment, mask), plain, rtol=1e-9, atol=1e-12)


def test_one_segment_and_equal_values():
    mask = np.array([[1, 1, 1], [1, 1, 0]])
    one = advantages.segment_advantages(np.array([1.0, 0.0]), np.full((2, 3), 0.25), 0 * mask, mask)
    np.testing.assert_array_equal(one, [[0.75, 0.75, 0.75], [-0.25, -0.25, 0]])
    same = advantages.segment_advantages(np.full(2, 0.3), np.full((2, 3), 0.3), np.array([[0, 1, 2], [0, 1, -1]]), mask)
    np.testing.assert_array_equal(same, np.zeros((2, 3)))
    empty = advantages.segment_advantages(np.full(2, 0.0), np.zeros((2, 3)), 0 * mask, mask)  # no continuation: values 0
    np.testing.assert_array_equal(empty, np.zeros((2, 3)))
