"""What a learner asks of a policy for each response token, without ever holding the logits of a whole batch."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.models.config import DecoderConfig
from pojax.models.decoder import Decoder, Params, check_lengths, hidden_states, logits_of, unembedding

TOKEN_OUTPUTS = ("logprobs", "entropy", "log_partition")
CHUNK_ELEMENTS = 2**21  # logits of one chunk: 8 MB in float32
SMALLEST_CHUNK = 128  # positions; below this the product with the unembedding table is bound by reading the table


def token_outputs(
    params: Params,
    config: DecoderConfig,
    prompt_tokens: Int[ArrayLike, "B S"],
    prompt_mask: Shaped[ArrayLike, "B S"],
    tokens: Int[ArrayLike, "B T"],
    temperature: Float[ArrayLike, "..."] | int,
    names: tuple[str, ...],
    heads: Mapping[str, Callable] | None = None,
    fields: Mapping[str, Any] | None = None,
    chunk: int | None = None,
) -> dict[str, Float[Array, "B T"]]:
    """The named outputs for every response token -> {name: [B, T]}, at least float32, differentiable in params.

    With l = logits / temperature (a number or [B]; 0, a greedy row, counts as 1) and a the token:
    logprobs l_a - logsumexp(l); log_partition logsumexp(l); entropy -sum softmax(l) log softmax(l), in nats;
    values (config.output "scalar"): value of the state before the token. Any other name is a head of `heads`:
    head(hidden [n, hidden], logits [n, V] = l, token [n], **fields each [n]) -> [n]; fields are [B] or [B, T].
    Logits exist for `chunk` positions at a time (default: 2^21 logits, at least 128 positions), recomputed in the backward pass.
    Raises ValueError for unknown names, for names that the model cannot give, and for chunk < 1.
    """
    heads, fields = heads or {}, fields or {}
    _check(config, names, heads, chunk)
    hidden = hidden_states(params, config, prompt_tokens, prompt_mask, tokens)
    rows, length = jnp.shape(tokens)
    outputs = {}
    if "values" in names:
        outputs["values"] = _values(params, config, hidden)
    wanted = tuple(name for name in names if name != "values")
    if wanted:
        temperature = jnp.broadcast_to(jnp.asarray(temperature, jnp.promote_types(config.dtype, jnp.float32)), (rows,))
        temperature = jnp.where(temperature > 0, temperature, 1.0)
        spread = {name: _spread(value, (rows, length)) for name, value in {"temperature": temperature, **fields}.items()}
        data = {"hidden": hidden, "token": jnp.asarray(tokens), **spread}
        chunk = chunk or max(CHUNK_ELEMENTS // config.vocab_size, SMALLEST_CHUNK)
        table = unembedding(params, config)
        outputs |= _by_chunks(lambda piece: _of_positions(table, config, wanted, heads, **piece), data, chunk)
    return {name: outputs[name] for name in names}


@partial(jax.jit, static_argnums=1)
def score(params: Params, config: DecoderConfig, tokens: Int[ArrayLike, "B T"], mask: Shaped[ArrayLike, "B T"]) -> Float[Array, "B"]:
    """The number that a model with output "scalar" gives at the last real token of each row, padded on either side: a reward model's score.

    Raises ValueError for a model that gives logits, and for rows longer than config.context.
    """
    if config.output != "scalar":
        raise ValueError(f"model.output is {config.output!r}, allowed for scores: 'scalar'")
    mask = jnp.asarray(mask, bool)
    check_lengths(config, mask.shape[1], 0)
    hidden, _ = Decoder(config).apply({"params": params}, jnp.asarray(tokens), mask)
    last = jnp.max(jnp.where(mask, jnp.arange(mask.shape[1]), 0), axis=1)
    return _values(params, config, jnp.take_along_axis(hidden, last[:, None, None], axis=1))[:, 0]


def _values(params: Params, config: DecoderConfig, hidden: Float[Array, "B T hidden"]) -> Float[Array, "B T"]:
    value = params["value"].astype(jnp.promote_types(config.dtype, jnp.float32))
    return jnp.einsum("btd,d->bt", hidden.astype(value.dtype), value)


def _check(config: DecoderConfig, names: tuple[str, ...], heads: Mapping[str, Callable], chunk: int | None) -> None:
    known = ("values",) if config.output == "scalar" else (*TOKEN_OUTPUTS, *heads)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"outputs: {unknown[0]!r} is not among what a model with output {config.output!r} gives: {', '.join(known)}")
    clash = sorted(set(heads) & {*TOKEN_OUTPUTS, "values"})
    if clash:
        raise ValueError(f"outputs: a head is named {clash[0]!r}, which the model gives itself; allowed: any other name")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk is {chunk}, allowed: None or at least 1 position")


def _spread(value: ArrayLike, shape: tuple[int, int]) -> Array:
    """[B] or [B, T] -> [B, T]."""
    value = jnp.asarray(value)
    return jnp.broadcast_to(value[:, None] if value.ndim == 1 else value, shape)


def _of_positions(
    table: Array, config: DecoderConfig, names: tuple, heads: Mapping, hidden: Array, token: Array, temperature: Array, **fields: Array
) -> dict:
    """Outputs of n positions; hidden [n, hidden], everything else [n]."""
    logits = logits_of(table, hidden, config) / temperature[:, None]
    log_partition = jax.nn.logsumexp(logits, axis=-1)
    outputs = {"log_partition": log_partition}
    if "logprobs" in names:
        outputs["logprobs"] = token_logit(logits, token) - log_partition
    if "entropy" in names:
        outputs["entropy"] = entropy_of(logits, log_partition)
    for name in names:
        if name in heads:
            outputs[name] = heads[name](hidden, logits, token, **fields)
    return {name: outputs[name] for name in names}


def token_logit(logits: Float[Array, "n V"], token: Int[Array, "n"]) -> Float[Array, "n"]:
    """The token's entry of each row, by comparison: unlike a gather it stays local when V is sharded and has no scatter as its gradient."""
    return jnp.sum(jnp.where(jnp.arange(logits.shape[-1]) == token[:, None], logits, 0.0), axis=-1)


