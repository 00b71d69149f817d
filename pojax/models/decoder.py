"""The decoder transformer: one block, stacked and scanned over the layers, for the learner, the prefill and the decode step alike."""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key, Shaped

from pojax.models import attention, lora
from pojax.models.config import DecoderConfig
from pojax.models.rope import rotate, rotation_of, rotations

Params = dict[str, Any]
INIT_STDDEV = 0.02


class Cache(NamedTuple):
    """Keys and values of P prompts, read by the n = P * G rows that continue them (row r belongs to prompt r // G), and of those rows.

    One pair per layer where the decode step is unrolled, else one per layer of each segment of the config, stacked over its repetitions.
    """

    prompt_mask: Array  # [P, S] bool
    prompt: tuple[tuple[Array, Array], ...]  # keys and values [P, K, S, H]
    rows: tuple[tuple[Array, Array], ...]  # keys [n, K, H, T] (products read them faster so) and values [n, K, T, H]


def _normal(config: DecoderConfig, axes: tuple, residual: bool = False):
    # What is added to the residual stream is scaled so that its variance does not grow with depth (GPT-2).
    stddev = INIT_STDDEV / (2 * config.layers) ** 0.5 if residual else INIT_STDDEV
    return nn.with_logical_partitioning(nn.initializers.normal(stddev), axes)


