import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import models
from pojax.models.attention import attend, attend_cached, visible

CONFIG = models.qwen2(vocab_size=29, hidden=16, layers=4, heads=4, kv_heads=2, mlp=24, windows=(None, 3), context=32, unroll=0)
UNROLLED = dataclasses.replace(CONFIG, unroll=4)
S, T = 6, 5
hidden_states = jax.jit(models.hidden_states, static_argnums=1)


@pytest.fixture(scope="module")
def params():
    return models.init(jax.random.key(0), CONFIG)


def batch(lengths=(6, 4, 1, 0)):
    random = np.random.default_rng(0)
    prompts = random.integers(2, CONFIG.vocab_size, (len(lengths), S))
    tokens = random.integers(2, CONFIG.vocab_size, (len(lengths), T))
    mask = np.arange(S) >= S - np.array(lengths)[:, None]
    return np.where(mask, prompts, 0), mask, tokens


def test_parameters(params):
    axes = models.logical_axes(CONFIG)
    is_axes = lambda x: isinstance(x, tuple)  # noqa: E731
    assert jax.tree.structure(params) == jax.tree.structure(axes, is_leaf=is_axes)
    sizes = dict(layers=2, vocab=29, embed=16, heads=4, kv_heads=2, head_dim=4, mlp=24)
    for path, names in jax.tree_util.tree_leaves_with_path(axes, is_leaf=is_axes):
        leaf = params
        for key in path:
            leaf = leaf[key.key]
        assert len(names) == leaf.ndim and leaf.dtype == jnp.float32
        assert all(name is None or sizes[name] == size for name, size in zip(names, leaf.shape, strict=True)), (path, names, leaf.shape)
        # Every matrix can be sharded, and no logical name stands twice in it.
        assert path[-1].key in ("scale", "bias") or {"embed", "vocab"} & set(names), path
        assert len({*names} - {None}) == len([name for name in names if name])
    kernel = params["blocks"]["layer_1"]["query"]["kernel"]
    assert abs(float(jnp.std(kernel)) / 0.02 - 1) < 0.1
    assert abs(float(jnp.std(params["blocks"]["layer_0"]["down"]["kernel"])) / (0.02 / 8**0.5) - 1) < 0.1
    assert not np.array_equal(kernel[0], kernel[1])  # layers differ
    again = models.init(jax.random.key(0), CONFIG)
    jax.tree.map(np.testing.assert_array_equal, params, again)
    scalar = models.init(jax.random.key(0), dataclasses.replace(CONFIG, output="scalar"))
    assert "unembedding" not in scalar and "value" not in params
    np.testing.assert_array_equal(scalar["value"], np.zeros(16))


def test_left_padding_changes_nothing(params):
    prompts, mask, tokens = batch()
    states = np.asarray(hidden_states(params, CONFIG, prompts, mask, tokens))
    assert states.shape == (4, T, 16) and np.isfinite(states).all()  # the empty prompt of the last row, too
    for row, length in ((1, 4), (2, 1)):
        bare = hidden_states(params, CONFIG, prompts[row : row + 1, S - length :], np.ones((1, length), bool), tokens[row : row + 1])
        np.testing.assert_allclose(states[row], bare[0], atol=2e-6)
    other = np.where(mask, prompts, 7)  # what stands in the padding
    np.testing.assert_array_equal(hidden_states(params, CONFIG, other, mask, tokens)[:3], states[:3])


def test_states_see_no_later_token(params):
    prompts, mask, tokens = batch()
    states = np.asarray(hidden_states(params, CONFIG, prompts, mask, tokens))
    changed = tokens.copy()
    changed[:, 2:] = 3
    after = np.asarray(hidden_states(params, CONFIG, prompts, mask, changed))
    np.testing.assert_array_equal(after[:, :3], states[:, :3])  # state t predicts token t
    assert np.abs(after[:, 3:] - states[:, 3:]).max() > 1e-3


def test_attention_against_a_loop():
    random = np.random.default_rng(1)
    query = random.normal(size=(2, 7, 2, 3, 4)).astype(np.float32)
    key, value = (random.normal(size=(2, 7, 2, 4)).astype(np.float32) for _ in range(2))
    mask = np.array([[1] * 7, [0, 0, 1, 1, 1, 1, 1]], bool)
    out = attend(jnp.asarray(query), jnp.asarray(key), jnp.asarray(value), visible(jnp.asarray(mask), 3))
    for b, t, k, r in np.ndindex(2, 7, 2, 3):
        seen = [s for s in range(7) if s <= t and t - s < 3 and (mask[b, s] or s == t)]
        scores = np.exp([query[b, t, k, r] @ key[b, s, k] / 2.0 for s in seen])
        expected = sum(w * value[b, s, k] for w, s in zip(scores / scores.sum(), seen, strict=True))
        np.testing.assert_allclose(out[b, t, k, r], expected, atol=1e-5)


@partial(jax.jit, static_argnums=(1, 5))
def decode(params, config, prompts, mask, tokens, samples, slots):
    """Hidden states [n, T + 1, hidden] by the cache: token t of row r is fed as slots[r, t]."""
    first, cache = models.prefill(params, config, prompts, mask, tokens.shape[0], T)
    params = models.decode_params(params, config)

    def step(cache, inputs):
        state, cache = models.decode_step(params, config, cache, *inputs)
        return cache, state

    _, states = jax.lax.scan(step, cache, (tokens.T, slots.T))
    return jnp.moveaxis(jnp.concatenate([jnp.repeat(first, samples, axis=0)[None], states]), 0, 1)