def entropy_of(logits: Float[Array, "n V"], log_partition: Float[Array, "n"]) -> Float[Array, "n"]:
    """-sum p log p of softmax(logits), in nats."""
    logprobs = logits - log_partition[:, None]
    return -jnp.sum(jnp.exp(logprobs) * logprobs, axis=-1)


def _by_chunks(function: Callable, data: dict[str, Array], chunk: int) -> dict[str, Array]:
    """function over positions, at most `chunk` at a time: data {name: [B, T, ...]} -> {name: [B, T]}.

    A chunk takes some positions of rows that are spread over the whole batch, so every device of a sharded batch has its share of each.
    """
    rows, length = data["token"].shape
    if rows * length <= chunk:
        flat = function({name: value.reshape(rows * length, *value.shape[2:]) for name, value in data.items()})
        return {name: value.reshape(rows, length) for name, value in flat.items()}
    parts = next(parts for parts in range(1, rows + 1) if rows % parts == 0 and rows // parts <= chunk)
    pieces = math.ceil(length / (chunk // (rows // parts)))
    width = math.ceil(length / pieces)
    pieces = math.ceil(length / width)
    padding = pieces * width - length

    def split(value):
        value = jnp.pad(value, ((0, 0), (0, padding)) + ((0, 0),) * (value.ndim - 2), mode="edge")
        value = value.reshape(rows // parts, parts, pieces, width, *value.shape[2:])
        return jnp.moveaxis(value, 0, 2).reshape(parts * pieces, rows // parts * width, *value.shape[4:])

    def join(value):
        value = jnp.moveaxis(value.reshape(parts, pieces, rows // parts, width), 2, 0)
        return value.reshape(rows, pieces * width)[:, :length]

    mapped = jax.lax.map(jax.checkpoint(function, prevent_cse=False), {name: split(value) for name, value in data.items()})
    return {name: join(value) for name, value in mapped.items()}
