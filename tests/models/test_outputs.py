import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import models

CONFIG = models.llama3(vocab_size=37, hidden=16, layers=2, heads=2, kv_heads=1, mlp=24, context=64, unroll=0)
B, S, T = 4, 3, 10
RANDOM = np.random.default_rng(0)
PROMPTS, TOKENS = RANDOM.integers(2, 37, (B, S)), RANDOM.integers(2, 37, (B, T))
MASK = np.arange(S) >= np.array([0, 2, 1, 0])[:, None]
TEMPERATURE = np.array([1.0, 0.5, 0.0, 2.0], np.float32)
WEIGHTS = RANDOM.normal(size=(B, T)).astype(np.float32)
NAMES = ("logprobs", "entropy", "log_partition", "margin")


def margin(hidden, logits, token, weight, row):
    """A head that uses everything that heads are given."""
    return jnp.max(logits, -1) * weight + token * jnp.mean(hidden, -1) + row


HEADS, FIELDS = {"margin": margin}, {"weight": WEIGHTS, "row": np.arange(B, dtype=np.float32)}


@pytest.fixture(scope="module")
def params():
    fresh = models.init(jax.random.key(0), CONFIG)
    return jax.tree.map(lambda x: 10.0 * x if x.ndim > 1 else x, fresh)  # spread logits


def outputs(params, config, chunk, names=NAMES, temperature=TEMPERATURE):
    return models.token_outputs(params, config, PROMPTS, MASK, TOKENS, temperature, names, HEADS, FIELDS, chunk)


compiled = jax.jit(outputs, static_argnums=(1, 2, 3))


@jax.jit
def states(params):
    return models.hidden_states(params, CONFIG, PROMPTS, MASK, TOKENS)


def by_hand(params):
    """The same in float64 numpy from the hidden states."""
    hidden = np.asarray(states(params), np.float64)
    temperature = np.where(TEMPERATURE > 0, TEMPERATURE, 1.0)[:, None, None]
    logits = hidden @ np.asarray(params["unembedding"], np.float64).T / temperature
    probabilities = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities /= probabilities.sum(-1, keepdims=True)
    return {
        "logprobs": np.log(np.take_along_axis(probabilities, TOKENS[..., None], -1)[..., 0]),
        "entropy": -np.sum(probabilities * np.log(probabilities), -1),
        "log_partition": np.log(np.sum(np.exp(logits), -1)),
        "margin": logits.max(-1) * WEIGHTS + TOKENS * hidden.mean(-1) + np.arange(B)[:, None],
    }


@pytest.mark.parametrize("chunk", [None, 12, 3])  # all at once; pieces of 3 of 10 positions; parts of the rows, one position each
def test_outputs_by_hand(params, chunk):
    out = compiled(params, CONFIG, chunk)
    assert set(out) == set(NAMES)
    for name, expected in by_hand(params).items():
        assert out[name].shape == (B, T) and out[name].dtype == jnp.float32
        np.testing.assert_allclose(out[name], expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_chunks_change_no_gradient(params):
    def loss(params, chunk):
        out = outputs(params, CONFIG, chunk)
        return sum(jnp.sum(jnp.sin(out[name]) * WEIGHTS) for name in NAMES)

    gradients = [jax.jit(jax.grad(loss), static_argnums=1)(params, chunk) for chunk in (None, 12)]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), *gradients)
    assert all(float(jnp.abs(leaf).max()) > 1e-3 for leaf in jax.tree.leaves(gradients[0]))


def every_size(jaxpr):
    """Elements of every array of a program and of the programs inside it."""
    for eqn in jaxpr.eqns:
        yield from (var.aval.size for var in eqn.outvars if hasattr(var.aval, "size"))
        for inner in jax.tree.leaves(eqn.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from every_size(inner)


def largest(rows, length, vocabulary, chunk=None):
    """Elements of the largest array of value and gradient."""
    config = dataclasses.replace(CONFIG, vocab_size=vocabulary, context=2 * length)
    shapes = jax.eval_shape(lambda: models.init(jax.random.key(0), config))
    ints = [jax.ShapeDtypeStruct((rows, columns), jnp.int32) for columns in (S, S, length)]

    def loss(params, prompts, mask, tokens):
        out = models.token_outputs(params, config, prompts, mask, tokens, 1.0, ("logprobs", "entropy"), chunk=chunk)
        return jnp.sum(out["logprobs"] + out["entropy"])

    return max(every_size(jax.make_jaxpr(jax.value_and_grad(loss))(shapes, *ints).jaxpr))


def test_logits_of_a_batch_never_exist():
    rows, length, vocabulary = 16, 64, 50_000
    assert largest(rows, length, vocabulary, chunk=rows * length) >= rows * length * vocabulary  # the check sees them where they are
    assert largest(rows, length, vocabulary) <= 128 * vocabulary  # 2^21 / V is below the smallest chunk
    assert largest(rows, length, 4096) <= 2**21  # 512 positions at a time
    assert largest(rows, length, vocabulary, chunk=5) <= 5 * vocabulary + vocabulary * 16  # fewer than rows: some of the rows at a time


def test_one_chunk_has_no_loop(params):
    scans = str(jax.make_jaxpr(lambda p: outputs(p, CONFIG, None))(params)).count("scan[")
    assert scans == 1  # over the layers
    assert str(jax.make_jaxpr(lambda p: outputs(p, CONFIG, 12))(params)).count("scan[") == 2


def test_values(params):
    config = dataclasses.replace(CONFIG, output="scalar")
    critic = {name: leaf for name, leaf in params.items() if name != "unembedding"} | {"value": jnp.arange(16.0)}
    out = compiled(critic, config, None, ("values",))
    hidden = states(params)
    np.testing.assert_allclose(out["values"], np.asarray(hidden) @ np.arange(16.0), rtol=1e-5)


def test_half_precision_gives_float32(params):
    out = compiled(params, dataclasses.replace(CONFIG, dtype="bfloat16"), 12)
    assert {value.dtype for value in out.values()} == {jnp.dtype(jnp.float32)}
    assert all(np.isfinite(value).all() for value in out.values())


def test_errors(params):
    call = partial(models.token_outputs, params, CONFIG, PROMPTS, MASK, TOKENS, 1.0)
    with pytest.raises(ValueError, match="'logprob' is not among.*logprobs, entropy, log_partition"):
        call(("logprob",))
    with pytest.raises(ValueError, match="'values' is not among.*'tokens'"):
        call(("values",))
    with pytest.raises(ValueError, match="a head is named 'entropy'"):
        call(("entropy",), {"entropy": margin})
    with pytest.raises(ValueError, match="chunk is 0"):
        call(("entropy",), chunk=0)
