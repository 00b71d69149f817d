"""Going on from inside a row: forks, forks of forks, forced tokens; sizes as in test_sampler, which shows what rows from prompts are."""

import dataclasses
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from pojax import models
from pojax.sampling import extend, forks, sample, sampler

CONFIG = models.qwen2(vocab_size=19, hidden=16, layers=2, heads=4, kv_heads=2, mlp=24, context=32, tie_embeddings=True)
P, G, S, T, K = 4, 3, 5, 8, 2
PROMPTS = np.random.default_rng(0).integers(2, 19, (P, S)).astype(np.int32)
MASK = np.arange(S) >= np.array([0, 2, 4, 5])[:, None]  # the last prompt is empty
N, M = P * G, P * G * K
KEYS = jax.random.split(jax.random.key(3), N)
OTHER = jax.random.split(jax.random.key(4), M)
TEMPERATURE = np.tile(np.array([1.0, 0.0, 1.5], np.float32), P)
PARENTS = np.repeat(np.arange(N), K)
END = np.array([1, 7, -1])


@pytest.fixture(scope="module")
def params():
    fresh = models.init(jax.random.key(0), CONFIG)
    return jax.tree.map(lambda x: 8.0 * x if x.ndim > 1 else x, fresh)  # spread logits


def draw(params, config=CONFIG, **given):
    settings = dict(response_tokens=T, temperature=TEMPERATURE, end_tokens=END, entropy=True, hold=True)
    return sample(params, config, KEYS, PROMPTS, MASK, **{**settings, **given})


def go_on(params, held, parents=PARENTS, cuts=0, keys=OTHER, config=CONFIG, **given):
    parents = np.asarray(parents)
    cuts = np.broadcast_to(np.asarray(cuts), parents.shape)
    settings = dict(temperature=np.resize(TEMPERATURE, N)[np.asarray(parents) % N], end_tokens=END, hold=True)
    return extend(params, config, held, keys[: len(parents)], parents, cuts, **{**settings, **given})


@pytest.fixture(scope="module")
def rows(params):
    """Rows of both kinds, some over before their last position."""
    samples, held = draw(params)
    lengths = np.asarray(held.lengths)
    np.testing.assert_array_equal(lengths, np.asarray(samples.mask).sum(1))
    assert lengths.min() < 4 and lengths.max() == T
    return jax.tree.map(np.asarray, samples), held


def learner(params, samples, temperature, config=CONFIG):
    """(log-probabilities, entropies) of whole rows, where the policy chose."""
    repeats = samples.tokens.shape[0] // P
    prompts = jnp.repeat(jnp.asarray(PROMPTS), repeats, axis=0), jnp.repeat(jnp.asarray(MASK), repeats, axis=0)
    outputs = models.token_outputs(params, config, *prompts, samples.tokens, jnp.asarray(temperature), ("logprobs", "entropy"))
    return [np.where(samples.mask, outputs[name], 0.0) for name in ("logprobs", "entropy")]


