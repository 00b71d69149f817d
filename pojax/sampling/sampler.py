"""Sampling responses: one compiled loop that ends when every row has ended."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key, Shaped

from pojax.models import DecoderConfig, decode_params, decode_step, entropy_of, logits_of, prefill, token_logit, unembedding
from pojax.sampling.filters import truncate
from pojax.types import Samples

Processor = Callable[[Array, Array, Array], Array]
PAD = 0


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
    processor: Processor | None = None,
    entropy: bool = False,
) -> Samples:
    """n = P * G responses of at most response_tokens tokens; row r continues prompt r // G, which is prefilled once for its G rows.

    Token t of row r is argmax(l + Gumbel noise of fold_in(keys[r], t)) with l = truncate(processor(logits) / temperature): a function of
    the row's own prompt, key and settings, not of other rows or the batch. temperature 0 is greedy, its log-probabilities at temperature 1.

    limits: tokens per row (default response_tokens). A row ends with one of end_tokens (-1 pads their list), part of the response.
    top_k, top_p, min_p: see `truncate`; 0, 1 and 0 are off. processor: (logits [n, V], tokens [n, T] so far, t) -> logits [n, V].
    old_logprobs: of softmax(logits / temperature), neither processed nor truncated; rollout_logprobs: of softmax(l), what really sampled;
    entropy: of old_logprobs' distribution in nats, where asked for. After the end tokens are 0, and all else is 0 or False.
    Shapes, config, response_tokens, processor and entropy are static, all else is traced: changing it compiles nothing.
    Raises ValueError for sizes that do not fit and for numpy or Python values out of range.
    """
    rows = keys.shape[0]
    if response_tokens < 1:
        raise ValueError(f"response_tokens is {response_tokens}, allowed: at least 1")
    if config.output != "tokens":
        raise ValueError(f"model.output is {config.output!r}, allowed for sampling: 'tokens'")
    floating = jnp.promote_types(config.dtype, jnp.float32)
    controls = Controls(
        keys=keys,
        temperature=_per_row("temperature", temperature, rows, floating, lambda x: x >= 0, "at least 0"),
        limits=_per_row("limits", response_tokens if limits is None else limits, rows, jnp.int32, lambda x: x >= 0, "at least 0"),
        top_k=_per_row("top_k", top_k, rows, jnp.int32, lambda x: x >= 0, "at least 0 (0: off)"),
        top_p=_per_row("top_p", top_p, rows, floating, lambda x: (x > 0) & (x <= 1), "above 0 up to 1 (1: off)"),
        min_p=_per_row("min_p", min_p, rows, floating, lambda x: (x >= 0) & (x <= 1), "0 up to 1 (0: off)"),
        end_tokens=jnp.asarray(end_tokens, jnp.int32),
    )
    prompt_tokens, prompt_mask = jnp.asarray(prompt_tokens), jnp.asarray(prompt_mask, bool)
    return _sample(params, controls, prompt_tokens, prompt_mask, config, response_tokens, processor, entropy)


def _per_row(name: str, value: ArrayLike, rows: int, dtype: Any, allowed: Callable, words: str) -> Array:
    # Only what already is on the host is checked: looking at a device array would wait for it.
    if not isinstance(value, jax.Array) and not np.all(allowed(np.asarray(value))):
        raise ValueError(f"{name} holds {np.asarray(value)[~allowed(np.asarray(value))].flat[0]}, allowed: {words}")
    if np.shape(value) not in ((), (rows,)):
        raise ValueError(f"{name} has shape {np.shape(value)}, allowed: one number or one per row ({rows},)")
    return jnp.broadcast_to(jnp.asarray(value, dtype), (rows,))


class _State(NamedTuple):
    """What the loop carries. `alive`: the row takes the next token."""

    drawn: Array  # [] number of tokens so far
    alive: Array  # [n] bool
    ended: Array  # [n] bool
    last: Array  # [n] token drawn last
    samples: dict[str, Array]  # [n, T]


@partial(jax.jit, static_argnums=(4, 5, 6, 7))
def _sample(
    params: dict[str, Any],
    controls: Controls,
    prompt_tokens: Array,
    prompt_mask: Array,
    config: DecoderConfig,
    response_tokens: int,
    processor: Processor | None,
    entropy: bool,
) -> Samples:
    rows = controls.keys.shape[0]
    hidden, cache = prefill(params, config, prompt_tokens, prompt_mask, rows, response_tokens)
    params = decode_params(params, config)
    table = unembedding(params, config)
    draw = partial(_draw, table, controls, processor)

    def body(carry):
        state, cache = carry
        hidden, cache = decode_step(params, config, cache, state.last, jnp.full((rows,), state.drawn - 1, jnp.int32))
        return draw(state, hidden), cache

    start = _start(rows, response_tokens, controls, jnp.promote_types(config.dtype, jnp.float32), entropy)
    carry = draw(start, jnp.repeat(hidden, rows // prompt_tokens.shape[0], axis=0)), cache
    state, _ = jax.lax.while_loop(lambda carry: (carry[0].drawn < response_tokens) & jnp.any(carry[0].alive), body, carry)
    return Samples(ended=state.ended, **{"entropy": None, **state.samples})


def _start(rows: int, response_tokens: int, controls: Controls, floating: Any, entropy: bool) -> _State:
    numbers = ("rollout_logprobs", "old_logprobs") + (("entropy",) if entropy else ())
    samples = {name: jnp.zeros((rows, response_tokens), floating) for name in numbers}
    samples["tokens"] = jnp.full((rows, response_tokens), PAD, jnp.int32)
    samples["mask"] = jnp.zeros((rows, response_tokens), bool)
    false = jnp.zeros((rows,), bool)
    return _State(jnp.zeros((), jnp.int32), controls.limits > 0, false, jnp.full((rows,), PAD, jnp.int32), samples)


def _draw(table: Array, controls: Controls, processor: Processor | None, state: _State, hidden: Array) -> _State:
    """One more token for every row that is alive."""
    greedy = controls.temperature == 0
    scale = jnp.where(greedy, 1.0, controls.temperature)[:, None]
    raw = logits_of(table, hidden)
    logits = raw / scale
    processed = logits if processor is None else processor(raw, state.samples["tokens"], state.drawn) / scale
    cut = truncate(processed, controls.top_k, controls.top_p, controls.min_p)
    token_keys = jax.vmap(jax.random.fold_in, (0, None))(controls.keys, state.drawn)
    noise = jax.vmap(lambda key: jax.random.gumbel(key, logits.shape[1:], logits.dtype))(token_keys)
    token = _first_largest(jnp.where(greedy[:, None], cut, cut + noise))

    log_partition = jax.nn.logsumexp(logits, axis=-1)
    old = token_logit(logits, token) - log_partition
    rollout = token_logit(cut, token) - jax.nn.logsumexp(cut, axis=-1)
    if processor is None:
        # The same number twice, but for rounding: rows that are sampled from the whole distribution have ratios of exactly 1.
        whole = (controls.top_k == 0) & (controls.top_p >= 1.0) & (controls.min_p == 0.0)
        rollout = jnp.where(whole, old, rollout)
    new = {"tokens": token, "mask": state.alive, "old_logprobs": old, "rollout_logprobs": rollout}
    if "entropy" in state.samples:
        new["entropy"] = entropy_of(logits, log_partition)
    # PAD and False are zeros too: rows that are over get 0 everywhere.
    new = {name: jnp.where(state.alive, value, jnp.zeros((), value.dtype)) for name, value in new.items()}
    samples = {name: jax.lax.dynamic_update_index_in_dim(old, new[name], state.drawn, 1) for name, old in state.samples.items()}
    ends = state.alive & jnp.any(token[:, None] == controls.end_tokens, axis=1)
    count = state.drawn + 1
    return _State(count, state.alive & ~ends & (count < controls.limits), state.ended | ends, new["tokens"], samples)


def _first_largest(x: Float[Array, "n V"]) -> Int[Array, "n"]:
    # What argmax gives, as two plain reductions: XLA's argmax is not vectorised on CPU (ten times slower at a vocabulary of 512).
    index = jnp.arange(x.shape[-1], dtype=jnp.int32)
    return jnp.min(jnp.where(x == jnp.max(x, axis=-1, keepdims=True), index, x.shape[-1] - 1), axis=-1)
