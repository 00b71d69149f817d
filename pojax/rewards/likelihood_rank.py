"""Rewards that depend on how likely the policy found a response among its siblings."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import group_rank, group_size, inside
from pojax.numerics import floating, masked, per_row
from pojax.reductions import row_mean

__all__ = ["unlikeliness"]


@checked(coefficient="[0, 1]", form="{paper, code}")
def unlikeliness(
    rewards: Float[ArrayLike, "B"],
    old_logprobs: Float[ArrayLike, "B T"],
    mask: Mask,
    groups: Int[ArrayLike, "B"],
    *,
    coefficient: Hyper = 0.25,
    form: str = "paper",
) -> Float[Array, "B"]:
    """Reward discounted the more, the likelier the response is among its siblings: r'_b = r_b * (1 - coefficient * x_b).

    rank_b = 0 .. G - 1 in the group, ascending in the mean over masked tokens of old_logprobs, right or wrong; ties by row.
    form "paper": x = (rank + 1) / G, so the likeliest loses the whole coefficient (the paper counts ranks from the likeliest); "code":
    x = rank / G, so the least likely loses nothing. A reward of 0 stays 0. Rows that are out get 0.
    A group of right answers has different rewards now, and so a signal; the paper leaves such groups out (`drop_uniform_groups` with
    rewards="correct"). Raises ValueError for another form.
    Source: Rewarding the Unlikely, arXiv 2506.02355, section on the unlikeliness reward, and its released code.
    """
    is_in = inside(groups)
    rank = floating(group_rank(row_mean(old_logprobs, mask), groups)) + (1.0 if form == "paper" else 0.0)
    share = rank / jnp.maximum(group_size(groups), 1.0)
    return masked(rewards, is_in) * (1.0 - per_row(coefficient, 1) * jnp.where(is_in, share, 0.0))
