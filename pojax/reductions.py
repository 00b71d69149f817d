"""Sums and means over the tokens that a mask counts, returns, and the selection of the largest: shared by the pure stages.

Masked entries may hold NaN everywhere here; sums over nothing and means over nothing are 0.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from pojax.annotations import Hyper, Mask
from pojax.numerics import LARGEST_LOG_RATIO, counts, floating, masked, per_row, root

__all__ = [
    "carried_back",
    "kth_smallest",
    "largest",
    "masked_mean",
    "masked_std",
    "one_number",
    "pack",
    "per_response",
    "quantile",
    "reward_to_go",
    "row_count",
    "row_mean",
    "row_sum",
    "sequence_log_ratio",
    "straight_through",
    "unpack",
]


def row_count(mask: Mask) -> Float[Array, "B"]:
    """How many tokens of every row count."""
    return floating(jnp.sum(counts(mask), axis=1))


def row_sum(x: Float[ArrayLike, "B T"], mask: Mask) -> Float[Array, "B"]:
    """sum_t mask x."""
    return jnp.sum(masked(x, mask), axis=1)


def row_mean(x: Float[ArrayLike, "B T"], mask: Mask) -> Float[Array, "B"]:
    """sum_t mask x / max(sum_t mask, 1)."""
    return row_sum(x, mask) / jnp.maximum(row_count(mask), 1.0)


def masked_mean(x: Float[ArrayLike, "..."], where: Shaped[ArrayLike, "..."]) -> Float[Array, ""]:
    """Mean of x over everything that counts, one number for the batch."""
    return jnp.sum(masked(x, where)) / jnp.maximum(jnp.sum(counts(where)), 1)


def masked_std(x: Float[ArrayLike, "..."], where: Shaped[ArrayLike, "..."], *, ddof: int = 1) -> Float[Array, ""]:
    """Standard deviation of x over everything that counts; exactly 0, with gradient 0, where all are equal."""
    on, x = counts(where), masked(x, where)
    fixed = jax.lax.stop_gradient(x)
    equal = jnp.max(jnp.where(on, fixed, -jnp.inf)) <= jnp.min(jnp.where(on, fixed, jnp.inf))
    centered = jnp.where(on & ~equal, x - masked_mean(x, on), 0.0)
    return root(jnp.sum(centered**2) / jnp.maximum(jnp.sum(on) - ddof, 1))


def per_response(advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"], mask: Mask) -> Float[Array, "B"]:
    """Advantages as one number per response: [B] as they are, [B, T] (losses receive them so) by their mean over the masked tokens."""
    return floating(advantages) if jnp.ndim(advantages) == 1 else row_mean(advantages, mask)


def sequence_log_ratio(
    logprobs: Float[ArrayLike, "B T"], old_logprobs: Float[ArrayLike, "B T"], mask: Mask, *, mean: bool = False
) -> Float[Array, "B"]:
    """Log-ratio of whole responses: sum_t mask (logprob - old), or its mean over the masked tokens; clamped to [-20, 20]."""
    difference = floating(logprobs) - floating(old_logprobs)
    total = row_mean(difference, mask) if mean else row_sum(difference, mask)
    return jnp.clip(total, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)


def reward_to_go(token_rewards: Float[ArrayLike, "B T"], mask: Mask, *, discount: Hyper = 1.0) -> Float[Array, "B T"]:
    """Return from each masked token on: R_t = r_t + discount * R_(next masked token); 0 where mask is 0.

    Masked tokens (tool output) are passed over: their rewards count 0, they neither discount nor cut the sum.
    """
    on = counts(mask)
    rewards = masked(token_rewards, on)
    factor = jnp.where(on, per_row(jnp.asarray(discount, rewards.dtype), 2), 1.0)
    return jnp.where(on, carried_back(factor, rewards), 0.0)


def carried_back(factor: Float[Array, "B T"], gain: Float[Array, "B T"]) -> Float[Array, "B T"]:
    """x_t = gain_t + factor_t * x_(t+1) along each row, from its last column on."""

    def combine(later, earlier):  # affine maps of what is behind a stretch, from the last column to the first
        return later[0] * earlier[0], earlier[1] + earlier[0] * later[1]

    return jax.lax.associative_scan(combine, (factor, gain), axis=1, reverse=True)[1]


def straight_through(value: Float[ArrayLike, "..."], gradient: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """The bits of `value` with the gradient of `gradient`: what is added is exactly 0."""
    gradient = jnp.asarray(gradient)
    return jax.lax.stop_gradient(jnp.asarray(value)) + (gradient - jax.lax.stop_gradient(gradient))


def one_number(hyper: Shaped[ArrayLike, "..."] | int) -> Float[Array, ""]:
    """A hyper-parameter of the whole batch as a scalar; where it is given as one number per row, the first row's."""
    return jnp.asarray(hyper, jnp.result_type(float)).reshape(-1)[0]


