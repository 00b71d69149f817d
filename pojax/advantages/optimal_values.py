"""The optimal value of a prompt under KL regularisation, from rewards of samples."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper, writes
from pojax.checks import checked
from pojax.groups import group_log_mean_exp, group_mean, inside
from pojax.numerics import per_row

__all__ = ["a_star_value"]


@writes("v_star")
@checked()
def a_star_value(rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, beta: Hyper = 0.5) -> Float[Array, "B"]:
    """V* of the group's prompt: beta * log(mean over the group of exp(r / beta)), in units of reward.

    The rewards are those of samples of the reference. Between the mean (beta to infinity) and the largest (beta to 0). As in the released
    code, beta = 0 gives the mean all the same, and a negative beta gives 0. A group of one has its own reward; rows that are out get 0.
    Source: A*-PO, arXiv 2505.20686, algorithm 1 (first stage), and its released code (beta of 0 and below).
    """
    beta = per_row(beta, 1)
    safe = jnp.where(beta > 0.0, beta, 1.0)
    soft = safe * group_log_mean_exp(jnp.where(inside(groups), jnp.asarray(rewards), 0.0) / safe, groups)
    return jnp.where(beta > 0.0, soft, jnp.where(beta == 0.0, group_mean(rewards, groups), 0.0))
