"""Retempered rows in the place of fresh ones: entropy held at a target by what is learned from, not by a term of the loss."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.groups import inside
from pojax.numerics import counts, masked, per_row
from pojax.reductions import one_number

__all__ = ["swap_in_retempered"]


@writes("advantages", "keep")
@checked(threshold="(-inf, inf)", most="[0, inf)", form="{paper, code}")
def swap_in_retempered(
    advantages: Float[ArrayLike, "B"],
    rewards: Float[ArrayLike, "B"],
    keep: Mask,
    retempered: Shaped[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    above: Shaped[ArrayLike, ""],
    *,
    threshold: Hyper = 0.05,
    most: Hyper = 60.0,
    form: str = "paper",
) -> tuple[Float[Array, "B"], Float[Array, "B T"]]:
    """Advantages and keep of a batch with retempered rows (arrangement `retempered`, whose rows come behind the fresh ones).

    form "paper": every retempered row is learned from with its reward as the advantage, beside all fresh rows; the coefficient alpha is
    the scale of a term of their own (where="retempered").
    form "code": of the retempered rows whose advantage is above `threshold`, the first n = min(most, how many there are) get advantage 1
    and take the place of the first n fresh rows, which are cleared; the other retempered rows are cleared too. n is halved (rounded down)
    where `above` is true: the entropy is above its target. With n = 0 this is the method without retempered rows.
    A swapped-out row still had its part in its group's advantages. Rows that are out have advantage 0 and are never counted.
    above: of the table `entropy_target` (above="entropy_control.above"). Raises ValueError for another form.
    Source: AEPO, arXiv 2510.08141, and its released code (threshold 0.05, 60 rows).
    """
    is_in, added = inside(groups), counts(retempered)
    fresh, extra = is_in & ~added, is_in & added
    advantages = masked(advantages, is_in)
    if form == "paper":
        return jnp.where(extra, masked(rewards, is_in), advantages), masked(keep, is_in[:, None])
    good = extra & (advantages > per_row(threshold, 1))
    n = jnp.minimum(jnp.sum(good), one_number(most))
    n = jnp.floor(jnp.where(counts(above), n / 2.0, n))
    taken = good & (jnp.cumsum(good) <= n)
    left = fresh & (jnp.cumsum(fresh) > n)
    return jnp.where(taken, 1.0, advantages), masked(keep, (taken | left)[:, None])
