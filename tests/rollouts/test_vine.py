import itertools
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
import tiny_services as tiny

from pojax import models
from pojax.rollouts import after_token, every, low_probability, vine

P, T = tiny.P, tiny.T
NAMES = ("render", "sample", "extend", "verify", "reward")


@pytest.fixture(scope="module")
def params():
    return tiny.parameters()


def bounds(rule, **hypers):
    """A rule as an arrangement calls it: it takes what it names of the data."""

    def call(**given):
        names = {"every": ("mask",), "low_probability": ("old_logprobs", "mask"), "after_token": ("tokens", "mask")}[rule.__name__]
        return rule(**{name: given[name] for name in names}, **hypers)

    return call


def test_rows_are_those_of_independent_and_greedy_rows_are_worth_what_they_get(params):
    """At temperature 0 every continuation is the row itself."""
    services = tiny.Services(params)
    rollout = services(vine, *NAMES, boundaries=bounds(every, tokens=2), samples=2, continuations=3, max_cuts=3, temperature=0.0)
    assert rollout.tokens.shape == (2 * P, T) and rollout.block == 2
    rewards = rollout.components["score"]
    assert len(set(rewards)) > 2
    np.testing.assert_allclose(rollout.values, np.where(rollout.mask, rewards[:, None], 0.0), rtol=1e-6)
    np.testing.assert_array_equal(rollout.labels["segment"], np.where(rollout.mask, np.arange(T) // 2, -1))
    np.testing.assert_array_equal(rollout.groups, np.repeat(np.arange(P), 2))
    np.testing.assert_allclose(rollout.old_logprobs, tiny.learner_logprobs(params, rollout), atol=1e-4)


def exact_value(params, prompt, prefix, width):
    """Expected score of a response that begins with `prefix`, by summing over all of them."""
    total, ends = 0.0, set(tiny.END.tolist())
    rows = [np.array(tail) for tail in itertools.product(range(tiny.VOCABULARY), repeat=width - len(prefix))]
    rows = np.array([np.concatenate([prefix, row]) for row in rows]).astype(np.int32)
    prompts = np.repeat(prompt[None], len(rows), axis=0)
    outputs = models.token_outputs(
        params, tiny.CONFIG, prompts, np.ones_like(prompts, bool), rows, np.ones(len(rows), np.float32), ("logprobs",)
    )
    logprobs = np.asarray(outputs["logprobs"], np.float64)
    seen = set()
    for row, logprob in zip(rows, logprobs, strict=True):
        stop = next((t + 1 for t in range(len(row)) if row[t] in ends), len(row))
        response = tuple(row[: max(stop, len(prefix))])
        if response in seen:
            continue
        seen.add(response)
        value = sum(response) + 10.0 * (3 in response)
        total += np.exp(logprob[len(prefix) : len(response)].sum()) * value
    return total


def test_values_are_expected_rewards_of_the_states_before_the_segments(params):
    """Against the sum over all responses of three tokens, within the error of that many continuations."""
    width, draws = 3, 600
    services = tiny.Services(params, response_tokens=width)
    rollout = services(vine, *NAMES, boundaries=bounds(every, tokens=1), samples=2, continuations=draws, max_cuts=3)
    spread = set()
    for row in range(2 * P):
        for t in np.flatnonzero(rollout.mask[row]):
            expected = exact_value(params, tiny.PROMPTS[row // 2], rollout.tokens[row, :t], width)
            assert abs(rollout.values[row, t] - expected) < 4.5 * 8 / draws**0.5, (row, t)  # the score's deviation is below 8
            spread.add(round(expected, 3))
    assert np.ptp(list(spread)) > 4  # states differ by more than the error allowed


def test_no_prefix_is_run_twice_and_rows_without_a_segment_cost_nothing(params):
    services = tiny.Services(params)
    rollout = services(vine, *NAMES, boundaries=bounds(every, tokens=2), samples=2, continuations=3, max_cuts=3)
    assert services.prefilled() == P * tiny.S and len(services.held) == 3
    first, of_prompts, of_cuts = services.held
    lengths = rollout.mask.sum(1)
    assert services.decoded()[0] == (lengths - 1).sum()
    assert services.decoded()[1] == (np.asarray(of_prompts.lengths) - 1).sum()
    cuts = np.stack([np.where(lengths > 2, 2, 0), np.where(lengths > 4, 4, 0)], axis=1)
    cuts = np.repeat(cuts.reshape(-1), 3)
    new = np.asarray(of_cuts.lengths) - cuts
    assert (new[cuts == 0] == 0).all() and (new[cuts > 0] > 0).all()
    assert services.decoded()[2] == new.sum()  # the token before the cut again, and all but the last of the new ones
    prefixes = np.arange(T) < cuts[:, None]
    parents = np.repeat(np.arange(2 * P), 6)
    np.testing.assert_array_equal(np.asarray(services.drawn[2].tokens)[prefixes], rollout.tokens[parents][prefixes])


@pytest.mark.parametrize("beyond", ["join", "missing"])
def test_more_segments_than_cuts(params, beyond):
    services = tiny.Services(params, end_tokens=np.array([-1]))
    rollout = services(vine, *NAMES, boundaries=bounds(every, tokens=1), samples=2, continuations=2, max_cuts=3, beyond=beyond)
    late = np.arange(T) >= 3
    if beyond == "join":
        np.testing.assert_array_equal(rollout.labels["segment"], np.broadcast_to(np.minimum(np.arange(T), 2), (2 * P, T)))
        np.testing.assert_array_equal(rollout.values[:, late], np.repeat(rollout.values[:, 2:3], T - 3, axis=1))
    else:
        np.testing.assert_array_equal(rollout.labels["segment"], np.broadcast_to(np.arange(T), (2 * P, T)))
        assert np.isnan(rollout.values[:, late]).all() and np.isfinite(rollout.values[:, ~late]).all()
    one = tiny.Services(params)(vine, *NAMES, boundaries=bounds(every, tokens=1), samples=2, continuations=2, max_cuts=1)
    np.testing.assert_array_equal(one.labels["segment"], np.where(one.mask, 0, -1))


def test_continuations_without_a_verdict_are_left_out_and_rows_without_a_value_are_out(params):
    """A verifier that cannot score anything with a 4: means are over the others; where all have one, the row is out."""
    services = tiny.Services(params)

    def verify(indices, samples):
        bad = jnp.any(samples.mask & (samples.tokens == 4), axis=1)
        return {"score": jnp.where(bad, jnp.nan, tiny.score(samples.tokens, samples.mask))}

    services["verify"] = verify
    rollout = services(vine, *NAMES, boundaries=bounds(every, tokens=2), samples=2, continuations=2, max_cuts=2)
    drawn = services.drawn[2]
    fours = np.asarray((drawn.tokens == 4) & drawn.mask).any(1).reshape(2 * P, 2)
    numbers = np.asarray(tiny.score(drawn.tokens, drawn.mask)).reshape(2 * P, 2)
    prompt_fours = np.asarray((services.drawn[1].tokens == 4) & services.drawn[1].mask).any(1).reshape(P, 2)
    for row in range(2 * P):
        cut = rollout.mask[row].sum() > 2
        out = (rollout.tokens[row][rollout.mask[row]] == 4).any() or prompt_fours[row // 2].all() or (cut and fours[row].all())
        assert (rollout.groups[row] == -1) == out
        if not out and cut:
            assert rollout.values[row, 2] == pytest.approx(numbers[row][~fours[row]].mean(), rel=1e-6)
    assert np.isfinite(rollout.values).all() and (rollout.groups == -1).any() and (fours.sum(1) == 1).any()


def test_boundaries():
    p = np.array([[0.5, 0.95, 0.8, 0.99, 0.6, 0.97, 0.3, 0.98]])
    mask = np.ones((1, 8), bool)
    found = low_probability(np.log(p), mask, threshold=0.9, interval=2)
    np.testing.assert_array_equal(np.flatnonzero(found[0]), [0, 4])  # cut points -1 and 3 of the worked example
    found = low_probability(np.where(np.arange(8) < 3, np.nan, np.log(p)), np.arange(8)[None] >= 3, threshold=0.9, interval=1)
    np.testing.assert_array_equal(np.flatnonzero(found[0]), [4, 6])
    holes = np.array([[1, 1, 0, 0, 1, 1, 1, 0]])
    np.testing.assert_array_equal(np.flatnonzero(every(holes, tokens=2)[0]), [0, 4, 6])
    tokens = np.array([[5, 9, 5, 5, 9, 2, 9, 9]])
    np.testing.assert_array_equal(np.flatnonzero(after_token(tokens, mask, lambda text: [9], token=";")[0]), [2, 5, 7])
    np.testing.assert_array_equal(np.flatnonzero(after_token(tokens, holes, lambda text: [], token=9)[0]), [5])
    with pytest.raises(ValueError, match="after_token: token is 'ab', which is 2 tokens"):
        after_token(tokens, mask, lambda text: [1, 2], token="ab")
    with pytest.raises(ValueError, match="every: tokens is 0, allowed: 1 or more"):
        every(mask, tokens=0)
    with pytest.raises(ValueError, match="low_probability: interval is 0"):
        low_probability(np.log(p), mask, interval=0)
    with pytest.raises(ValueError, match=r"low_probability: threshold is 1.5, allowed: \[0, 1\]"):
        low_probability(np.log(p), mask, threshold=1.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(samples=0), "vine: samples is 0, allowed: 1 or more"),
        (dict(continuations=0), "vine: continuations is 0"),
        (dict(max_cuts=0), "vine: max_cuts is 0"),
        (dict(beyond="cut"), "vine: beyond is 'cut', allowed: {join, missing}"),
        (dict(temperature=-1.0), "vine: temperature is -1"),
        (dict(boundaries=lambda **given: np.ones(3)), r"boundaries: found an array of shape \[3\], allowed: \[B, T\] = \[32, 6\]"),
    ],
)
def test_errors(params, given, message):
    with pytest.raises(ValueError, match=message):
        tiny.Services(params)(vine, *NAMES, **{"boundaries": partial(bounds(every, tokens=1)), **given})
