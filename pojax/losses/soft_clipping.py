"""Surrogates per token with a smooth trust region in place of a clip."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.losses.ratios import token_ratio
from pojax.numerics import floating, per_row

__all__ = ["sapo", "spo_simple"]


@checked(tau="(0, inf)", tau_negative="(0, inf)")
def sapo(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    *,
    tau: Hyper = 1.0,
    tau_negative: Hyper = 1.05,
) -> Float[Array, "B T"]:
    """Sigmoid gate around ratio 1: -(4 / tau) sigmoid(tau (r - 1)) * A; tau where A > 0, tau_negative where A <= 0.

    The gradient is -A r sech^2(tau (r - 1) / 2): the policy gradient at r = 1, and 0 towards both ends. A larger tau is steeper.
    The value at r = 1 is -2 A / tau, not -A: do not compare it with PPO's. It is bounded by 4 |A| / tau. 0 where A is 0.
    Raises ValueError for tau not above 0.
    Source: SAPO, arXiv 2511.20347.
    """
    advantages = floating(advantages)
    steepness = jnp.where(advantages > 0.0, per_row(tau, 2), per_row(tau_negative, 2))
    gate = jax.nn.sigmoid(steepness * (token_ratio(logprobs, old_logprobs) - 1.0))
    return -4.0 / steepness * gate * advantages


@checked(epsilon="(0, inf)")
def spo_simple(
    logprobs: Float[ArrayLike, "B T"], old_logprobs: Float[ArrayLike, "B T"], advantages: Float[ArrayLike, "B T"], *, epsilon: Hyper = 0.2
) -> Float[Array, "B T"]:
    """Quadratic penalty in place of the clip: -(A r - |A| (r - 1)^2 / (2 epsilon)).

    Its optimum is r = 1 + sign(A) epsilon, the edge of PPO's interval; beyond it the gradient points back and never vanishes.
    It grows with the square of the ratio, whose logarithm is clamped to [-20, 20]. 0 where A is 0.
    Raises ValueError for epsilon not above 0.
    Source: Simple Policy Optimization (SPO), arXiv 2401.16025; not Single-stream Policy Optimization.
    """
    ratio, advantages = token_ratio(logprobs, old_logprobs), floating(advantages)
    return -(advantages * ratio - jnp.abs(advantages) * (ratio - 1.0) ** 2 / (2.0 * per_row(epsilon, 2)))
