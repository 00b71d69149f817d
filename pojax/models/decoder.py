"""The decoder transformer: one block, stacked and scanned over the layers, for the learner, the prefill and the decode step alike."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key, Shaped

from pojax.models import attention
from pojax.models.config import DecoderConfig
from pojax.models.rope import rotate, rotations

Params = dict[str, Any]
INIT_STDDEV = 0.02


class Cache(NamedTuple):
    """Keys and values of P prompts, read by the n = P * G rows that continue them (row r belongs to prompt r // G), and of those rows.

    Layers are stacked in front: [layers / period, ...] for each layer of the period.
    """

    prompt_mask: Array  # [P, S] bool
    prompt: tuple[tuple[Array, Array], ...]  # per layer of the period: keys and values [L, P, S, K, H]
    rows: tuple[tuple[Array, Array], ...]  # per layer of the period: keys and values [L, n, K, T, H]


def _normal(config: DecoderConfig, axes: tuple, residual: bool = False):
    # What is added to the residual stream is scaled so that its variance does not grow with depth (GPT-2).
    stddev = INIT_STDDEV / (2 * config.layers) ** 0.5 if residual else INIT_STDDEV
    return nn.with_logical_partitioning(nn.initializers.normal(stddev), axes)


class Linear(nn.Module):
    """Contraction of the last `len(shape) - outputs` axes; parameters in param_dtype, product in dtype."""

    config: DecoderConfig
    equation: str
    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    bias: int = 0  # number of trailing axes of the kernel that a bias covers
    residual: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        dtype = self.config.dtype
        kernel = self.param("kernel", _normal(self.config, self.axes, self.residual), self.shape, self.config.param_dtype)
        y = jnp.einsum(self.equation, x, kernel.astype(dtype))
        if self.bias:
            zeros = nn.with_logical_partitioning(nn.initializers.zeros, self.axes[-self.bias :])
            y += self.param("bias", zeros, self.shape[-self.bias :], self.config.param_dtype).astype(dtype)
        return y


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) * scale, the mean in at least float32."""

    config: DecoderConfig

    @nn.compact
    def __call__(self, x: Array) -> Array:
        ones = nn.with_logical_partitioning(nn.initializers.ones, (None,))
        scale = self.param("scale", ones, (self.config.hidden,), self.config.param_dtype)
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        normed = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + self.config.norm_epsilon)
        return normed.astype(self.config.dtype) * scale.astype(self.config.dtype)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)). `attend(query, key, value) -> (context, rest)` is all that its callers differ in."""

    config: DecoderConfig

    @nn.compact
    def __call__(self, x: Array, rotation: tuple, attend: Any) -> tuple[Array, Any]:
        c = self.config
        normed = RMSNorm(c, name="attention_norm")(x)
        bias = 2 if c.qkv_bias else 0
        kv_shape, kv_axes = (c.hidden, c.kv_heads, c.head_dim), ("embed", "kv_heads", "head_dim")
        query = Linear(c, "btd,dnh->btnh", (c.hidden, c.heads, c.head_dim), ("embed", "heads", "head_dim"), bias, name="query")(normed)
        key = Linear(c, "btd,dnh->btnh", kv_shape, kv_axes, bias, name="key")(normed)
        value = Linear(c, "btd,dnh->btnh", kv_shape, kv_axes, bias, name="value")(normed)
        query, key = rotate(query, rotation), rotate(key, rotation)
        grouped = query.reshape(*query.shape[:2], c.kv_heads, c.heads // c.kv_heads, c.head_dim)
        context, rest = attend(grouped, key, value)
        context = context.reshape(query.shape)
        out_shape, out_axes = (c.heads, c.head_dim, c.hidden), ("heads", "head_dim", "embed")
        x += Linear(c, "btnh,nhd->btd", out_shape, out_axes, residual=True, name="out")(context)
        normed = RMSNorm(c, name="mlp_norm")(x)
        gate = Linear(c, "btd,df->btf", (c.hidden, c.mlp), ("embed", "mlp"), name="gate")(normed)
        up = Linear(c, "btd,df->btf", (c.hidden, c.mlp), ("embed", "mlp"), name="up")(normed)
        x += Linear(c, "btf,fd->btd", (c.mlp, c.hidden), ("mlp", "embed"), residual=True, name="down")(nn.silu(gate) * up)
        return x, rest


class Period(nn.Module):
    """The layers after which the architecture repeats, over whole sequences; also gives their keys and values."""

    config: DecoderConfig
    keep: bool  # give keys and values

    @nn.compact
    def __call__(self, x: Array, _: None, rotation: tuple, mask: Array) -> tuple[Array, tuple | None]:
        kept = []
        for j, window in enumerate(self.config.windows):
            seen = attention.visible(mask, window)

            def attend(query, key, value, seen=seen):
                return attention.attend(query, key, value, seen), (key, value)

            x, key_value = Block(self.config, name=f"layer_{j}")(x, rotation, attend)
            kept.append(key_value)
        return x, tuple(kept) if self.keep else None


class CachedPeriod(nn.Module):
    """The same layers for one new token per row, over a cache that is carried and written in place."""

    config: DecoderConfig

    @nn.compact
    def __call__(self, carry: tuple, prompt: tuple, rotation: tuple, prompt_mask: Array, slots: Array) -> tuple[tuple, None]:
        x, rows, period = carry
        rows = list(rows)
        index = jnp.arange(x.shape[0])
        for j, window in enumerate(self.config.windows):

            def attend(query, key, value, j=j, window=window):
                new = [old.at[period, index, :, slots].set(item[:, 0]) for old, item in zip(rows[j], (key, value), strict=True)]
                own = tuple(jax.lax.dynamic_index_in_dim(item, period, keepdims=False) for item in new)
                return attention.attend_cached(query[:, 0], prompt[j], prompt_mask, own, slots, window)[:, None], tuple(new)

            x, rows[j] = Block(self.config, name=f"layer_{j}")(x, rotation, attend)
        return (x, tuple(rows), period + 1), None


class Decoder(nn.Module):
    """Tokens to final hidden states. The unembedding belongs to it but is applied in pieces, by `token_outputs`."""

    config: DecoderConfig

    @nn.compact
    def __call__(self, tokens: Array, positions: Array, mask: Array, keep: bool = False, cache: Cache | None = None, slots: Any = None) -> tuple:
        """Hidden states [B, T, hidden], and keys and values (of the tokens where keep; the rows' written cache where one is given)."""
        c = self.config
        # The feature axis of the tables has no name: sharded like the batch it would make XLA rematerialise the whole lookup.
        table = self.param("embedding", _normal(c, ("vocab", None)), (c.vocab_size, c.hidden), c.param_dtype)
        if c.output == "scalar":
            zeros = nn.with_logical_partitioning(nn.initializers.zeros, (None,))
            self.param("value", zeros, (c.hidden,), c.param_dtype)
        elif not c.tie_embeddings:
            self.param("unembedding", _normal(c, ("vocab", None)), (c.vocab_size, c.hidden), c.param_dtype)
        x = table[tokens].astype(c.dtype)
        rotation = rotations(positions, c)
        if cache is None:
            x, rest = self._stack(Period, 2, 0)(c, keep, name="blocks")(x, None, rotation, mask)
        else:
            scanned = self._stack(CachedPeriod, 3, 0)(c, name="blocks")
            start = (x, cache.rows, jnp.zeros((), jnp.int32))
            (x, rest, _), _ = scanned(start, cache.prompt, rotation, cache.prompt_mask, slots)
        return RMSNorm(c, name="norm")(x), rest

    def _stack(self, layer: Any, shared: int, stacked: int) -> Any:
        c = self.config
        return nn.scan(
            nn.remat(layer, prevent_cse=False) if c.remat and layer is Period else layer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(stacked,) + (nn.broadcast,) * shared,
            length=c.layers // c.period,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )


def init(key: Key[Array, ""], config: DecoderConfig) -> Params:
    """Fresh parameters, N(0, 0.02^2) with what enters the residual stream divided by sqrt(2 layers); norms 1, biases and the value head 0.

    A plain nested dict of arrays in config.param_dtype, the layers of every kernel stacked in front.
    """
    return nn.meta.unbox(_boxed(key, config))


def logical_axes(config: DecoderConfig) -> Params:
    """The tree of `init` with a tuple of logical axis names in place of each array (None: never sharded)."""
    boxed = jax.eval_shape(lambda: _boxed(jax.random.key(0), config))
    return jax.tree.map(lambda box: tuple(box.names), boxed, is_leaf=lambda x: isinstance(x, nn.meta.AxisMetadata))


def _boxed(key: Array, config: DecoderConfig) -> Params:
    one = jnp.zeros((1, 1), jnp.int32)
    return Decoder(config).init(key, one, one, one == 0)["params"]


def hidden_states(
    params: Params,
    config: DecoderConfig,
    prompt_tokens: Int[ArrayLike, "B S"],
    prompt_mask: Shaped[ArrayLike, "B S"],
    tokens: Int[ArrayLike, "B T"],
) -> Float[Array, "B T hidden"]:
    """Final hidden states at the positions that predict each response token: indices S-1 ... S+T-2 of prompt and response together.

    Prompts are padded on the left, and padding changes nothing: positions count real tokens. Responses are padded on the right, where
    causality hides padding. A prompt without a token gives finite states. Raises ValueError for S < 1 and for S + T above config.context.
    """
    prompt_tokens, prompt_mask, tokens = jnp.asarray(prompt_tokens), jnp.asarray(prompt_mask, bool), jnp.asarray(tokens)
    length, new = prompt_tokens.shape[1], tokens.shape[1]
    check_lengths(config, length, new)
    mask = jnp.concatenate([prompt_mask, jnp.ones_like(tokens[:, :-1], bool)], axis=1)
    together = jnp.concatenate([prompt_tokens, tokens[:, :-1]], axis=1)
    hidden, _ = Decoder(config).apply({"params": params}, together, positions_of(mask), mask)
    return hidden[:, length - 1 :]


def prefill(
    params: Params, config: DecoderConfig, prompt_tokens: Int[Array, "P S"], prompt_mask: Shaped[Array, "P S"], rows: int, response_tokens: int
) -> tuple[Float[Array, "P hidden"], Cache]:
    """Hidden states that predict the first response token, and a cache for `rows` rows of `response_tokens` new tokens.

    Raises ValueError where rows is no multiple of P, and as `hidden_states` does.
    """
    prompts, length = prompt_tokens.shape
    check_lengths(config, length, response_tokens)
    if rows % prompts:
        raise ValueError(f"rows is {rows}, allowed: a multiple of the number of prompts ({prompts})")
    mask = jnp.asarray(prompt_mask, bool)
    hidden, kept = Decoder(config).apply({"params": params}, prompt_tokens, positions_of(mask), mask, keep=True)
    prompt = jax.tree.map(lambda x: jnp.moveaxis(x, 2, 3), kept)  # [L, P, S, K, H] -> [L, P, K, S, H]
    shape = (config.layers // config.period, rows, config.kv_heads, response_tokens, config.head_dim)
    return hidden[:, -1], Cache(mask, prompt, jax.tree.map(lambda _: jnp.zeros(shape, config.dtype), kept))


def decode_step(
    params: Params, config: DecoderConfig, cache: Cache, tokens: Int[Array, "n"], slots: Int[Array, "n"]
) -> tuple[Float[Array, "n hidden"], Cache]:
    """Feed token tokens[r] as response token number slots[r] of row r: the hidden state that predicts the next one, and the cache with it.

    A row sees its prompt and its slots up to slots[r], whatever later slots hold.
    """
    lengths = jnp.sum(cache.prompt_mask, axis=1, dtype=jnp.int32)
    positions = jnp.repeat(lengths, tokens.shape[0] // lengths.shape[0]) + slots
    hidden, rows = Decoder(config).apply({"params": params}, tokens[:, None], positions[:, None], None, cache=cache, slots=slots)
    return hidden[:, 0], cache._replace(rows=rows)


def positions_of(mask: Shaped[Array, "B T"]) -> Int[Array, "B T"]:
    """Number of real tokens before each token; 0 on padding at the left."""
    return jnp.maximum(jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1, 0)


def unembedding(params: Params, config: DecoderConfig) -> Float[Array, "V hidden"]:
    """The table that turns hidden states into logits, in the dtype of products."""
    return params["embedding" if config.tie_embeddings else "unembedding"].astype(config.dtype)


def logits_of(table: Float[Array, "V hidden"], hidden: Float[Array, "n hidden"]) -> Float[Array, "n V"]:
    """Logits in at least float32."""
    return jnp.einsum("nd,vd->nv", hidden, table, preferred_element_type=jnp.promote_types(table.dtype, jnp.float32))


def check_lengths(config: DecoderConfig, prompt_tokens: int, response_tokens: int) -> None:
    """ValueError unless the prompt holds a token and prompt and response fit into config.context."""
    if prompt_tokens < 1:
        raise ValueError("prompt_tokens has no column, allowed: at least one (padding will do)")
    if prompt_tokens + response_tokens > config.context:
        raise ValueError(f"prompt and response are {prompt_tokens} + {response_tokens} tokens, allowed: at most context ({config.context})")