@pytest.mark.parametrize("config", [CONFIG, UNROLLED], ids=["scanned", "unrolled"])
def test_cache_gives_the_states_of_the_learner(params, config):
    prompts, mask, _ = batch()
    tokens = np.random.default_rng(2).integers(2, 29, (8, T)).astype(np.int32)
    slots = np.broadcast_to(np.arange(T, dtype=np.int32), (8, T))
    states = decode(params, config, jnp.asarray(prompts), mask, tokens, 2, slots)
    longer = np.concatenate([tokens, tokens[:, :1]], axis=1)  # the last state predicts a sixth token
    expected = hidden_states(params, CONFIG, np.repeat(prompts, 2, 0), np.repeat(mask, 2, 0), longer)
    np.testing.assert_allclose(states, expected, atol=3e-6)


def test_rows_write_to_slots_of_their_own(params):
    """A row that goes back to an earlier slot has states as if the later ones had never been."""
    prompts, mask, _ = batch()
    tokens = np.random.default_rng(3).integers(2, 29, (8, T)).astype(np.int32)
    slots = np.tile(np.array([0, 1, 2, 3, 4], np.int32), (8, 1))
    slots[::2] = [0, 1, 2, 1, 2]
    states = decode(params, CONFIG, jnp.asarray(prompts), mask, tokens, 2, slots)
    straight = np.concatenate([tokens[:, :1], tokens[:, 3:], tokens[:, :3]], axis=1)  # rows that went back: tokens 0, 3, 4
    expected = hidden_states(params, CONFIG, np.repeat(prompts, 2, 0), np.repeat(mask, 2, 0), straight[:, : T + 1])
    np.testing.assert_allclose(states[::2, 4:], expected[::2, 2:4], atol=3e-6)


def test_each_prompt_is_read_once_per_group():
    """The rows of a prompt are queries of one product: no operand has the prompt's keys once per row."""
    shapes = jax.eval_shape(lambda: models.init(jax.random.key(0), CONFIG))
    arguments = [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((4, S), (4, S), (32, T), (32, T))]
    text = str(jax.make_jaxpr(lambda p, a, b, c, d: decode(p, CONFIG, a, b > 0, c, 8, d))(shapes, *arguments))
    assert f"[4,2,{S},4]" in text and f"[32,2,{S},4]" not in text and f"[4,8,2,{S},4]" not in text


def test_attend_cached_promotes_half_precision():
    half = jnp.ones((2, 1, 1, 4), jnp.bfloat16)
    keys, values = jnp.ones((2, 1, 4, 3), jnp.bfloat16), jnp.ones((2, 1, 3, 4), jnp.bfloat16)
    prompt = jnp.ones((1, 1, 2, 4), jnp.bfloat16)
    jaxpr = jax.make_jaxpr(
        lambda q: attend_cached(q, (prompt, prompt), jnp.ones((1, 2), bool), (keys, values), jnp.zeros(2, jnp.int32), None)
    )(half)
    assert {eqn.outvars[0].aval.dtype for eqn in jaxpr.jaxpr.eqns if eqn.primitive.name == "exp"} <= {jnp.dtype(jnp.float32)}


def test_unrolled_and_recomputed_layers_are_the_same(params):
    prompts, mask, tokens = batch()

    def loss(params, config):
        return jnp.sum(models.hidden_states(params, config, prompts, mask, tokens) ** 2)

    grad = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    value, gradient = grad(params, CONFIG)
    recomputed, again = grad(params, dataclasses.replace(UNROLLED, remat=True))
    np.testing.assert_allclose(recomputed, value, rtol=1e-6)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), again, gradient)
    for config, remats in ((CONFIG, 1), (UNROLLED, 2)):  # inside the scan, and one per period
        for remat in (False, True):
            text = str(jax.make_jaxpr(partial(loss, config=dataclasses.replace(config, remat=remat)))(params))
            assert text.count("remat2[") == remats * remat


def test_half_precision(params):
    prompts, mask, tokens = batch()
    half = dataclasses.replace(CONFIG, dtype="bfloat16")
    states = hidden_states(params, half, prompts, mask, tokens)
    assert states.dtype == jnp.bfloat16
    np.testing.assert_allclose(states.astype(np.float32), hidden_states(params, CONFIG, prompts, mask, tokens), atol=0.15)
    assert models.logits_of(models.unembedding(params, half), states[0], half).dtype == jnp.float32


def test_float64(x64, params):
    prompts, mask, tokens = batch()
    config = dataclasses.replace(CONFIG, dtype="float64", param_dtype="float64")
    wide = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)
    states = hidden_states(wide, config, prompts, mask, tokens)
    assert states.dtype == jnp.float64
    np.testing.assert_allclose(states, hidden_states(params, CONFIG, prompts, mask, tokens), atol=1e-5)
    np.testing.assert_allclose(states[1], hidden_states(wide, config, prompts[1:2, 2:], mask[1:2, 2:], tokens[1:2])[0], atol=1e-13)


def test_sizes_that_do_not_fit(params):
    prompts, mask, tokens = batch()
    with pytest.raises(ValueError, match=r"6 \+ 27 tokens.*context \(32\)"):
        models.hidden_states(params, CONFIG, prompts, mask, np.zeros((4, 27), int))
    with pytest.raises(ValueError, match="no column"):
        models.hidden_states(params, CONFIG, prompts[:, :0], mask[:, :0], tokens)
    with pytest.raises(ValueError, match=r"rows is 6.*multiple.*\(4\)"):
        models.prefill(params, CONFIG, jnp.asarray(prompts), jnp.asarray(mask), 6, T)
