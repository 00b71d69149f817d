"""Sampling responses: one compiled loop that ends when every row has ended."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, ArrayLike, Float, Int, Key, Shaped

from pojax.models import Cache, DecoderConfig, decode_params, decode_step, entropy_of, logits_of, prefill, token_logit, unembedding
from pojax.sampling.filters import truncate
from pojax.types import Samples

Processor = Callable[[Array, Array, Array], Array]
Forced = tuple[Any, Any]  # tokens [n, F], counts [n]
PAD = 0


class Held(NamedTuple):
    """n rows that `extend` can go on from at any of their tokens, and what the call that gave them has cost."""

    cache: Cache  # of P prompts and their rows
    hidden: Array  # [P, hidden], predicts the first token
    samples: Samples
    lengths: Array  # [n] tokens of the row, forced ones included
    prefilled: Array  # [] prompt tokens that the call ran through the model
    decoded: Array  # [] tokens of rows that it ran through the model, one by one


class Controls(NamedTuple):
    """What the rows are sampled with: every field [n], but end_tokens [E]."""

    keys: Array
    temperature: Array
    limits: Array
    top_k: Array
    top_p: Array
    min_p: Array
    end_tokens: Array


def sample(
    params: dict[str, Any],
    config: DecoderConfig,
    keys: Key[Array, "n"],
    prompt_tokens: Int[ArrayLike, "P S"],
    prompt_mask: Shaped[ArrayLike, "P S"],
    *,
    response_tokens: int,
    temperature: Float[ArrayLike, "..."] | int,
    end_tokens: Int[ArrayLike, "E"] | tuple[int, ...],
    limits: Int[ArrayLike, "..."] | None = None,
    top_k: Int[ArrayLike, "..."] = 0,
    top_p: Float[ArrayLike, "..."] | int = 1.0,
    min_p: Float[ArrayLike, "..."] | int = 0.0,
    forced: Forced | None = None,
    processor: Processor | None = None,
    entropy: bool = False,
    hold: bool = False,
) -> Any:
    """n = P * G responses of at most response_tokens tokens; row r continues prompt r // G, which is prefilled once for its G rows.

    Token t of row r is argmax(l + Gumbel noise of fold_in(keys[r], t)) with l = truncate(processor(logits) / temperature): a function of
    the row's own prompt, key and settings, not of other rows or the batch. temperature 0 is greedy, its log-probabilities at temperature 1.

    limits: tokens drawn per row (default response_tokens). A row ends with one of end_tokens (-1 pads their list), part of the response.
    top_k, top_p, min_p: see `truncate`; 0, 1 and 0 are off. processor: (logits [n, V], tokens [n, T] so far, t) -> logits [n, V];
    a `jax.tree_util.Partial(function, *data)` gets its data, any pytree, before these.
    forced: (tokens [n, F], counts [n]): row r begins with its first counts[r] tokens; they have mask 0 and all numbers 0.
    old_logprobs: of softmax(logits / temperature), neither processed nor truncated; rollout_logprobs: of softmax(l), what really sampled;
    entropy: of old_logprobs' distribution in nats, where asked for. After the end tokens are 0, and all else is 0 or False.
    hold: give (Samples, Held), for `extend`.
    Shapes, config, response_tokens, the processor's function, entropy and hold are static, all else is traced and compiles nothing.
    Raises ValueError for sizes that do not fit and for numpy or Python values out of range.
    """
    rows = keys.shape[0]
    if response_tokens < 1:
        raise ValueError(f"response_tokens is {response_tokens}, allowed: at least 1")
    if config.output != "tokens":
        raise ValueError(f"model.output is {config.output!r}, allowed for sampling: 'tokens'")
    controls = controls_of(
        keys, config, temperature=temperature, end_tokens=end_tokens, limits=response_tokens if limits is None else limits,
        top_k=top_k, top_p=top_p, min_p=min_p,
    )  # fmt: skip
    prompt_tokens, prompt_mask = jnp.asarray(prompt_tokens), jnp.asarray(prompt_mask, bool)
    forced = forced_of(forced, rows)
    processor = processor_of(processor)
    return _sample(params, controls, prompt_tokens, prompt_mask, forced, processor, config, response_tokens, entropy, hold)


def processor_of(processor: Processor | None) -> Partial | None:
    """A processor as a pytree: its function is static, the data of a `jax.tree_util.Partial` are traced."""
    return processor if processor is None or isinstance(processor, Partial) else Partial(processor)


def controls_of(
    keys: Any, config: DecoderConfig, *, temperature: Any, end_tokens: Any, limits: Any, top_k: Any, top_p: Any, min_p: Any
) -> Controls:
    """The settings of n rows, checked and one per row."""
    rows, floating = keys.shape[0], jnp.promote_types(config.dtype, jnp.float32)
    return Controls(
        keys=keys,
        temperature=per_row("temperature", temperature, rows, floating, lambda x: x >= 0, "at least 0"),
        limits=per_row("limits", limits, rows, jnp.int32, lambda x: x >= 0, "at least 0"),
        top_k=per_row("top_k", top_k, rows, jnp.int32, lambda x: x >= 0, "at least 0 (0: off)"),
        top_p=per_row("top_p", top_p, rows, floating, lambda x: (x > 0) & (x <= 1), "above 0 up to 1 (1: off)"),
        min_p=per_row("min_p", min_p, rows, floating, lambda x: (x >= 0) & (x <= 1), "0 up to 1 (0: off)"),
        end_tokens=jnp.asarray(end_tokens, jnp.int32),
    )


def per_row(name: str, value: Any, rows: int, dtype: Any, allowed: Callable, words: str) -> Array:
    """A setting as an array [rows]; ValueError for another shape, and for values out of range where they are on the host."""
    # Looking at a device array would wait for it.
    if not isinstance(value, jax.Array) and not np.all(allowed(np.asarray(value))):
        raise ValueError(f"{name} holds {np.asarray(value)[~allowed(np.asarray(value))].flat[0]}, allowed: {words}")
    if np.shape(value) not in ((), (rows,)):
        raise ValueError(f"{name} has shape {np.shape(value)}, allowed: one number or one per row ({rows},)")
    return jnp.broadcast_to(jnp.asarray(value, dtype), (rows,))


def forced_of(forced: Forced | None, rows: int) -> Forced | None:
    """Forced tokens [n, F] and how many of them each row takes [n]; ValueError for other shapes and counts."""
    if forced is None or np.shape(forced[0])[1:] == (0,):
        return None
    tokens, counts = forced
    if np.ndim(tokens) != 2 or np.shape(tokens)[0] != rows:
        raise ValueError(f"forced tokens have shape {np.shape(tokens)}, allowed: [n, F] with n = {rows} rows")
    width = np.shape(tokens)[1]
    return jnp.asarray(tokens, jnp.int32), per_row(
        "forced counts", counts, rows, jnp.int32, lambda x: (x >= 0) & (x <= width), f"0 to {width}"
    )


class Loop(NamedTuple):
    """What the loop reads: the rows begin at token `starts` (None: all at 0), behind the tokens of `prefix` [n, T]."""

    params: dict[str, Any]  # of `decode_params`
    config: DecoderConfig
    controls: Controls
    forced: Forced | None
    processor: Partial | None
    starts: Array | None  # [n]
    prefix: Array | None  # [n, T], read by a processor

    def positions(self, drawn: Array) -> Array:
        """Position [n] in the row of the token after `drawn` new ones."""
        rows = self.controls.keys.shape[0]
        return jnp.full((rows,), drawn, jnp.int32) if self.starts is None else self.starts + drawn


class State(NamedTuple):
    """What the loop carries; column s of `samples` is the s-th new token of a row. `alive`: the row takes the next one."""

    drawn: Array  # [] number of tokens so far
    alive: Array  # [n] bool
    ended: Array  # [n] bool
    last: Array  # [n] token drawn last
    taken: Array  # [n] number of tokens that the row has taken
    decoded: Array  # [] number of tokens that were fed
    samples: dict[str, Array]  # [n, T]


@partial(jax.jit, static_argnums=(6, 7, 8, 9))
def _sample(
    params: dict[str, Any],
    controls: Controls,
    prompt_tokens: Array,
    prompt_mask: Array,
    forced: Forced | None,
    processor: Partial | None,
    config: DecoderConfig,
    response_tokens: int,
    entropy: bool,
    hold: bool,
) -> Any:
    rows = controls.keys.shape[0]
    hidden, cache = prefill(params, config, prompt_tokens, prompt_mask, rows, response_tokens)
    loop = Loop(decode_params(params, config), config, controls, forced, processor, None, None)
    state, cache = run(loop, jnp.repeat(hidden, rows // prompt_tokens.shape[0], axis=0), cache, response_tokens, entropy)
    samples = Samples(ended=state.ended, **{"entropy": None, **state.samples})
    if not hold:
        return samples
    prefilled = jnp.sum(prompt_mask, dtype=jnp.int32)
    return samples, Held(cache, hidden, samples, state.taken, prefilled, state.decoded)


def run(loop: Loop, hidden: Array, cache: Cache, response_tokens: int, entropy: bool) -> tuple[State, Cache]:
    """Draw tokens until every row is over; hidden [n, hidden] predicts the first new one."""
    table, rows = unembedding(loop.params, loop.config), hidden.shape[0]
    room = response_tokens if loop.starts is None else response_tokens - loop.starts
    counts = 0 if loop.forced is None else loop.forced[1]
    totals = jnp.minimum(loop.controls.limits + counts, room)

    def body(carry: tuple[State, Cache]) -> tuple[State, Cache]:
        state, cache = carry
        slots = jnp.minimum(loop.positions(state.drawn - 1), response_tokens - 1)  # rows that are over may stand behind the last one
        hidden, cache = decode_step(loop.params, loop.config, cache, state.last, slots)
        state = state._replace(decoded=state.decoded + jnp.sum(state.alive, dtype=jnp.int32))
        return _draw(loop, table, totals, state, hidden), cache

    floating = jnp.promote_types(loop.config.dtype, jnp.float32)
    numbers = ("rollout_logprobs", "old_logprobs") + (("entropy",) if entropy else ())
    samples = {name: jnp.zeros((rows, response_tokens), floating) for name in numbers}
    samples["tokens"] = jnp.full((rows, response_tokens), PAD, jnp.int32)
    samples["mask"] = jnp.zeros((rows, response_tokens), bool)
    zero, zeros = jnp.zeros((), jnp.int32), jnp.zeros((rows,), jnp.int32)
    start = State(zero, totals > 0, jnp.zeros((rows,), bool), jnp.full((rows,), PAD, jnp.int32), zeros, zero, samples)
    carry = _draw(loop, table, totals, start, hidden), cache
    return jax.lax.while_loop(lambda carry: (carry[0].drawn < response_tokens) & jnp.any(carry[0].alive), body, carry)


def _draw(loop: Loop, table: Array, totals: Array, state: State, hidden: Array) -> State:
    """One more token for every row that is alive: the next forced one, or one drawn."""
    controls = loop.controls
    greedy = controls.temperature == 0
    scale = jnp.where(greedy, 1.0, controls.temperature)[:, None]
    raw = logits_of(table, hidden, loop.config)
    logits = raw / scale
    processed = logits if loop.processor is None else _process(loop, state, raw) / scale
    cut = truncate(processed, controls.top_k, controls.top_p, controls.min_p)
    token_keys = jax.vmap(jax.random.fold_in)(controls.keys, loop.positions(state.drawn))
    noise = jax.vmap(lambda key: jax.random.gumbel(key, logits.shape[1:], logits.dtype))(token_keys)
    token, chosen = _first_largest(jnp.where(greedy[:, None], cut, cut + noise)), state.alive
    if loop.forced is not None:
        tokens, counts = loop.forced
        given = jax.lax.dynamic_index_in_dim(tokens, jnp.minimum(state.drawn, tokens.shape[1] - 1), 1, keepdims=False)
        token, chosen = jnp.where(state.drawn < counts, given, token), chosen & (state.drawn >= counts)

    log_partition = jax.nn.logsumexp(logits, axis=-1)
    old = token_logit(logits, token) - log_partition
    rollout = token_logit(cut, token) - jax.nn.logsumexp(cut, axis=-1)
    if loop.processor is None:
        # The same number twice, but for rounding: rows that are sampled from the whole distribution have ratios of exactly 1.
        whole = (controls.top_k == 0) & (controls.top_p >= 1.0) & (controls.min_p == 0.0)
        rollout = jnp.where(whole, old, rollout)
    new = {"tokens": token, "mask": chosen, "old_logprobs": old, "rollout_logprobs": rollout}
    if "entropy" in state.samples:
        new["entropy"] = entropy_of(logits, log_partition)
    # PAD and False are zeros too: rows that are over get 0 everywhere.
    new = {n: jnp.where(state.alive if n == "tokens" else chosen, value, jnp.zeros((), value.dtype)) for n, value in new.items()}
    samples = {name: jax.lax.dynamic_update_index_in_dim(old, new[name], state.drawn, 1) for name, old in state.samples.items()}
    ends = chosen & jnp.any(token[:, None] == controls.end_tokens, axis=1)
    count = state.drawn + 1
    alive, taken = state.alive & ~ends & (count < totals), state.taken + state.alive
    return State(count, alive, state.ended | ends, new["tokens"], taken, state.decoded, samples)


def _process(loop: Loop, state: State, raw: Array) -> Array:
    assert loop.processor is not None
    tokens = state.samples["tokens"]
    if loop.starts is None:
        return loop.processor(raw, tokens, state.drawn)
    # Rows stand at different positions: each is processed as a batch of one.
    tokens = place(loop.prefix, tokens, loop.starts)
    one = lambda *row: loop.processor(row[0][None], row[1][None], row[2])[0]  # noqa: E731
    return jax.vmap(one)(raw, tokens, loop.positions(state.drawn))


def place(prefix: Any, new: Shaped[Array, "n T"], starts: Int[Array, "n"]) -> Shaped[Array, "n T"]:
    """The first starts[r] columns of `prefix` [n, T], then those of `new` from its column 0 on."""
    column = jnp.arange(new.shape[1]) - starts[:, None]
    return jnp.where(column < 0, prefix, jnp.take_along_axis(new, jnp.maximum(column, 0), axis=1))


def _first_largest(x: Float[Array, "n V"]) -> Int[Array, "n"]:
    # What argmax gives, as two plain reductions: XLA's argmax is not vectorised on CPU (ten times slower at a vocabulary of 512).
    index = jnp.arange(x.shape[-1], dtype=jnp.int32)
    return jnp.min(jnp.where(x == jnp.max(x, axis=-1, keepdims=True), index, x.shape[-1] - 1), axis=-1)
