"""Losses on pairs of a group that judges made."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import group_sum, inside
from pojax.numerics import floating, per_row
from pojax.reductions import row_mean, row_sum

__all__ = ["codpo"]


@checked(beta="[0, inf)", likelihood="[0, inf)")
def codpo(
    logprobs: Float[ArrayLike, "B T"],
    ref_logprobs: Float[ArrayLike, "B T"],
    mask: Mask,
    role: Int[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    *,
    beta: Hyper = 0.1,
    likelihood: Hyper = 1.0,
) -> Float[Array, "B"]:
    """Preference loss of each group's pair, at its chosen row: -log sigmoid(beta * (d+ - d-)) - likelihood * mean_t logprob+, 0 elsewhere.

    d = sum_t mask (logprob - ref) of the row with role +1 and -1 (`constrained_pairs`); the second term is the chosen response's
    log-likelihood over its length. Reads groups, so that a pair is never cut. Count pairs with where="chosen".
    beta and likelihood are assumed: the paper prints no values.
    Source: CGPO ("The Perfect Blend"), arXiv 2409.20370, constrained online DPO, eq. with the length-normalised likelihood.
    """
    role = jnp.where(inside(groups), jnp.asarray(role), 0)
    used = (role != 0)[:, None] & (jnp.asarray(mask) != 0)
    margin = group_sum(role * row_sum(floating(logprobs) - floating(ref_logprobs), used), groups)
    loss = jax.nn.softplus(-per_row(beta, 1) * margin) - per_row(likelihood, 1) * row_mean(logprobs, used)
    return jnp.where(role > 0, loss, 0.0)