def pack(x: Shaped[ArrayLike, "B T"], mask: Mask) -> Shaped[Array, "B T"]:
    """The masked tokens of every row moved to its left end, in their order, then 0: column n holds the row's n-th own token."""
    on, x = counts(mask), jnp.asarray(x)
    target = jnp.where(on, jnp.cumsum(on, axis=1) - 1, x.shape[1])
    return jnp.zeros_like(x).at[jnp.arange(x.shape[0])[:, None], target].set(x, mode="drop")


def unpack(x: Shaped[ArrayLike, "B T"], mask: Mask) -> Shaped[Array, "B T"]:
    """The inverse of `pack`: column n of every row moved to the row's n-th masked token; 0 where mask is 0."""
    on, x = counts(mask), jnp.asarray(x)
    moved = jnp.take_along_axis(x, jnp.maximum(jnp.cumsum(on, axis=1) - 1, 0), axis=1)
    return jnp.where(on, moved, jnp.zeros((), x.dtype))


def kth_smallest(x: Float[ArrayLike, "..."], where: Shaped[ArrayLike, "..."], *, k: Int[ArrayLike, ""]) -> Float[Array, ""]:
    """The k-th smallest (from 0) of the entries that count, exactly; k may be traced. +inf where k is not below their number.

    Bisection over the bits of the floats: 32 counts (64 in float64) in place of a sort. A constant of the gradient.
    """
    keys = _ordered_bits(jnp.where(counts(where), jax.lax.stop_gradient(floating(x)), jnp.inf))
    bits = keys.dtype.itemsize * 8

    def narrow(i, low):  # the largest prefix such that at most k keys are below it
        candidate = low | jnp.left_shift(jnp.ones((), keys.dtype), (bits - 1 - i).astype(keys.dtype))
        return jnp.where(jnp.sum(keys < candidate) <= k, candidate, low)

    found = jax.lax.fori_loop(0, bits, narrow, jnp.zeros((), keys.dtype))
    return jnp.where(jnp.asarray(k) < jnp.sum(counts(where)), _from_ordered_bits(found), jnp.inf)


def quantile(x: Float[ArrayLike, "..."], where: Shaped[ArrayLike, "..."], *, q: Hyper) -> Float[Array, ""]:
    """The q-quantile of the entries that count, with linear interpolation (numpy's default); 0 where nothing counts. No gradient."""
    number = jnp.sum(counts(where))
    position = jnp.asarray(q, jnp.result_type(float)) * jnp.maximum(number - 1, 0)
    low = jnp.floor(position).astype(jnp.int32)
    a = kth_smallest(x, where, k=low)
    b = kth_smallest(x, where, k=jnp.minimum(low + 1, jnp.maximum(number - 1, 0)))
    return jnp.where(number > 0, a + (position - low) * jnp.where(number > 0, b - a, 0.0), 0.0)


def largest(x: Float[ArrayLike, "..."], where: Shaped[ArrayLike, "..."], *, k: Int[ArrayLike, ""]) -> Bool[Array, "..."]:
    """True at the k largest of the entries that count, ties by first index; all of them where k is not below their number."""
    on, x = counts(where), jnp.asarray(x)
    number = jnp.sum(on)
    k = jnp.clip(k, 0, number)
    edge = kth_smallest(x, on, k=number - k)
    above = on & (x > edge)
    ties = (on & (x == edge)).reshape(-1)
    taken = ties & (jnp.cumsum(ties) <= k - jnp.sum(above))
    return jnp.where(k >= number, on, above | taken.reshape(x.shape))


def _ordered_bits(x: Float[Array, "..."]) -> Shaped[Array, "..."]:
    """Unsigned integers in the order of the floats."""
    kind = jnp.uint64 if x.dtype == jnp.float64 else jnp.uint32
    bits = jax.lax.bitcast_convert_type(x + 0.0, kind)  # -0.0 and 0.0 are equal
    sign = jnp.ones((), kind) << (bits.dtype.itemsize * 8 - 1)
    return jnp.where(bits >= sign, ~bits, bits | sign)


def _from_ordered_bits(key: Shaped[Array, ""]) -> Float[Array, ""]:
    sign = jnp.ones((), key.dtype) << (key.dtype.itemsize * 8 - 1)
    return jax.lax.bitcast_convert_type(jnp.where(key >= sign, key ^ sign, ~key), jnp.float64 if key.dtype == jnp.uint64 else jnp.float32)
