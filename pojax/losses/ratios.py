"""What losses of the ratio are made of: its interval, the clip that is pessimistic, the clip that keeps a gradient, the dual clip.

Named parts for losses, which say what they do with them; they look at no mask.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from pojax.annotations import Hyper
from pojax.numerics import floating, log_ratio, per_row
from pojax.reductions import straight_through

__all__ = ["beyond", "clipped_surrogate", "dual_clipped", "interval", "token_ratio", "unit_with_gradient"]


def token_ratio(logprobs: Float[ArrayLike, "B T"], old_logprobs: Float[ArrayLike, "B T"]) -> Float[Array, "B T"]:
    """r = exp(logprob - old_logprob), the log-ratio clamped to [-20, 20]."""
    return jnp.exp(log_ratio(logprobs, old_logprobs))


def interval(epsilon: Hyper, epsilon_high: Hyper | None, rank: int = 2) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """(1 - epsilon, 1 + epsilon_high) for ratios per token (rank 2) or per response (rank 1); epsilon_high is epsilon where it is None."""
    low = floating(per_row(epsilon, rank))
    high = low if epsilon_high is None else floating(per_row(epsilon_high, rank))
    return 1.0 - low, 1.0 + high


def clipped_surrogate(
    ratio: Float[Array, "..."], advantages: Float[Array, "..."], low: Float[ArrayLike, "..."], high: Float[ArrayLike, "..."]
) -> Float[Array, "..."]:
    """max(-r A, -clip(r, low, high) A): the gradient is cut strictly beyond the bound in the direction of A, and nowhere else."""
    plain, clipped = -ratio * advantages, -jnp.clip(ratio, low, high) * advantages
    # Not maximum: it splits the gradient of a tie, and at the edge of the interval half of it would be lost.
    return jnp.where(clipped > plain, clipped, plain)


def dual_clipped(loss: Float[Array, "..."], advantages: Float[Array, "..."], *, bound: Hyper | None) -> Float[Array, "..."]:
    """Where A < 0, the loss is at most -bound * A, without gradient beyond (arXiv 1912.09729, eq. 5); as it is where bound is None."""
    if bound is None:
        return loss
    limit = -per_row(bound, loss.ndim) * advantages
    return jnp.where((advantages < 0.0) & (loss > limit), limit, loss)


def beyond(
    ratio: Float[Array, "..."], advantages: Float[Array, "..."], low: Float[ArrayLike, "..."], high: Float[ArrayLike, "..."]
) -> tuple[Bool[Array, "..."], Bool[Array, "..."]]:
    """Where PPO's clip cuts the gradient: (r < low and A < 0, r > high and A > 0)."""
    return (ratio < low) & (advantages < 0.0), (ratio > high) & (advantages > 0.0)


def unit_with_gradient(logprobs: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """r / sg(r) = exp(logprob - sg(logprob)): exactly 1, with gradient 1. A constant times it keeps a gradient of the constant's size."""
    logprobs = floating(logprobs)
    return straight_through(jnp.ones_like(logprobs), logprobs)
