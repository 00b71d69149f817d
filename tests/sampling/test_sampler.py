import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from pojax import models
from pojax.sampling import sample
from pojax.sampling.sampler import _sample

CONFIG = models.qwen2(vocab_size=19, hidden=16, layers=2, heads=4, kv_heads=2, mlp=24, context=32, tie_embeddings=True)
P, G, S, T = 8, 6, 5, 8
PROMPTS = np.random.default_rng(0).integers(2, 19, (P, S)).astype(np.int32)
MASK = np.arange(S) >= np.array([0, 2, 4, 5, 1, 3, 0, 4])[:, None]  # the fourth prompt is empty
KEYS = jax.random.split(jax.random.key(3), P * G)
TEMPERATURE = np.tile(np.array([1.0, 0.5, 2.0, 0.0, 1.5, 1.0], np.float32), P)


HEADS = {"largest": lambda hidden, logits, token: jnp.argmax(logits, axis=-1).astype(logits.dtype)}


@pytest.fixture(scope="module")
def params():
    fresh = models.init(jax.random.key(0), CONFIG)
    return jax.tree.map(lambda x: 8.0 * x if x.ndim > 1 else x, fresh)  # spread logits


def run(params, keys=KEYS, prompts=PROMPTS, mask=MASK, **given):
    settings = dict(response_tokens=T, temperature=np.resize(TEMPERATURE, len(keys)), end_tokens=np.array([1, 7, -1]), entropy=True)
    return sample(params, CONFIG, keys, prompts, mask, **{**settings, **given})


