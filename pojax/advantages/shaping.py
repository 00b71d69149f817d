"""Advantages shaped by where in the response something happens (ASPO)."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.groups import group_mean, inside
from pojax.numerics import counts, floating, masked, per_row

__all__ = ["first_marker", "shape_by_position"]


@writes("marker_position", "has_marker")
@checked()
def first_marker(tokens: Int[ArrayLike, "B T"], mask: Mask, *, token: int) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """Where the first token with the id `token` stands among the row's masked tokens, counted from 0, and 1 if there is one, else 0.

    The position is 0 where there is none. A task whose verifier knows more (the first call of a tool) gives both as components.
    Source: position of the first code call in ASPO, arXiv 2508.19201, section 4.
    """
    on = counts(mask)
    found = on & (jnp.asarray(tokens) == token)
    place = jnp.cumsum(on, axis=1) - 1
    has = jnp.any(found, axis=1)
    first = jnp.min(jnp.where(found, place, on.shape[1]), axis=1)
    return floating(jnp.where(has, first, 0)), floating(has)


@checked(cap="[0, 1)")
def shape_by_position(
    advantages: Float[ArrayLike, "B"],
    marker_position: Float[ArrayLike, "B"],
    has_marker: Shaped[ArrayLike, "B"],
    correct: Shaped[ArrayLike, "B"],
    lengths: Shaped[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    *,
    delta: Hyper = -2.0,
    cap: Hyper = 0.7,
) -> Float[Array, "B"]:
    """Advantage plus a bounded bias for an early marker: A + clip(delta * (p - mean p) / mean L, -cap * A, cap * A).

    Over the group's responses that are correct and have the marker, with p its position and L the response's length, in tokens; all other
    responses keep A. delta < 0 favours early markers. cap below 1, so that the sign of A never flips; where A < 0 the bounds
    cross and the upper one, cap * A, is what is added.
    No change where A = 0 (a group whose responses are all correct) and where at most one response of the group qualifies. 0 for rows out.
    Raises ValueError for a cap outside [0, 1).
    Source: ASPO, Understanding Tool-Integrated Reasoning, arXiv 2508.19201, eq. (2).
    """
    is_in = inside(groups)
    a = masked(advantages, is_in)
    counted = is_in & counts(has_marker) & (masked(correct, is_in) > 0.0)
    members = jnp.where(counted, jnp.asarray(groups), -1)
    position, length = masked(marker_position, counted), group_mean(masked(lengths, counted), members)
    bias = per_row(delta, 1) * (position - group_mean(position, members)) / jnp.where(length > 0.0, length, 1.0)
    bound = per_row(cap, 1) * a
    return a + jnp.where(counted, jnp.minimum(jnp.maximum(bias, -bound), bound), 0.0)
