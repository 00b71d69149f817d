"""What pair losses need: levels of preference, and what a pair weighs in the mean over an optimiser batch."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Int32, Shaped

from pojax.annotations import writes
from pojax.checks import checked
from pojax.groups import group_size, inside, refine
from pojax.numerics import counts

__all__ = ["pair_share", "preference_levels", "unpaired_share"]


@writes("levels")
@checked()
def preference_levels(correct: Shaped[ArrayLike, "B"], format: Shaped[ArrayLike, "B"]) -> Int32[Array, "B"]:
    """Levels from rule checks, 1 the best: 1 right, 2 wrong but well formed, 4 malformed.

    Level 3 (well formed without an answer to judge) needs a verifier that says so: write `levels` by a rule of your own.
    Source: Trust Region Preference Approximation, arXiv 2504.04524, and the levels of its released code for mathematics.
    """
    return jnp.where(counts(correct), 1, jnp.where(counts(format), 2, 4)).astype(jnp.int32)


@writes("pair_share")
@checked()
def pair_share(levels: Int[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> Float[Array, "B"]:
    """1 / (number of pairs of different level inside the groups of the optimiser batch), at every row; 0 where there is no pair.

    A per_minibatch rule: the mean over pairs is a sum of `trpa` times this. levels at least 0.
    Source: Trust Region Preference Approximation, arXiv 2504.04524.
    """
    number = _pairs(levels, groups)
    share = jnp.where(number > 0.0, 1.0 / jnp.maximum(number, 1.0), 0.0)
    return jnp.where(inside(groups), share, 0.0)


@writes("unpaired_share")
@checked()
def unpaired_share(levels: Int[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> Float[Array, "B"]:
    """1 / (number of rows that are in) where the optimiser batch has no pair of different level inside a group, else 0.

    Source: Trust Region Preference Approximation, arXiv 2504.04524, released code.
    """
    is_in = inside(groups)
    share = jnp.where(_pairs(levels, groups) > 0.0, 0.0, 1.0 / jnp.maximum(jnp.sum(is_in), 1.0))
    return jnp.where(is_in, share, 0.0)


def _pairs(levels: Int[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> Float[Array, ""]:
    return jnp.sum(group_size(groups) - group_size(refine(groups, levels))) / 2.0