@partial(jax.jit, static_argnums=1)
def learner(params, config, samples, temperature):
    rows = samples.tokens.shape[0]
    prompts = jnp.repeat(jnp.asarray(PROMPTS), rows // P, axis=0), jnp.repeat(jnp.asarray(MASK), rows // P, axis=0)
    return models.token_outputs(params, config, *prompts, samples.tokens, temperature, ("logprobs", "entropy", "largest"), HEADS)


@pytest.fixture(scope="module")
def samples(params):
    return jax.tree.map(np.asarray, run(params))


def test_bookkeeping(samples):
    lengths = samples.mask.sum(1)
    assert {1, T} <= set(lengths) and 0 < samples.ended.sum() < len(samples.ended)  # both kinds are there
    np.testing.assert_array_equal(samples.mask, np.arange(T) < lengths[:, None])
    last = samples.tokens[np.arange(P * G), lengths - 1]
    np.testing.assert_array_equal(samples.ended, np.isin(last, [1, 7]))
    inside = samples.mask & (np.arange(T) < lengths[:, None] - 1)
    assert not np.isin(samples.tokens[inside], [1, 7]).any()  # nothing after an end
    assert (lengths[~samples.ended] == T).all()
    for field in (samples.tokens, samples.old_logprobs, samples.rollout_logprobs, samples.entropy):
        assert (field[~samples.mask] == 0).all()


def test_logprobs_are_those_of_the_learner(params, samples):
    expected = learner(params, CONFIG, samples, TEMPERATURE)
    assert np.abs(samples.old_logprobs).max() > 1.0
    np.testing.assert_allclose(samples.old_logprobs, np.where(samples.mask, expected["logprobs"], 0.0), atol=1e-5)
    np.testing.assert_allclose(samples.entropy, np.where(samples.mask, expected["entropy"], 0.0), atol=1e-5)
    np.testing.assert_array_equal(samples.rollout_logprobs, samples.old_logprobs)  # nothing was cut


def test_greedy_rows_take_the_largest(params, samples):
    largest = np.asarray(learner(params, CONFIG, samples, TEMPERATURE)["largest"])
    greedy = (TEMPERATURE == 0)[:, None] & samples.mask
    np.testing.assert_array_equal(samples.tokens[greedy], largest[greedy])
    assert (samples.tokens != largest)[samples.mask & ~greedy].any()


def test_rows_are_sampled_from_the_distribution_they_report(params):
    """First tokens of many rows of one prompt: frequencies against exp(rollout_logprobs), with and without truncation."""
    n = 3000
    keys = jax.random.split(jax.random.key(5), P * n)
    for given in (dict(), dict(top_k=6, top_p=0.9)):
        out = run(params, keys, response_tokens=1, temperature=1.0, **given)
        tokens, logprobs = np.asarray(out.tokens)[:n, 0], np.asarray(out.rollout_logprobs)[:n, 0]
        assert not np.asarray(out.ended)[~np.isin(out.tokens[:, 0], [1, 7])].any()
        seen = {int(token): float(np.exp(logprobs[tokens == token][0])) for token in set(tokens)}
        assert sum(seen.values()) > 0.99
        for token, probability in seen.items():
            deviation = (np.mean(tokens == token) - probability) / np.sqrt(probability * (1 - probability) / n)
            assert abs(deviation) < 4.5, (token, probability, deviation)
        if given:
            assert len(seen) <= 6


def test_truncation_shows_in_rollout_logprobs_alone(params):
    out = run(params, top_k=np.resize([0, 3], P * G), min_p=0.05)
    expected = learner(params, CONFIG, out, TEMPERATURE)["logprobs"]
    np.testing.assert_allclose(out.old_logprobs, np.where(out.mask, expected, 0.0), atol=1e-5)
    cut = np.asarray(out.rollout_logprobs)[1::2][np.asarray(out.mask)[1::2]]
    assert (cut >= np.asarray(out.old_logprobs)[1::2][np.asarray(out.mask)[1::2]] - 1e-6).all() and np.std(cut) > 0.1


def test_limits(params, samples):
    limits = np.resize(np.array([0, 1, 3, 99], np.int32), P * G)
    out = jax.tree.map(np.asarray, run(params, limits=limits))
    cut = np.arange(T) < limits[:, None]
    np.testing.assert_array_equal(out.mask, samples.mask & cut)
    np.testing.assert_array_equal(out.tokens, np.where(cut, samples.tokens, 0))  # the same tokens, only fewer
    np.testing.assert_array_equal(out.ended, samples.ended & (samples.mask.sum(1) <= limits))


STEPS = []


def forbid_repeats(logits, tokens, position):
    """A processor: no token twice in a row; notes the steps that were run."""
    jax.debug.callback(lambda t: STEPS.append(int(t)), position)
    last = tokens[:, jnp.maximum(position - 1, 0)]
    again = (jnp.arange(logits.shape[1]) == last[:, None]) & (position > 0)
    return jnp.where(again, -jnp.inf, logits)


def test_processor_and_the_end_of_the_loop(params, samples):
    given = dict(processor=forbid_repeats, end_tokens=np.array([-1, -1, -1]))
    out = jax.tree.map(np.asarray, run(params, **given))
    assert out.mask.all() and not out.ended.any()
    assert (out.tokens[:, 1:] != out.tokens[:, :-1]).all()
    assert (samples.tokens[:, 1:] == samples.tokens[:, :-1])[samples.mask[:, 1:]].any()  # which would have happened
    expected = learner(params, CONFIG, out, TEMPERATURE)["logprobs"]
    np.testing.assert_allclose(out.old_logprobs, expected, atol=1e-5)  # not processed
    assert (out.rollout_logprobs >= out.old_logprobs - 1e-6).all() and (out.rollout_logprobs > out.old_logprobs + 1e-3).any()
    jax.effects_barrier()
    assert sorted(STEPS) == list(range(T))
    STEPS.clear()
    jax.block_until_ready(run(params, limits=np.full(P * G, 3), **given))
    jax.effects_barrier()
    assert sorted(STEPS) == [0, 1, 2]  # a call costs what its longest row costs


def test_a_row_is_a_function_of_itself(params, samples):
    """Neither the other rows nor the size of the batch reach it."""
    fewer = run(params, KEYS[2 * G : 3 * G], PROMPTS[2:3], MASK[2:3], temperature=TEMPERATURE[2 * G : 3 * G])
    np.testing.assert_array_equal(fewer.tokens, samples.tokens[2 * G : 3 * G])
    order = np.array([3, 1, 0, 7, 2, 6, 5, 4])
    rows = (order[:, None] * G + np.arange(G)[::-1]).reshape(-1)
    moved = run(params, KEYS[rows], PROMPTS[order], MASK[order], temperature=TEMPERATURE[rows])
    np.testing.assert_array_equal(moved.tokens, samples.tokens[rows])
    np.testing.assert_allclose(moved.old_logprobs, samples.old_logprobs[rows], atol=1e-5)


def test_eight_devices_sample_the_same(params, samples):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    everywhere = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    keys, prompts, mask, temperature = (jax.device_put(x, rows) for x in (KEYS, PROMPTS, MASK, TEMPERATURE))
    spread = run(everywhere, keys, prompts, mask, temperature=temperature)
    np.testing.assert_array_equal(spread.tokens, samples.tokens)
    np.testing.assert_array_equal(spread.mask, samples.mask)
    np.testing.assert_allclose(spread.old_logprobs, samples.old_logprobs, atol=1e-5)
    assert len(spread.tokens.sharding.device_set) == 8 and not spread.tokens.sharding.is_fully_replicated


def test_settings_compile_nothing(params):
    run(params)
    before = _sample._cache_size()
    run(params, temperature=0.3, end_tokens=np.array([4, -1, -1]))
    run(params, top_k=5, top_p=0.9, min_p=0.1)
    run(params, temperature=1, limits=np.full(P * G, 3), top_k=np.full(P * G, 2), top_p=1)
    run(jax.tree.map(lambda x: x + 1.0, params), jax.random.split(jax.random.key(1), P * G), PROMPTS[::-1].copy())
    assert _sample._cache_size() == before


def test_half_precision_and_scanned_layers(params):
    half = dataclasses.replace(CONFIG, dtype="bfloat16", unroll=0)
    out = sample(params, half, KEYS, PROMPTS, MASK, response_tokens=3, temperature=TEMPERATURE, end_tokens=(1,))
    assert out.old_logprobs.dtype == jnp.float32 and out.entropy is None
    expected = learner(params, CONFIG, out, TEMPERATURE)["logprobs"]  # in float32
    np.testing.assert_allclose(out.old_logprobs, np.where(out.mask, expected, 0.0), atol=0.3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(temperature=-1.0), r"temperature holds -1.0, allowed: at least 0"),
        (dict(temperature=np.full(3, 1.0, np.float32)), r"temperature has shape \(3,\), allowed: one number or one per row \(48,\)"),
        (dict(top_p=0.0), "top_p holds 0.0, allowed: above 0 up to 1"),
        (dict(min_p=1.5), "min_p holds 1.5"),
        (dict(top_k=np.array([-2] * P * G)), "top_k holds -2"),
        (dict(limits=np.array([-1] * P * G)), "limits holds -1"),
        (dict(response_tokens=0), "response_tokens is 0, allowed: at least 1"),
        (dict(response_tokens=28), r"5 \+ 28 tokens, allowed: at most context \(32\)"),
        (dict(keys=KEYS[:7]), r"rows is 7, allowed: a multiple of the number of prompts \(8\)"),
    ],
)
def test_errors(params, given, message):
    with pytest.raises(ValueError, match=message):
        run(params, **given)


def test_a_value_model_cannot_sample(params):
    with pytest.raises(ValueError, match="'scalar'"):
        sample(
            params, dataclasses.replace(CONFIG, output="scalar"), KEYS, PROMPTS, MASK, response_tokens=T, temperature=1.0, end_tokens=(1,)
        )
