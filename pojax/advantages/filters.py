"""Filters: which tokens the losses keep. They read `keep` and only clear it; a cleared token is counted by no divisor."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Mask, writes
from pojax.checks import checked
from pojax.groups import all_equal
from pojax.numerics import counts, masked

__all__ = ["drop_truncated", "drop_uniform_groups"]


@writes("keep")
@checked()
def drop_truncated(keep: Mask, truncated: Shaped[ArrayLike, "B"]) -> Float[Array, "B T"]:
    """Clear the rows that hit the length limit: keep_bt * (1 - truncated_b).

    Source: DAPO, arXiv 2503.14476, section 3.4 (overlong filtering).
    """
    return masked(keep, ~counts(truncated)[:, None])


@writes("keep")
@checked()
def drop_uniform_groups(keep: Mask, rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> Float[Array, "B T"]:
    """Clear the groups that teach nothing: keep_bt where the rewards of row b's group are not all equal, else 0.

    Clears groups of one and rows that are out as well. Rename rewards (rewards="correct") to filter by a component.
    Source: DAPO, arXiv 2503.14476, eq. (11): 0 < number correct < G, applied to the batch at hand.
    """
    return masked(keep, ~all_equal(jnp.asarray(rewards), groups)[:, None])
