"""Truncations of the sampling distribution, in the usual order: top-k, then top-p, then min-p."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def truncate(
    logits: Float[Array, "n V"], top_k: Int[Array, "n"], top_p: Float[Array, "n"], min_p: Float[Array, "n"]
) -> Float[Array, "n V"]:
    """Logits with what is cut off at -inf; per row, and off at top_k 0, top_p 1, min_p 0.

    top_k keeps the k largest; top_p the smallest set of largest tokens whose probability, among what top_k left, reaches p
    (arXiv 1904.09751); min_p what has at least min_p times the probability of the largest token (arXiv 2407.01082). Tokens that tie
    with the last one kept are kept; the largest token always is. The vocabulary is sorted only if some row cuts by top-k or top-p.
    """
    ranked = jnp.any((top_k > 0) | (top_p < 1.0))
    logits = jax.lax.cond(ranked, _by_rank, lambda logits, *_: logits, logits, top_k, top_p)
    largest = jnp.max(logits, axis=-1, keepdims=True)
    # log(0) is -inf: nothing is below it, the filter is off.
    return jnp.where(logits < largest + jnp.log(min_p)[:, None], -jnp.inf, logits)


def _by_rank(logits: Array, top_k: Array, top_p: Array) -> Array:
    vocabulary = logits.shape[-1]
    descending = jnp.sort(logits, axis=-1, descending=True)
    last = jnp.where(top_k > 0, jnp.minimum(top_k, vocabulary), vocabulary) - 1
    threshold = jnp.take_along_axis(descending, last[:, None], axis=-1)
    probabilities = jax.nn.softmax(jnp.where(descending < threshold, -jnp.inf, descending), axis=-1)
    before = jnp.cumsum(probabilities, axis=-1) - probabilities
    # Not `before < 1.0` for rows without top-p: rounding can bring the sum to 1 early.
    kept = jnp.sum(before < jnp.where(top_p < 1.0, top_p, jnp.inf)[:, None], axis=-1)
    nucleus = jnp.take_along_axis(descending, jnp.maximum(kept - 1, 0)[:, None], axis=-1)
    return jnp.where(logits < jnp.maximum(threshold, nucleus), -jnp.inf, logits)
