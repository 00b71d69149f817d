"""Tokens that good and bad responses of a group share, and responses whose entropy is too high (GTPO)."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.groups import group_size, ids, inside
from pojax.numerics import counts, floating, masked, per_row
from pojax.reductions import masked_mean, pack, row_count, row_mean, unpack

__all__ = ["conflict_weights", "penalize_entropy"]


@writes("conflict_weights")
@checked(weight="[0, inf)", form="{paper, code}")
def conflict_weights(
    tokens: Int[ArrayLike, "B T"],
    mask: Mask,
    advantages: Float[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    *,
    weight: Hyper = 2.0,
    form: str = "paper",
) -> Float[Array, "B T"]:
    """Weight of every token by whether responses of both signs share it: lambda = forward * backward.

    A position is in conflict for a row if its token stands at that position in a row of its group with A > 0 and in one with A < 0.
    forward: in the unbroken run of conflicts from the first token on, `weight` where the row's A > 0, 0 where A < 0; 1 elsewhere, and
    in rows with A = 0. backward: the same with positions counted from the end, so a token of both runs has weight^2 or 0.
    Positions count the row's masked tokens. Zero where mask is 0 and in rows that are out. A constant of the gradient.
    form "code": also divided by the number of the row's tokens in conflict, at least 1, as in the released code.
    Name it as scale="conflict_weights" of the policy's term. All 1 in a group without rows of both signs.
    Raises ValueError for a negative weight or another form.
    Source: GTPO, arXiv 2508.03772, and its released code.
    """
    on = counts(mask) & inside(groups)[:, None]
    advantages = jax.lax.stop_gradient(masked(advantages, inside(groups)))
    length = row_count(on)[:, None]
    column = jnp.arange(on.shape[1])
    forward = pack(tokens, on)
    backward = jnp.take_along_axis(forward, jnp.maximum(length - 1 - column, 0).astype(jnp.int32), axis=1)
    filled = column < length
    positive, negative = advantages > 0.0, advantages < 0.0
    both = jnp.concatenate([forward, backward], axis=1)  # one pass over the group for both directions
    shared = _shared(both, jnp.concatenate([filled, filled], axis=1), positive, negative, groups)
    runs = [jnp.cumprod(part, axis=1) > 0 for part in jnp.split(shared, 2, axis=1)]
    back = jnp.take_along_axis(runs[1], jnp.maximum(length - 1 - column, 0).astype(jnp.int32), axis=1)
    first, last = unpack(runs[0], on), unpack(back, on)
    factor = jnp.where(positive[:, None], per_row(jnp.asarray(weight, advantages.dtype), 2), jnp.where(negative[:, None], 0.0, 1.0))
    weights = jnp.where(first, factor, 1.0) * jnp.where(last, factor, 1.0)
    if form == "code":
        weights = weights / jnp.maximum(row_count((first | last) & (positive | negative)[:, None]), 1.0)[:, None]
    return jnp.where(on, weights, 0.0)


def _shared(
    tokens: Int[Array, "B N"],
    filled: Bool[Array, "B N"],
    positive: Bool[Array, "B"],
    negative: Bool[Array, "B"],
    groups: Int[ArrayLike, "B"],
) -> Bool[Array, "B N"]:
    """Where a row's token stands in the same column of a positive and of a negative row of its group.

    Every row meets the members of its group one after the other, so the work is rows * columns * size of the largest group.
    """
    dense = ids(groups)
    order = jnp.argsort(dense, stable=True)
    ordered = dense[order]
    first = jnp.searchsorted(ordered, dense)
    place = jnp.zeros_like(order).at[order].set(jnp.arange(order.shape[0])) - first  # the row's number in its group
    size = jnp.maximum(group_size(groups), 1.0).astype(jnp.int32)

    def meet(turn: Array, seen: tuple[Array, Array]) -> tuple[Array, Array]:
        other = order[first + (place + turn) % size]
        same = filled & filled[other] & (tokens == tokens[other])
        return seen[0] | (same & positive[other][:, None]), seen[1] | (same & negative[other][:, None])

    in_positive, in_negative = jax.lax.fori_loop(0, jnp.max(size, initial=0), meet, (jnp.zeros_like(filled), jnp.zeros_like(filled)))
    return in_positive & in_negative


@checked(gamma="[0, inf)", threshold="[0, inf]", form="{paper, code}")
def penalize_entropy(
    advantages: Float[ArrayLike, "B"],
    entropy: Float[ArrayLike, "B T"],
    mask: Mask,
    groups: Int[ArrayLike, "B"],
    initial_entropy: Float[ArrayLike, ""] | None = None,
    *,
    gamma: Hyper = 0.1,
    threshold: Hyper | None = None,
    form: str = "paper",
) -> Float[Array, "B"]:
    """Advantage minus the response's entropy, 0 for responses of high entropy: delta_b * (A_b - gamma * H_b), H_b the mean over its tokens.

    delta_b = 1 if the initial policy's mean entropy is above the threshold, else 1 where H_b <= threshold. So a row with A = 0 that is
    not dropped has -gamma * H_b: all its tokens become less likely.
    initial_entropy: the mean over responses of H under the initial policy (the tracker `initial_entropy`, `initial_entropy.value`);
    below 0 or not given: this batch's own, which at the first iteration is the same number.
    gamma: reward per nat. threshold: nats, default ln 2. form "code": rows above the threshold (default 0.7) are always dropped.
    Zero for rows that are out. Raises ValueError for negative gamma or threshold and another form.
    Source: GTPO, arXiv 2508.03772, eq. of the objective, and its released code.
    """
    is_in, h = inside(groups), row_mean(entropy, mask)
    limit = per_row((math.log(2.0) if form == "paper" else 0.7) if threshold is None else threshold, 1)
    used = h <= limit
    if form == "paper":
        initial = masked_mean(h, is_in & (row_count(mask) > 0.0))
        if initial_entropy is not None:
            initial = jnp.where(jnp.asarray(initial_entropy) >= 0.0, initial_entropy, initial)
        used = used | (initial > limit)
    shaped = masked(advantages, is_in) - per_row(gamma, 1) * h
    return floating(jnp.where(is_in & used, shaped, 0.0))
