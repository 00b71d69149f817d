"""Credit of segments of a response: differences of Monte Carlo values at their boundaries."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.numerics import counts, floating, masked, per_row
from pojax.reductions import carried_back

__all__ = ["low_probability", "segment_advantages"]


@checked()
def segment_advantages(
    rewards: Float[ArrayLike, "B"],
    values: Float[ArrayLike, "B T"],
    segment: Int[ArrayLike, "B T"],
    mask: Mask,
    token_rewards: Float[ArrayLike, "B T"] | None = None,
) -> Float[Array, "B T"]:
    """What a segment changed in the value: A_t = r_s + V_(s+1) - V_s for every token t of segment s; the last one has R_b for V_(s+1).

    values: V_s, the value of the state before the segment that holds the token, in the units of rewards; read at its first token.
    segment: any labels; a segment ends where the label changes from one masked token to the next (`node` of a tree will do).
    token_rewards: r_s is their sum over the segment; none by default. rewards: R_b, of the whole response.
    A NaN value is a missing estimate and is filled from the end, V_s = r_s + V_(s+1): such a segment has advantage 0.
    No discount. A response of one segment has R_b - V(prompt). Zero where mask is 0.
    Source: VinePPO, arXiv 2410.01679, section 4 (its released code for missing estimates); SPO-chain, arXiv 2505.23564, section 3.
    """
    on = counts(mask)
    starts = label_changes(segment, on)
    index = jnp.maximum(jnp.cumsum(starts, axis=1) - 1, 0)
    rows, width = jnp.arange(on.shape[0])[:, None], on.shape[1]
    column = jnp.arange(width)
    number = jnp.sum(starts, axis=1)[:, None]
    # From tokens to segments: [B, T] again, as there may be as many segments as tokens.
    table = jnp.zeros(on.shape, jnp.result_type(floating(values), floating(rewards)))
    value = table.at[rows, jnp.where(starts, index, width)].set(masked(values, starts), mode="drop")
    gain = jnp.where(column == number - 1, masked(rewards, number[:, 0] > 0)[:, None], 0.0)
    if token_rewards is not None:
        gain = gain + table.at[rows, jnp.where(on, index, width)].add(masked(token_rewards, on), mode="drop")
    exists, missing = column < number, jnp.isnan(value)
    value = _fill_from_the_end(jnp.where(missing, 0.0, value), gain, exists & ~missing)
    following = jnp.pad(value[:, 1:], ((0, 0), (0, 1)))
    advantages = jnp.where(exists & ~missing, gain + following - value, 0.0)
    return jnp.where(on, jnp.take_along_axis(advantages, index, axis=1), 0.0)


def label_changes(labels: Int[ArrayLike, "B T"], on: Bool[Array, "B T"]) -> Bool[Array, "B T"]:
    """True at the first token of every stretch of equal labels; tokens that do not count are passed over."""
    labels, column = jnp.asarray(labels), jnp.arange(on.shape[1])
    latest = jax.lax.cummax(jnp.where(on, column, -1), axis=1)
    before = jnp.pad(latest[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    return on & ((before < 0) | (labels != jnp.take_along_axis(labels, jnp.maximum(before, 0), axis=1)))


def _fill_from_the_end(value: Float[Array, "B T"], gain: Float[Array, "B T"], known: Bool[Array, "B T"]) -> Float[Array, "B T"]:
    """Values where they are known, elsewhere gain + the next value."""
    gain = jnp.where(known, value, gain)
    return carried_back(jnp.where(known, 0.0, 1.0).astype(gain.dtype), gain)


@writes("keep")
@checked(threshold="[0, 1]", otherwise="{none, all}")
def low_probability(
    keep: Mask, old_logprobs: Float[ArrayLike, "B T"], mask: Mask, *, threshold: Hyper = 0.9, otherwise: str = "none"
) -> Float[Array, "B T"]:
    """Clear the tokens that the sampling policy was sure of: keep where p_t = exp(old_logprobs) < threshold.

    otherwise: where no token of the batch is below the threshold, "none" keeps none (the paper: no credit), "all" keeps all
    (the released code, whose whitening falls back to the full mask).
    Whiten and average over what is left, with mask="keep"; terms that all tokens should feel (KL) say where="mask".
    Source: Segment Policy Optimization, arXiv 2505.23564, section 3.3 (probability mask).
    """
    kept, on = masked(keep, keep), counts(mask)
    low = on & (masked(old_logprobs, on) < jnp.log(per_row(threshold, 2)))
    cleared = jnp.where(low, kept, 0.0)
    return cleared if otherwise == "none" else jnp.where(jnp.any(cleared != 0.0), cleared, kept)
