"""Difficulty of a prompt relative to what was seen lately."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import writes
from pojax.checks import checked
from pojax.groups import group_mean, inside
from pojax.numerics import floating

__all__ = ["relative_difficulty"]


@writes("relative_difficulty")
@checked()
def relative_difficulty(rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], history: Float[ArrayLike, ""]) -> Float[Array, "B"]:
    """Mean reward of the recent past minus the mean of the row's group: above 0 for hard prompts, in units of reward.

    history: the value of the tracker `reward_history`, history="seen.value". Rows that are out get 0.
    Source: DeepVideo-R1, arXiv 2506.07464, eq. (9).
    """
    return jnp.where(inside(groups), floating(history) - group_mean(rewards, groups), 0.0)