class Linear(nn.Module):
    """einsum(equation, x, kernel) + bias: kernel of the given shape and logical axes, kept in param_dtype, multiplied in dtype.

    Where adapters stand beside the kernel (see `lora`), their product is added.
    """

    config: DecoderConfig
    equation: str
    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    bias: int = 0  # number of trailing axes of the kernel that a bias covers
    residual: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        dtype = self.config.dtype
        kernel: Any = self.param("kernel", _normal(self.config, self.axes, self.residual), self.shape, self.config.param_dtype)
        y = jnp.einsum(self.equation, x, kernel.astype(dtype))
        if self.has_variable("params", "lora_a"):
            a, b = (jnp.asarray(self.get_variable("params", leaf)) for leaf in lora.LEAVES)
            y += lora.product(self.config, str(self.name), self.equation, x, a, b)
        if self.bias:
            zeros = nn.with_logical_partitioning(nn.initializers.zeros, self.axes[-self.bias :])
            bias: Any = self.param("bias", zeros, self.shape[-self.bias :], self.config.param_dtype)
            y += bias.astype(dtype)
        return y


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) * scale over the last axis (1 + scale where norm_offset), the mean in at least float32."""

    config: DecoderConfig

    @nn.compact
    def __call__(self, x: Array) -> Array:
        c = self.config
        neutral = nn.initializers.zeros if c.norm_offset else nn.initializers.ones
        scale: Any = self.param("scale", nn.with_logical_partitioning(neutral, (None,)), x.shape[-1:], c.param_dtype)
        scale = scale.astype(c.dtype)  # as `decode_params` has it
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        normed = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + c.norm_epsilon)
        if c.norm_offset:
            return (normed * (1.0 + scale.astype(normed.dtype))).astype(c.dtype)
        return normed.astype(c.dtype) * scale


def _unpair(x: Array) -> tuple[Array, Array]:
    """[B, T, 2, ...] -> two of [B, T, ...]. The gradient of a split is one concatenation, that of indexing two padded copies."""
    first, second = jax.lax.split(x, (1, 1), axis=2)
    return first.squeeze(2), second.squeeze(2)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), for the positions from `start` on; the earlier ones are only seen by them.

    With post_norms what is added is normed, too.
    `attend(query, key, value) -> (context, rest)` is all that the callers differ in: the learner, the prefill, the decode step.
    """

    config: DecoderConfig
    start: int = 0

    @nn.compact
    def __call__(self, x: Array, rotation: tuple, attend: Any) -> tuple[Array, Any]:
        c = self.config
        normed = RMSNorm(c, name="attention_norm")(x)
        bias = 2 if c.qkv_bias else 0
        # Two products of one input are one product: a narrow one alone does not keep a core busy in the decode step.
        shape, axes = (c.hidden, 2, c.kv_heads, c.head_dim), ("embed", None, "kv_heads", "head_dim")
        key, value = _unpair(Linear(c, "btd,dcnh->btcnh", shape, axes, bias and 3, name="key_value")(normed))
        key = rotate(RMSNorm(c, name="key_norm")(key) if c.qk_norm else key, rotation)
        x, normed, cosine, sine = (part[:, self.start :] for part in (x, normed, *rotation))
        query = Linear(c, "btd,dnh->btnh", (c.hidden, c.heads, c.head_dim), ("embed", "heads", "head_dim"), bias, name="query")(normed)
        query = rotate(RMSNorm(c, name="query_norm")(query) if c.qk_norm else query, (cosine, sine))
        grouped = query.reshape(*query.shape[:2], c.kv_heads, c.heads // c.kv_heads, c.head_dim)
        context, rest = attend(grouped, key, value)
        context = context.reshape(query.shape)
        out_shape, out_axes = (c.heads, c.head_dim, c.hidden), ("heads", "head_dim", "embed")
        out = Linear(c, "btnh,nhd->btd", out_shape, out_axes, residual=True, name="out")(context)
        x += RMSNorm(c, name="attention_post_norm")(out) if c.post_norms else out
        normed = RMSNorm(c, name="mlp_norm")(x)
        gate_up = Linear(c, "btd,dcf->btcf", (c.hidden, 2, c.mlp), ("embed", None, "mlp"), name="gate_up")
        gate, up = _unpair(gate_up(normed))
        gate = nn.silu(gate) if c.activation == "silu" else nn.gelu(gate, approximate=True)
        down = Linear(c, "btf,fd->btd", (c.mlp, c.hidden), ("mlp", "embed"), residual=True, name="down")(gate * up)
        x += RMSNorm(c, name="mlp_post_norm")(down) if c.post_norms else down
        return x, rest


class Period(nn.Module):
    """The layers of one repetition of a segment, over whole sequences; also gives their keys and values."""

    config: DecoderConfig
    windows: tuple[int | None, ...]
    keep: bool  # give keys and values
    start: int = 0  # the last layer gives the positions from here on

    @nn.compact
    def __call__(self, x: Array, rotation: tuple, mask: Array) -> tuple[Array, tuple | None]:
        kept = []
        c = self.config
        for j, window in enumerate(self.windows):
            start = self.start if j == len(self.windows) - 1 else 0
            seen = attention.visible(mask, window)[:, start:]

            def attend(query, key, value, seen=seen):
                return attention.attend(query, key, value, seen, c.attention_scalar**-0.5, c.attention_softcap), (key, value)

            x, key_value = Block(c, start, name=f"layer_{j}")(x, rotation_of(rotation, window), attend)
            kept.append(key_value)
        return x, tuple(kept) if self.keep else None


class Decoder(nn.Module):
    """Tokens to final hidden states. The unembedding belongs to it but is applied in pieces, by `token_outputs`."""

    config: DecoderConfig

    @nn.compact
    def __call__(self, tokens: Array, mask: Array, start: int = 0, keep: bool = False) -> tuple[Array, tuple | None]:
        """Hidden states [B, T - start, hidden] from position `start` on; where keep, keys and values [B, T, K, H] as `Cache` has them."""
        c = self.config
        # The feature axis of the tables has no name: sharded like the batch it would make XLA rematerialise the whole lookup.
        table = self.param("embedding", _normal(c, ("vocab", None)), (c.vocab_size, c.hidden), c.param_dtype)
        if c.output == "scalar":
            zeros = nn.with_logical_partitioning(nn.initializers.zeros, (None,))
            self.param("value", zeros, (c.hidden,), c.param_dtype)
        elif not c.tie_embeddings:
            self.param("unembedding", _normal(c, ("vocab", None)), (c.vocab_size, c.hidden), c.param_dtype)
        x, rotation = embed(table, tokens, c), rotations(positions_of(mask), tokens.shape[1], c)
        if unrolled(c) and not self.is_initializing():
            x, kept = self._unrolled(x, rotation, mask, start, keep)
        else:
            pieces: list[Any] = []
            for name, windows, repeats in c.segments:
                scanned = nn.scan(
                    nn.remat(Period, prevent_cse=False) if c.remat else Period,
                    variable_axes={"params": 0},
                    split_rngs={"params": True},
                    in_axes=(nn.broadcast,) * 2,
                    length=repeats,
                    metadata_params={nn.PARTITION_NAME: "layers"},
                )
                x, key_values = scanned(c, windows, keep, name=name)(x, rotation, mask)
                pieces.extend(key_values or ())
            x, kept = x[:, start:], tuple(pieces) if keep else None
        return RMSNorm(c, name="norm")(x), kept

    def _unrolled(self, x: Array, rotation: tuple, mask: Array, start: int, keep: bool) -> tuple[Array, tuple | None]:
        c, kept = self.config, list[Any]()
        periods = [(w, one) for name, w, n in c.segments for one in _unstack(self.variables["params"][name], n)]
        for i, (windows, layers) in enumerate(periods):
            last = start if i == len(periods) - 1 else 0
            period = (nn.remat(Period) if c.remat else Period)(c, windows, keep, last, parent=None)
            x, key_values = period.apply({"params": layers}, x, rotation, mask)
            kept.extend(key_values if keep else ())
        return x, tuple(kept) if keep else None


@partial(jax.jit, static_argnums=1)
def init(key: Key[Array, ""], config: DecoderConfig) -> Params:
    """Fresh parameters, N(0, 0.02^2) with what enters the residual stream divided by sqrt(2 layers); norms neutral, biases, value head 0.

    A plain nested dict of arrays in config.param_dtype; with config.lora adapters beside the kernels. Layers are in the segments of the
    config: `blocks`, whole periods stacked in front of every array, and where the last period is incomplete `rest`, a stack of one.
    """
    params = nn.meta.unbox(_boxed(key, config))
    return params if config.lora is None else lora.add(params, config, jax.random.fold_in(key, 1))


def logical_axes(config: DecoderConfig) -> Params:
    """The tree of `init` with a tuple of logical axis names in place of each array (None: never sharded)."""
    boxed = jax.eval_shape(lambda: _boxed(jax.random.key(0), config))
    axes = jax.tree.map(lambda box: tuple(box.names), boxed, is_leaf=lambda x: isinstance(x, nn.meta.AxisMetadata))
    return axes if config.lora is None else lora.axes(axes, config)


def _boxed(key: Array, config: DecoderConfig) -> Params:
    one = jnp.zeros((1, 1), jnp.int32)
    return Decoder(config).init(key, one, one == 0)["params"]


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
    hidden, _ = Decoder(config).apply({"params": params}, together, mask, start=length - 1)
    return hidden


def prefill(
    params: Params,
    config: DecoderConfig,
    prompt_tokens: Int[Array, "P S"],
    prompt_mask: Shaped[Array, "P S"],
    rows: int,
    response_tokens: int,
) -> tuple[Float[Array, "P hidden"], Cache]:
    """Hidden states that predict the first response token, and a cache for `rows` rows of `response_tokens` new tokens.

    Raises ValueError where rows is no multiple of P, and as `hidden_states` does.
    """
    prompts, length = prompt_tokens.shape
    check_lengths(config, length, response_tokens)
    if rows % prompts:
        raise ValueError(f"rows is {rows}, allowed: a multiple of the number of prompts ({prompts})")
    mask = jnp.asarray(prompt_mask, bool)
    hidden, kept = Decoder(config).apply({"params": params}, prompt_tokens, mask, start=length - 1, keep=True)
    prompt = jax.tree.map(lambda x: jnp.swapaxes(x, -3, -2), kept)  # [..., P, S, K, H] -> [..., P, K, S, H]
    heads, size = config.kv_heads, config.head_dim

    def empty(stacked: tuple[int, ...]) -> tuple[Array, Array]:
        shapes = (*stacked, rows, heads, size, response_tokens), (*stacked, rows, heads, response_tokens, size)
        return jnp.zeros(shapes[0], config.dtype), jnp.zeros(shapes[1], config.dtype)

    own = tuple(empty(keys.shape[:-4]) for keys, _ in prompt)
    return hidden[:, 0], Cache(mask, prompt, own)


def decode_params(params: Params, config: DecoderConfig) -> Params:
    """Parameters as `decode_step` reads them, made once before its loop: in the dtype of products, a tree per layer where unrolled."""
    params = jax.tree.map(lambda x: x.astype(config.dtype), params)
    layers = []
    for name, windows, repeats in config.segments:
        periods = _unstack(params[name], repeats) if unrolled(config) else [params[name]]
        layers += [period[f"layer_{j}"] for period in periods for j in range(len(windows))]
    return {**{name: value for name, value in params.items() if name not in ("blocks", "rest")}, "layers": tuple(layers)}


def decode_step(
    params: Params, config: DecoderConfig, cache: Cache, tokens: Int[Array, "n"], slots: Int[Array, "n"]
) -> tuple[Float[Array, "n hidden"], Cache]:
    """Feed token tokens[r] as response token number slots[r] of row r: the hidden state that predicts the next one, and the cache with it.

    A row sees its prompt and its slots up to slots[r], whatever later slots hold. params: of `decode_params`.
    """
    lengths = jnp.sum(cache.prompt_mask, axis=1, dtype=jnp.int32)
    positions = jnp.repeat(lengths, tokens.shape[0] // lengths.shape[0]) + slots
    x = embed(params["embedding"], tokens[:, None], config)
    length = cache.prompt_mask.shape[1] + cache.rows[0][1].shape[-2]
    rotation = rotations(positions[:, None], length, config)

    def block(window, layer, prompt, x, rows, at):
        cached = cache.prompt_mask, prompt, rows
        return _cached_block(config, window, layer, x, rotation_of(rotation, window), cached, slots, at)

    rows = list(cache.rows)
    if unrolled(config):
        for i, layer in enumerate(params["layers"]):
            x, rows[i] = block(config.windows[i % len(config.windows)], layer, cache.prompt[i], x, rows[i], ())
    else:
        first = 0
        for _, windows, _ in config.segments:

            def period(carry, stacked, windows=windows):
                x, rows, index = carry
                for j, window in enumerate(windows):
                    x, rows[j] = block(window, stacked[0][j], stacked[1][j], x, rows[j], (index,))
                return (x, rows, index + 1), None

            part = slice(first, first + len(windows))
            start = (x, rows[part], jnp.zeros((), jnp.int32))
            (x, rows[part], _), _ = jax.lax.scan(period, start, (params["layers"][part], cache.prompt[part]))
            first += len(windows)
    hidden: Any = RMSNorm(config).apply({"params": params["norm"]}, x[:, 0])
    return hidden, cache._replace(rows=tuple(rows))


def fork(cache: Cache, parents: Int[Array, "m"]) -> Cache:
    """A cache for m rows, each beginning as a copy of row parents[r], of the same prompt (see `take_rows`). Prompts are not copied."""
    prompts = cache.prompt_mask.shape[0]
    return cache._replace(rows=jax.tree.map(lambda x: take_rows(x, parents, prompts, x.ndim - 4), cache.rows))


def take_rows(x: Shaped[Array, "..."], parents: Int[Array, "m"], prompts: int, axis: int = 0) -> Shaped[Array, "..."]:
    """x[parents] along an axis of n rows, n / prompts of each prompt side by side; parents[r] is a row of prompt r // (m / prompts).

    Each prompt's rows are gathered among themselves, so devices that hold different prompts have nothing to exchange.
    """
    each = x.shape[axis] // prompts
    local = parents.reshape(prompts, -1) - each * jnp.arange(prompts)[:, None]
    split = x.reshape(*x.shape[:axis], prompts, each, *x.shape[axis + 1 :])
    taken = jax.vmap(lambda rows, index: jnp.take(rows, index, axis=axis, mode="clip"), (axis, 0), axis)(split, local)
    return taken.reshape(*x.shape[:axis], parents.shape[0], *x.shape[axis + 1 :])


def _cached_block(
    config: DecoderConfig, window: int | None, params: Params, x: Array, rotation: tuple, cache: tuple, slots: Array, at: tuple
) -> tuple[Array, tuple]:
    """One block for one new token per row; cache: prompt mask, the layer's prompt part, the layer's rows.

    The rows are written in place; with at = (index,) they are those of all layers, stacked, as what a scan carries.
    """
    prompt_mask, prompt, (keys, values) = cache

    def attend(query, key, value):
        every = jnp.arange(slots.shape[0])
        new = keys.at[(*at, every, ..., slots)].set(key[:, 0]), values.at[(*at, every, slice(None), slots)].set(value[:, 0])
        own = tuple(jax.lax.dynamic_index_in_dim(item, at[0], keepdims=False) if at else item for item in new)
        scale = config.attention_scalar**-0.5
        context = attention.attend_cached(query[:, 0], prompt, prompt_mask, own, slots, window, scale, config.attention_softcap)
        return context[:, None], new

    written: Any = Block(config).apply({"params": params}, x, rotation, attend)
    return written


def unrolled(config: DecoderConfig) -> bool:
    """Whether the layers are compiled one by one.

    A scan copies each layer's weights, cache and saved activations into and out of stacks; unrolled, each layer owns its buffers.
    Deep models are scanned all the same, so that compile time does not grow with depth.
    """
    return config.layers <= config.unroll


def _unstack(tree: Any, count: int) -> list:
    """A tree of stacked arrays -> one tree per entry; by a split, because its gradient is one concatenation, not `count` padded copies."""
    leaves, structure = jax.tree.flatten(tree)
    pieces = [[piece.squeeze(0) for piece in jax.lax.split(leaf, (1,) * count, axis=0)] for leaf in leaves]
    return [jax.tree.unflatten(structure, entry) for entry in zip(*pieces, strict=True)]


def positions_of(mask: Shaped[Array, "B T"]) -> Int[Array, "B T"]:
    """Number of real tokens before each token; 0 on padding at the left."""
    return jnp.maximum(jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1, 0)


def unembedding(params: Params, config: DecoderConfig) -> Float[Array, "V hidden"]:
    """The table that turns hidden states into logits, in the dtype of products."""
    return params["embedding" if config.tie_embeddings else "unembedding"].astype(config.dtype)


def embed(table: Float[Array, "V hidden"], tokens: Int[Array, "B T"], config: DecoderConfig) -> Float[Array, "B T hidden"]:
    """The tokens' rows of the table, times sqrt(hidden) where embedding_scale, in the dtype of products."""
    x = table[tokens].astype(config.dtype)
    return x * jnp.asarray(config.hidden**0.5, config.dtype) if config.embedding_scale else x


def logits_of(table: Float[Array, "V hidden"], hidden: Float[Array, "n hidden"], config: DecoderConfig) -> Float[Array, "n V"]:
    """Logits in at least float32, soft-capped where the architecture does."""
    logits = jnp.einsum("nd,vd->nv", hidden, table, preferred_element_type=jnp.promote_types(table.dtype, jnp.float32))
    return attention.capped(logits, config.logit_softcap)


def check_lengths(config: DecoderConfig, prompt_tokens: int, response_tokens: int) -> None:
    """ValueError unless the prompt holds a token and prompt and response fit into config.context."""
    if prompt_tokens < 1:
        raise ValueError("prompt_tokens has no column, allowed: at least one (padding will do)")
    if prompt_tokens + response_tokens > config.context:
        raise ValueError(f"prompt and response are {prompt_tokens} + {response_tokens} tokens, allowed: at most context ({config.context})")