def same(a, b, atol=1e-5):
    for name in ("tokens", "mask", "ended"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    for name in ("old_logprobs", "rollout_logprobs", "entropy"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=atol, err_msg=name)


def test_an_incomplete_period_of_windows_with_soft_caps():
    """Scanned layers of which one is left over: the learner's numbers, and rows that go on from their middle as they did."""
    options = dict(windows=(3, None), attention_softcap=3.0, logit_softcap=4.0, unroll=0)
    config = models.gemma3(vocab_size=19, hidden=16, layers=3, heads=4, kv_heads=2, head_dim=4, mlp=24, context=32, **options)
    params = jax.tree.map(lambda x: 8.0 * x if x.ndim > 1 else x, models.init(jax.random.key(0), config))
    samples, held = draw(params, config)
    logprobs, entropies = learner(params, samples, TEMPERATURE, config)
    np.testing.assert_allclose(samples.old_logprobs, logprobs, atol=1e-5)
    np.testing.assert_allclose(samples.entropy, entropies, atol=1e-5)
    again, _ = go_on(params, held, np.arange(N), np.asarray(held.lengths) // 2, KEYS, config)
    same(again, samples)


@pytest.mark.parametrize("change", [{}, dict(unroll=0)], ids=["unrolled", "scanned"])
def test_a_row_goes_on_as_its_parent_did_with_its_parents_key(params, change):
    """Greedy rows and drawn ones, from every cut: the same tokens, log-probabilities and entropies."""
    config = dataclasses.replace(CONFIG, **change)
    samples, held = draw(params, config)
    lengths = np.asarray(held.lengths)
    for cuts in (np.zeros(N, int), np.minimum(np.arange(N) % 4, lengths - 1), lengths - 1):
        again, now = go_on(params, held, np.arange(N), cuts, KEYS, config)
        same(again, samples)
        np.testing.assert_array_equal(now.lengths, lengths)


def test_other_keys_give_other_continuations_of_the_same_prefix(params, rows):
    samples, held = rows
    cuts = np.minimum(2, np.asarray(held.lengths) - 1)[PARENTS]
    forked, now = go_on(params, held, cuts=cuts)
    forked = jax.tree.map(np.asarray, forked)
    before = np.arange(T) < cuts[:, None]
    for name in ("tokens", "mask", "old_logprobs", "rollout_logprobs", "entropy"):
        np.testing.assert_array_equal(getattr(forked, name)[before], getattr(samples, name)[PARENTS][before])
    drawn = (TEMPERATURE[PARENTS % G] > 0).reshape(N, K)[:, 0]
    pairs = forked.tokens.reshape(N, K, T)
    differ = (pairs[:, 0] != pairs[:, 1]).any(1)
    assert differ[drawn].mean() > 0.7 and not differ[~drawn].any()
    expected = learner(params, forked, TEMPERATURE[PARENTS % G])
    np.testing.assert_allclose(forked.old_logprobs, expected[0], atol=1e-4)
    np.testing.assert_allclose(forked.entropy, expected[1], atol=1e-4)
    np.testing.assert_array_equal(now.lengths, forked.mask.sum(1))
    last = forked.tokens[np.arange(M), forked.mask.sum(1) - 1]
    np.testing.assert_array_equal(forked.ended, np.isin(last, END))


def test_forks_of_forks(params):
    """Three generations; the third is forked at tokens of every generation, and is what the learner says of the whole row."""
    given = dict(end_tokens=np.array([-1] * 3), temperature=1.0)
    _, first = draw(params, **given)
    _, second = go_on(params, first, cuts=1 + 2 * (PARENTS % 2), **given)
    parents, cuts = np.repeat(np.arange(0, M, K), K) + 1, np.resize([0, 1, 2, 4, 7], M)
    third, now = go_on(params, second, parents, cuts, jax.random.split(jax.random.key(5), M), **given)
    third, second = jax.tree.map(np.asarray, (third, second.samples))
    assert third.mask.all() and (np.asarray(now.lengths) == T).all()
    before = np.arange(T) < cuts[:, None]
    np.testing.assert_array_equal(third.tokens[before], second.tokens[parents][before])
    assert (third.tokens != second.tokens[parents]).any(1).mean() > 0.9
    np.testing.assert_allclose(third.old_logprobs, learner(params, third, np.ones(M, np.float32))[0], atol=1e-4)


def test_limits_and_rows_that_stay_as_they_are(params, rows):
    samples, held = rows
    lengths = np.asarray(held.lengths)
    kept, now = go_on(params, held, np.arange(N), lengths, KEYS, limits=np.zeros(N, int))
    same(kept, samples, atol=0)
    assert int(now.decoded) == N
    cuts = np.minimum(1, lengths - 1)[PARENTS]
    short, now = go_on(params, held, cuts=cuts, limits=np.full(M, 2))
    full, _ = go_on(params, held, cuts=cuts)
    width = np.minimum(np.asarray(full.mask).sum(1), cuts + 2)
    np.testing.assert_array_equal(short.tokens, np.where(np.arange(T) < width[:, None], full.tokens, 0))
    np.testing.assert_array_equal(now.lengths, width)


def test_forced_tokens(params, rows):
    """They are in the row and in the cache, with mask 0 and no numbers; what is drawn behind them has seen them."""
    _, held = rows
    cuts = np.minimum(2, np.asarray(held.lengths) - 1)[PARENTS]
    tokens = np.random.default_rng(1).integers(2, 19, (M, 3))
    counts = np.resize([0, 1, 3, 2], M)
    forced, now = go_on(params, held, cuts=cuts, forced=(tokens, counts), end_tokens=np.array([-1] * 3))
    forced = jax.tree.map(np.asarray, forced)
    column = np.arange(T) - cuts[:, None]
    given = (column >= 0) & (column < counts[:, None])
    np.testing.assert_array_equal(forced.mask, ~given)
    np.testing.assert_array_equal(forced.tokens[given], np.concatenate([row[:n] for row, n in zip(tokens, counts, strict=True)]))
    for name in ("old_logprobs", "rollout_logprobs", "entropy"):
        assert (getattr(forced, name)[given] == 0).all()
    np.testing.assert_allclose(forced.old_logprobs, learner(params, forced, TEMPERATURE[PARENTS % G])[0], atol=1e-4)
    assert (np.asarray(now.lengths) == T).all()
    # Forced and drawn tokens that do not fit are left out; an end token that is forced does not end a row.
    long, now = go_on(
        params, held, cuts=np.asarray(held.lengths)[PARENTS], forced=(np.full((M, 7), 7), np.full(M, 7)), limits=np.full(M, 3)
    )
    lengths = np.asarray(held.lengths)[PARENTS]
    assert (np.asarray(now.lengths)[lengths == T] == T).all()
    np.testing.assert_array_equal(
        (~np.asarray(long.mask) & (np.arange(T) < np.asarray(now.lengths)[:, None])).sum(1), np.minimum(7, T - lengths)
    )
    first = np.resize(np.array([2, 0, 1]), N)
    begun, _ = draw(params, forced=(np.full((N, 2), 5), first), end_tokens=np.array([-1] * 3))
    np.testing.assert_array_equal(begun.mask, np.arange(T) >= first[:, None])
    np.testing.assert_allclose(begun.old_logprobs, learner(params, begun, TEMPERATURE)[0], atol=1e-4)


def test_several_turns_are_one_row(params, rows):
    """Action, observation, action, observation, action: positions follow each other without a gap, whatever each action's length."""
    held = rows[1]
    everyone, keys = np.arange(N), KEYS
    samples, held = draw(params, limits=np.full(N, 2))
    for turn in range(2):
        observation = np.full((N, 2), 11 + turn)
        samples, held = go_on(params, held, everyone, held.lengths, keys, forced=(observation, np.resize([1, 2], N)), limits=np.full(N, 2))
    samples, lengths = jax.tree.map(np.asarray, samples), np.asarray(held.lengths)
    assert (samples.mask.sum(1) >= 2).all() and len(set(lengths)) > 1
    assert (samples.tokens[np.arange(T) >= lengths[:, None]] == 0).all()
    np.testing.assert_allclose(samples.old_logprobs, learner(params, samples, TEMPERATURE)[0], atol=1e-4)


def test_a_shared_prefix_is_never_run_twice(params, rows):
    """By the counters, and by what the model is called with."""
    samples, held = rows
    lengths = np.asarray(held.lengths)
    assert int(held.prefilled) == MASK.sum() and int(held.decoded) == (lengths - 1).sum()
    cuts = np.minimum(3, lengths - 1)[PARENTS]
    jax.clear_caches()
    calls = []

    def step(params, config, cache, tokens, slots):
        calls.append(tokens.shape)
        return models.decode_step(params, config, cache, tokens, slots)

    refuse = mock.Mock(side_effect=AssertionError("a prompt was prefilled"))
    with (
        mock.patch.object(sampler, "prefill", refuse),
        mock.patch.object(sampler, "decode_step", step),
        mock.patch.object(forks, "decode_step", step),
    ):
        _, now = go_on(params, held, cuts=cuts)
    assert set(calls) == {(M,)}  # one token of every row at a time
    new = np.asarray(now.lengths) - cuts
    assert int(now.prefilled) == 0 and int(now.decoded) == (cuts > 0).sum() + (new - 1).sum()  # the token before the cut, and new ones
    assert now.cache.prompt[0][0].shape[0] == P  # and the prompt's keys and values are not copied per row


def test_other_cuts_and_parents_compile_nothing(params, rows):
    held = rows[1]
    go_on(params, held, cuts=np.zeros(M, int), forced=(np.zeros((M, 2), int), np.zeros(M, int)))
    before = forks._extend._cache_size()
    for seed in range(2):
        rng = np.random.default_rng(seed)
        parents = PARENTS // G * G + rng.integers(0, G, M)
        forced = rng.integers(0, 19, (M, 2)), rng.integers(0, 3, M)
        go_on(params, held, parents, rng.integers(0, T, M), forced=forced, temperature=0.5, limits=rng.integers(0, 4, M))
    assert forks._extend._cache_size() == before


def no_fives(logits, tokens, position):
    """A processor: no 5, and no token twice in a row."""
    last = tokens[:, jnp.maximum(position - 1, 0)]
    index = jnp.arange(logits.shape[1])
    return jnp.where((index == 5) | ((index == last[:, None]) & (position > 0)), -jnp.inf, logits)


def test_a_processor_sees_the_whole_row(params):
    samples, held = draw(params, processor=no_fives, end_tokens=np.array([-1] * 3))
    cuts = np.resize([0, 1, 4], N)
    again, _ = go_on(params, held, np.arange(N), cuts, KEYS, processor=no_fives, end_tokens=np.array([-1] * 3))
    same(again, samples)
    other, _ = go_on(params, held, cuts=np.repeat(cuts, K), processor=no_fives, end_tokens=np.array([-1] * 3))
    assert (np.asarray(other.tokens)[:, 1:] != np.asarray(other.tokens)[:, :-1]).all()


def test_four_devices_fork_the_same(params, rows):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
    split, everywhere = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())
    held = jax.tree.map(lambda x: jax.device_put(x, split if x.ndim else everywhere), rows[1])
    cuts = np.resize([0, 1, 2], M)
    expected, _ = go_on(params, rows[1], cuts=cuts)
    found, _ = go_on(jax.device_put(params, everywhere), held, cuts=cuts, keys=jax.device_put(OTHER, split))
    same(found, expected)
    assert len(found.tokens.sharding.device_set) == 4 and not found.tokens.sharding.is_fully_replicated


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(parents=PARENTS[:-1]), r"rows, allowed: a multiple of the number of prompts \(4\)"),
        (dict(parents=PARENTS[::-1].copy()), "parents: row 0 continues prompt 0, its parent 11 does not"),
        (dict(parents=PARENTS - 1), "parents holds -1, allowed: 0 to 11"),
        (dict(cuts=T + 1), "cuts holds 9, allowed: 0 to 8"),
        (dict(forced=(np.zeros((M, 2), int), np.full(M, 3))), "forced counts holds 3, allowed: 0 to 2"),
        (dict(forced=(np.zeros((N, 2), int), np.full(M, 1))), r"forced tokens have shape \(12, 2\), allowed: \[n, F\] with n = 24 rows"),
        (dict(limits=np.full(M, -1)), "limits holds -1"),
    ],
)
def test_errors(params, rows, given, message):
    with pytest.raises(ValueError, match=message):
        go_on(params, rows[1], **given)
