"""A surrogate whose ratio is the product over the whole response."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.losses.ratios import clipped_surrogate, interval
from pojax.reductions import per_response, sequence_log_ratio

__all__ = ["sequence_ppo_clip"]


@checked(epsilon="[0, inf]", epsilon_high="[0, inf]")
def sequence_ppo_clip(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    mask: Mask,
    *,
    epsilon: Hyper = 0.2,
    epsilon_high: Hyper | None = None,
) -> Float[Array, "B"]:
    """One clip per response: max(-s A, -clip(s, 1 - epsilon, 1 + epsilon_high) A), s_b = exp(sum over the row's tokens of the log-ratio).

    s is the product of the token ratios, so it moves in proportion to length (`gspo` takes the geometric mean instead). Where it is not
    clipped, every token of a row has the gradient -s_b A_b. The mean over responses: aggregate "sequence_mean" (TRL counts empty rows too).
    epsilon_high: by default epsilon. Advantages per token are averaged over the row. The log-ratio is clamped to [-20, 20].
    Raises ValueError for a negative epsilon.
    Source: TRL RLOOTrainer (2025); a whole response as one action as in Back to Basics (RLOO), arXiv 2402.14740.
    """
    low, high = interval(epsilon, epsilon_high, rank=1)
    ratio = jnp.exp(sequence_log_ratio(logprobs, old_logprobs, mask))
    return clipped_surrogate(ratio, per_response(advantages, mask), low, high)
