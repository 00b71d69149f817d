"""Policy-gradient surrogates: values per token, nothing averaged; masking and division happen once, by the aggregation."""

from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.losses.ratios import clipped_surrogate, dual_clipped, interval, token_ratio
from pojax.numerics import floating

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
    low, high = interval(epsilon, epsilon_high)
    advantages = floating(advantages)
    loss = clipped_surrogate(token_ratio(logprobs, old_logprobs), advantages, low, high)
    return dual_clipped(loss, advantages, bound=dual_clip)
