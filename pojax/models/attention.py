"""Grouped-query attention over whole sequences, and of one new token per row over a cache. K key-value heads, R query heads on each."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Query = Float[Array, "B Q K R H"]
Keys = Float[Array, "B T K H"]


def _float32(dtype) -> jnp.dtype:
    return jnp.promote_types(dtype, jnp.float32)


def visible(mask: Bool[Array, "B T"], window: int | None) -> Bool[Array, "B T T"]:
    """Which keys (last axis) a query sees: real tokens at or before it, at most `window` of them, and always itself.

    A padding query sees itself alone, so a row without a single real token is still finite.
    """
    index = jnp.arange(mask.shape[1])
    distance = index[:, None] - index[None, :]
    near = distance >= 0 if window is None else (distance >= 0) & (distance < window)
    return near & (mask[:, None, :] | (distance == 0))


def capped(x: Float[Array, "..."], cap: float | None) -> Float[Array, "..."]:
    """cap * tanh(x / cap), between -cap and cap; None: x (soft-cap of Gemma 2, arXiv 2408.00118)."""
    return x if cap is None else cap * jnp.tanh(x / cap)


def attend(
    query: Query, key: Keys, value: Keys, mask: Bool[Array, "B Q T"], scale: float | None = None, softcap: float | None = None
) -> Query:
    """Softmax attention in at least float32: softmax(capped(q k * scale) where mask) v; scale: default 1 / sqrt(H)."""
    accumulate = _float32(query.dtype)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = capped(jnp.einsum("btkrh,bskh->bkrts", query, key, preferred_element_type=accumulate) * scale, softcap)
    scores = jnp.where(mask[:, None, None], scores, jnp.finfo(accumulate).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    return jnp.einsum("bkrts,bskh->btkrh", weights, value)


def attend_cached(
    query: Float[Array, "n K R H"],
    prompt: tuple[Float[Array, "P K S H"], Float[Array, "P K S H"]],
    prompt_mask: Bool[Array, "P S"],
    rows: tuple[Float[Array, "n K H T"], Float[Array, "n K T H"]],
    slots: Int[Array, "n"],
    window: int | None,
    scale: float | None = None,
    softcap: float | None = None,
) -> Float[Array, "n K R H"]:
    """`attend` for the token that row r has just written to slot slots[r], over its prompt r // (n / P) and its own tokens.

    The rows of a prompt stand side by side as queries of one product, so the prompt's keys are read once and never copied per row.
    """
    (n, kv_heads, shared, head_dim), accumulate = query.shape, _float32(query.dtype)
    prompts, length = prompt_mask.shape
    samples = n // prompts
    beside = query.reshape(prompts, samples, kv_heads, shared, head_dim)
    past = jnp.einsum("pgkrh,pksh->pgkrs", beside, prompt[0], preferred_element_type=accumulate).reshape(n, kv_heads, shared, length)
    own = jnp.einsum("nkrh,nkht->nkrt", query, rows[0], preferred_element_type=accumulate)
    slot = jnp.arange(rows[0].shape[3])
    seen_own = slot <= slots[:, None]
    seen_past = jnp.repeat(prompt_mask, samples, axis=0)
    if window is not None:
        # Prompts are padded on the left, so index and position differ by the same number for keys and queries.
        seen_own &= slots[:, None] - slot < window
        seen_past &= slots[:, None] + length - jnp.arange(length) < window
    scale = head_dim**-0.5 if scale is None else scale
    past, own = capped(past * scale, softcap), capped(own * scale, softcap)
    past = jnp.where(seen_past[:, None, None], past, -jnp.inf)
    own = jnp.where(seen_own[:, None, None], own, -jnp.inf)  # the token itself is always seen, so no row is empty
    scores = jnp.concatenate([past, own], axis=-1)
    weights = jax.nn.softmax(scores, axis=-1).astype(query.dtype)
    of_prompt = weights[..., :length].reshape(prompts, samples, kv_heads, shared, length)
    context = jnp.einsum("pgkrs,pksh->pgkrh", of_prompt, prompt[1]).reshape(query.shape)
    return context + jnp.einsum("nkrt,nkth->nkrh", weights[..., length:], rows[1])
