"""Corrections for tokens that another distribution sampled than the one whose gradient is taken."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.numerics import LARGEST_LOG_RATIO, counts, floating, masked, per_row

__all__ = ["truncated_importance"]


@writes("importance")
@checked(cap="(0, inf]", level="{token, sequence}")
def truncated_importance(
    start_logprobs: Float[ArrayLike, "B T"],
    rollout_logprobs: Float[ArrayLike, "B T"],
    mask: Mask,
    *,
    cap: Hyper = 2.0,
    level: str = "token",
) -> Float[Array, "B T"]:
    """Truncated importance weight of the learner against the sampler: w = min(exp(start - rollout), cap), 0 where mask is 0.

    level "token": of every token by itself; "sequence": of the whole response, exp(sum_t mask (start - rollout)), at each of its tokens
    (a product of ratios, as in verl and TRL, not a geometric mean). Log-ratios are clamped to [-20, 20]. A constant of the gradient.
    Multiplies the loss after clipping: name it as scale="importance" of the term.
    Raises ValueError for another level, or cap not above 0.
    Source: "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training" (Yao et al. 2025); verl's rollout correction.
    """
    on = counts(mask)
    difference = masked(floating(start_logprobs) - floating(rollout_logprobs), on)
    if level == "sequence":
        difference = jnp.broadcast_to(jnp.sum(difference, axis=1, keepdims=True), difference.shape)
    ratio = jnp.exp(jnp.clip(difference, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))
    return jax.lax.stop_gradient(jnp.where(on, jnp.minimum(ratio, per_row(cap, 2)), 0.0))
