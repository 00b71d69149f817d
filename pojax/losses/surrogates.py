"""Policy-gradient surrogates: values per token, nothing averaged; masking and division happen once, by the aggregation."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.numerics import floating, log_ratio, per_row

__all__ = ["policy_gradient", "ppo_clip"]


@checked()
def policy_gradient(logprobs: Float[ArrayLike, "B T"], advantages: Float[ArrayLike, "B T"]) -> Float[Array, "B T"]:
    """Score-function surrogate: -A * logprob, whose gradient is -A; no ratio, no clip.

    Source: REINFORCE (Williams 1992, "Simple statistical gradient-following algorithms").
    """
    return -floating(advantages) * floating(logprobs)


@checked(epsilon="[0, inf]", epsilon_high="[0, inf]", dual_clip="(1, inf]")
def ppo_clip(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    *,
    epsilon: Hyper = 0.2,
    epsilon_high: Hyper | None = None,
    dual_clip: Hyper | None = None,
) -> Float[Array, "B T"]:
    """Clipped surrogate: max(-ratio * A, -clip(ratio, 1 - epsilon, 1 + epsilon_high) * A), ratio = exp(logprob - old_logprob).

    The gradient is -ratio * A, and 0 where A > 0 and ratio > 1 + epsilon_high, or A < 0 and ratio < 1 - epsilon.
    epsilon_high: by default epsilon; larger is "clip-higher" (DAPO, arXiv 2503.14476, eq. 10).
    dual_clip: c > 1 bounds the loss by -c * A where A < 0, without gradient beyond (arXiv 1912.09729, eq. 5).
    The log-ratio is clamped to [-20, 20]. Raises ValueError for a negative epsilon, or dual_clip not above 1.
    Source: PPO, arXiv 1707.06347, eq. (7).
    """
    low = per_row(epsilon, 2)
    high = low if epsilon_high is None else per_row(epsilon_high, 2)
    ratio, advantages = jnp.exp(log_ratio(logprobs, old_logprobs)), floating(advantages)
    plain, clipped = -ratio * advantages, -jnp.clip(ratio, 1.0 - low, 1.0 + high) * advantages
    # Not maximum: it splits the gradient of a tie, and at the edge of the interval half of it would be lost.
    loss = jnp.where(clipped > plain, clipped, plain)
    if dual_clip is not None:
        bound = -per_row(dual_clip, 2) * advantages
        loss = jnp.where((advantages < 0.0) & (loss > bound), bound, loss)
    return loss
