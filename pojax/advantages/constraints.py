"""Coefficients of constraints: functions of one mean over the optimiser batch, so they are per_minibatch rules, constants of the gradient.

Each is the derivative of a function f of a mean D; a term whose value is averaged to D, scaled by f'(D), has the gradient of f(D).
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.losses.kl import k3
from pojax.losses.occupancy import response_divergence
from pojax.numerics import floating, per_row
from pojax.reductions import masked_mean, row_count

__all__ = ["chi2_root", "kl_hinge", "kl_root"]


@writes("hinge")
@checked(beta="[0, inf)")
def kl_hinge(
    logprobs: Float[ArrayLike, "B T"], old_logprobs: Float[ArrayLike, "B T"], keep: Mask, *, beta: Hyper = 1e3, delta: Hyper = 1e-4
) -> Float[Array, "B"]:
    """Slope of a squared hinge on the divergence from the old policy: max(beta (D - delta), 0), D = mean over kept tokens of old - logprob.

    D estimates KL(old || policy) in nats; it may be negative, and the slope is exactly 0 below delta. Scaling the term
    k1(old_logprobs, logprobs) by it, aggregated by token_mean, has the gradient of beta / 2 max(D - delta, 0)^2. One number, at every row.
    beta: penalty per squared nat; delta: the divergence that is free, in nats. Raises ValueError for a negative beta.
    Source: DisCO, arXiv 2505.12366 (the constraint by a squared hinge).
    """
    distance = masked_mean(floating(old_logprobs) - floating(logprobs), keep)
    return jnp.maximum(per_row(beta, 1) * (distance - per_row(delta, 1)), 0.0) * jnp.ones(jnp.shape(keep)[0])


@writes("root_slope")
@checked(offset="(0, inf)")
def kl_root(
    logprobs: Float[ArrayLike, "B T"], old_logprobs: Float[ArrayLike, "B T"], keep: Mask, *, offset: Hyper = 0.25
) -> Float[Array, "B"]:
    """Slope of sqrt(D + offset), D = mean over kept tokens of k3(policy || old): 1 / (2 sqrt(D + offset)).

    Scaling a term k3 to the old policy, aggregated by token_mean, by it has the gradient of sqrt(D + offset). One number, at every row.
    Raises ValueError for offset not above 0. Source: TRPA, arXiv 2504.04524, released code (use_sqrt_trkl).
    """
    distance = masked_mean(k3(logprobs, old_logprobs), keep)
    return 0.5 / jnp.sqrt(distance + per_row(offset, 1)) * jnp.ones(jnp.shape(keep)[0])


@writes("chi2_slope")
@checked(floor="(0, inf)")
def chi2_root(
    logprobs: Float[ArrayLike, "B T"], ref_logprobs: Float[ArrayLike, "B T"], mask: Mask, keep: Mask, *, floor: Hyper = 1e-4
) -> Float[Array, "B"]:
    """Slope of sqrt(max(D, floor)), D = mean over responses of `response_divergence` (chi2): 1 / (2 sqrt(D)), and 0 where D <= floor.

    Scaling that term, aggregated by sequence_mean, by it has the gradient of sqrt(max(D, floor)) on the whole optimiser batch; what is
    logged is half of it. One number, at every row. A response counts where a token of it is kept.
    Raises ValueError for floor not above 0.
    Source: Correlated Proxies (ORPO), arXiv 2403.03185, released code of the language-model experiments.
    """
    divergence = masked_mean(response_divergence(logprobs, ref_logprobs, mask), row_count(keep) > 0.0)
    floor = per_row(floor, 1)
    above = divergence > floor
    return jnp.where(above, 0.5 / jnp.sqrt(jnp.where(above, divergence, 1.0)), 0.0) * jnp.ones(jnp.shape(keep)[0])
