"""Adapters beside kernels: what they compute, where they stand, and how they leave the tree again."""

import dataclasses
import zlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import models
from pojax.models import lora
from pojax.models.targets import LoRA, chosen
from pojax.sampling import sample
from pojax.sharding import make_layout

SIZES = dict(vocab_size=31, hidden=16, layers=3, heads=4, kv_heads=2, head_dim=6, mlp=24, context=32)
BASE = models.qwen2(**SIZES, windows=(3, None))  # three layers of a period of two: the last one stands apart
SOME = ("q_proj", "v_proj", "gate_proj", "o_proj", "down_proj")


def with_lora(config=BASE, **options):
    return dataclasses.replace(config, lora=LoRA(**{"rank": 3, "alpha": 5.0, **options}))


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def shapes(config):
    return jax.eval_shape(lambda: models.init(jax.random.key(0), config))


def filled(config):
    """Parameters from numpy, none of them zero, the same whatever stands beside them."""

    def draw(path, leaf):
        random = np.random.default_rng(zlib.crc32(jax.tree_util.keystr(path).encode()))
        return jnp.asarray((path[-1].key == "scale") + 0.2 * random.standard_normal(leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes(config))


def merged_of(params, config):
    return jax.jit(lambda tree: lora.merge(tree, config)[0])(params), lora.merge(params, config)[1]


def batch():
    random = np.random.default_rng(5)
    mask = np.arange(6) >= np.array([0, 2, 5])[:, None]
    return random.integers(2, 31, (3, 6)), mask, random.integers(2, 31, (3, 5))


@partial(jax.jit, static_argnums=1)
def logits(params, config):
    hidden = models.hidden_states(params, config, *batch())
    return jnp.einsum("btd,vd->btv", hidden, models.unembedding(params, config))


@partial(jax.jit, static_argnums=1)
def logprobs(params, config, *rows):
    return models.token_outputs(params, config, *rows, 0.9, ("logprobs",))["logprobs"]


def by_hand(params, config, scale):
    """Kernels W + scale * A B in float64, one layer and one product at a time."""
    tree = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    order = {"k_proj": 0, "v_proj": 1, "gate_proj": 0, "up_proj": 1}
    pairs = {"key_value": ("k_proj", "v_proj"), "gate_up": ("gate_proj", "up_proj")}
    targets = (*pairs["key_value"], *pairs["gate_up"]) if config.lora.targets == "all-linear" else config.lora.targets
    for segment in ("blocks", "rest"):
        for layer in tree[segment].values():
            for name, linear in layer.items():
                if "lora_a" not in linear:
                    continue
                a, b, kernel = linear.pop("lora_a"), linear.pop("lora_b"), linear["kernel"]
                for i in range(len(kernel)):
                    if name in pairs:
                        here = [order[target] for target in pairs[name] if target in targets]
                        for k, half in enumerate(here):
                            kernel[i, :, half] += scale * np.tensordot(a[i, :, k], b[i, k], 1)
                    else:
                        kernel[i] += scale * np.tensordot(a[i], b[i], 1)
    return jax.tree.map(jnp.float32, tree)


# -- what adapters compute --------------------------------------------------------------------------------------------------------


def test_fresh_adapters_change_no_bit():
    config = with_lora(targets=SOME)
    params, base = models.init(jax.random.key(1), config), models.init(jax.random.key(1), BASE)
    jax.tree.map(np.testing.assert_array_equal, lora.off(params), base)
    np.testing.assert_array_equal(logits(params, config), logits(base, BASE))
    assert not any(leaf.any() for leaf in jax.tree.leaves(lora.split(params, ("lora_b",))[1]))


def test_the_first_a_is_uniform_and_another_in_every_place():
    config = with_lora(
        dataclasses.replace(BASE, hidden=64, mlp=400), rank=50, targets=("q_proj", "o_proj", "k_proj", "v_proj", "down_proj")
    )
    base = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes(dataclasses.replace(config, lora=None)))
    params = jax.jit(lambda key: lora.split(lora.add(base, config, key))[1])(jax.random.key(1))
    layer = params["blocks"]["layer_0"]
    for name, inputs in (("query", 64), ("out", 24), ("down", 400)):
        a = np.asarray(layer[name]["lora_a"]) * inputs**0.5
        assert 0.98 < a.max() <= 1 and -1 <= a.min() < -0.98
        assert a.std() == pytest.approx(3**-0.5, abs=0.02)
    pair = np.asarray(layer["key_value"]["lora_a"])
    other = np.asarray(params["rest"]["layer_0"]["query"]["lora_a"])
    assert abs(np.corrcoef(pair[:, :, 0].ravel(), pair[:, :, 1].ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(other.ravel(), np.asarray(layer["query"]["lora_a"]).ravel())[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("options", "scale"), [({}, 5 / 3), (dict(targets=SOME, rs=True), 5 / 3**0.5), (dict(targets=("k_proj", "up_proj")), 5 / 3)]
)
def test_the_definition(options, scale):
    """Logits with adapters, merged, and of kernels that were added up by hand are the same."""
    config = with_lora(**options)
    params = filled(config)
    expected = logits(by_hand(params, config, scale), BASE)
    assert np.abs(np.asarray(expected - logits(filled(BASE), BASE))).max() > 0.05
    np.testing.assert_allclose(logits(params, config), expected, atol=2e-5)
    merged, without = merged_of(params, config)
    assert without == BASE and jax.tree.structure(merged) == jax.tree.structure(shapes(BASE))
    np.testing.assert_allclose(logits(merged, without), expected, atol=1e-5)


@pytest.mark.parametrize("changes", [dict(unroll=0), dict(remat=True)])
def test_scanned_and_recomputed_layers(changes):
    config = with_lora()
    params = filled(config)
    np.testing.assert_allclose(logits(params, dataclasses.replace(config, **changes)), logits(params, config), atol=1e-5)


def test_the_sampler_sees_them():
    config = with_lora(dataclasses.replace(BASE, unroll=0))  # unrolled layers: tests/learners/test_lora.py
    params = filled(config)
    prompts, mask, _ = batch()
    keys = jax.random.split(jax.random.key(0), 6)
    drawn = sample(params, config, keys, prompts, mask, response_tokens=7, temperature=0.9, end_tokens=(1,))
    rows = [np.repeat(x, 2, axis=0) for x in (prompts, mask)]
    for tree, same in ((params, True), (lora.off(params), False)):
        given = logprobs(tree, config, *rows, drawn.tokens)
        distance = np.abs(np.where(drawn.mask, np.asarray(drawn.old_logprobs) - np.asarray(given), 0)).max()
        assert (distance < 2e-5) if same else (distance > 0.05)


def test_half_precision():
    config = with_lora(dataclasses.replace(BASE, dtype="bfloat16", param_dtype="bfloat16"))
    params = filled(config)
    assert {x.dtype for x in jax.tree.leaves(lora.split(params)[1])} == {jnp.dtype("float32")}
    assert {x.dtype for x in jax.tree.leaves(lora.off(params))} == {jnp.dtype(jnp.bfloat16)}
    merged, without = merged_of(params, config)
    assert {x.dtype for x in jax.tree.leaves(merged)} == {jnp.dtype(jnp.bfloat16)}
    found, expected = (np.asarray(logits(*each), np.float32) for each in ((params, config), (merged, without)))
    assert logits(params, config).dtype == jnp.bfloat16
    assert np.linalg.norm(found - expected) < 0.03 * np.linalg.norm(expected)
    assert {x.dtype for x in jax.tree.leaves(lora.split(shapes(with_lora(dtype="bfloat16")))[1])} == {jnp.dtype(jnp.bfloat16)}


# -- the tree ---------------------------------------------------------------------------------------------------------------------


def test_split_join_off_and_trainable():
    config = with_lora(targets=("q_proj",))
    params = filled(config)
    base, part = lora.split(params)
    assert {path[-1].key for path, _ in jax.tree_util.tree_leaves_with_path(part)} == {"lora_a", "lora_b"}
    assert sum(x.size for x in jax.tree.leaves(part)) == 3 * 3 * (16 + 4 * 6)  # layers, rank, inputs + outputs
    jax.tree.map(np.testing.assert_array_equal, lora.join(base, part), params)
    other = jax.tree.map(lambda x: x + 1, part)
    jax.tree.map(np.testing.assert_array_equal, lora.split(lora.join(params, other))[1], other)
    assert jax.tree.structure(lora.trainable(params)) == jax.tree.structure(part)
    assert lora.trainable(base) is base and jax.tree.structure(lora.join(params, params)) == jax.tree.structure(params)
    value = shapes(dataclasses.replace(config, output="scalar"))
    assert set(lora.trainable(value)) == {"blocks", "rest", "value"}


def test_what_add_and_merge_refuse():
    config = with_lora()
    params = filled(config)
    assert jax.eval_shape(lambda: lora.add(filled(BASE), config, jax.random.key(0))) == shapes(config)
    with pytest.raises(ValueError, match="parameters hold adapters"):
        lora.add(params, config, jax.random.key(0))
    with pytest.raises(ValueError, match="model.lora is None"):
        lora.add(params, BASE, jax.random.key(0))
    for tree, shape in ((params, BASE), (lora.off(params), config)):
        with pytest.raises(ValueError, match="lora.merge: model.lora is"):
            lora.merge(tree, shape)
    with pytest.raises(ValueError, match="params hold adapters of key_value, which model.lora = None does not have"):
        logits(params, BASE)


def test_adapters_are_sharded_as_their_kernels():
    config = with_lora(dataclasses.replace(BASE, hidden=32, mlp=48))
    layout = make_layout(dict(data=2, fsdp=2, tensor=2), jax.devices()[:8])
    layer = jax.tree.map(lambda s: tuple(s.spec), layout.params(models.logical_axes(config), shapes(config)))["blocks"]["layer_1"]
    fsdp, tensor = "fsdp", "tensor"
    assert layer["query"]["lora_a"] == (None, fsdp, None) and layer["query"]["lora_b"] == (None, None, tensor, None)
    assert layer["key_value"]["lora_a"] == (None, fsdp, None, None) and layer["key_value"]["lora_b"] == (None, None, None, tensor, None)
    assert layer["out"]["lora_a"] == (None, tensor, None, None) and layer["out"]["lora_b"] == (None, None, fsdp)
    assert layer["down"]["lora_a"] == (None, tensor, None) and layer["gate_up"]["lora_b"] == (None, None, None, tensor)


# -- targets ----------------------------------------------------------------------------------------------------------------------

EVERY = {"query": (0,), "key_value": (0, 1), "out": (0,), "gate_up": (0, 1), "down": (0,)}
ATTENTION = {name: EVERY[name] for name in ("query", "key_value", "out")}


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("all-linear", EVERY),
        (["q_proj", "v_proj"], {"query": (0,), "key_value": (1,)}),
        (("mlp.up_proj", "self_attn.k_proj"), {"key_value": (0,), "gate_up": (1,)}),
        ("[qv]_proj", {"query": (0,), "key_value": (1,)}),
        (r"self_attn\..*", ATTENTION),
        (r"model\.layers\.\d+\.self_attn\.(q|k|v|o)_proj", ATTENTION),
        (r".*\.mlp\..*", {"gate_up": (0, 1), "down": (0,)}),
    ],
)
def test_targets(targets, expected):
    assert chosen(LoRA(targets=targets), 3) == expected
    assert set(lora.split(shapes(with_lora(targets=targets)))[1]["blocks"]["layer_0"]) == set(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(rank=0), "model.lora.rank is 0, allowed: an integer above 0"),
        (dict(alpha=-1), "model.lora.alpha is -1, allowed: a number above 0"),
        (dict(rs=1), "model.lora.rs is 1, allowed: True or False"),
        (dict(dtype="int32"), "model.lora.dtype is 'int32', allowed: a floating-point type"),
        (dict(targets="["), "model.lora.targets is .*, allowed: a regular expression"),
        (dict(targets=None), "model.lora.targets is None, allowed: 'all-linear'"),
        (dict(targets=("q_proj", "lm_head")), "no linear map of a layer is named 'lm_head', allowed: q_proj, k_proj"),
        (dict(targets="query"), "'query' chooses no linear map"),
        (dict(targets=r"model\.layers\.[02]\..*"), r"chooses self_attn.q_proj in layers \[0, 2\] of 3, allowed: in all or in none"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(BASE, lora=options)


def test_options_as_a_dict():
    config = dataclasses.replace(BASE, lora=dict(rank=4, alpha=8, targets=["q_proj"], rs=True))
    assert config.lora == LoRA(4, 8, ("q_proj",), True) and config.lora.scale == 4.0 and LoRA(4, 8).scale == 2.0
    with pytest.raises(ValueError, match="model.lora is 3, allowed: None, a LoRA or a dict"):
        dataclasses.replace(BASE, lora=3)
