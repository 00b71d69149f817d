"""Estimates of KL(policy || reference) per sampled token, d = logprob - ref_logprob, named by value and by gradient.

What a term does is what its gradient does. On samples of the current policy the expected gradient is 0 for k1 (useless as a loss),
that of KL(policy || reference) for k2, and that of KL(reference || policy) for k3.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.checks import checked
from pojax.numerics import LARGEST_LOG_RATIO, floating
from pojax.reductions import straight_through

__all__ = ["k1", "k1_value_k2_gradient", "k2", "k3", "k3_value_k2_gradient"]


@checked()
def k1(logprobs: Float[ArrayLike, "B T"], ref_logprobs: Float[ArrayLike, "B T"]) -> Float[Array, "B T"]:
    """The log-ratio: k1 = d, in nats; gradient 1. Unbiased for KL(policy || reference) and of either sign.

    Source: Schulman 2020, "Approximating KL divergence" (joschu.net/blog/kl-approx.html).
    """
    return floating(logprobs) - floating(ref_logprobs)


@checked()
def k2(logprobs: Float[ArrayLike, "B T"], ref_logprobs: Float[ArrayLike, "B T"]) -> Float[Array, "B T"]:
    """Half the squared log-ratio: k2 = d^2 / 2, in nats; gradient d, unbiased for the gradient of KL(policy || reference).

    Source: Schulman 2020, "Approximating KL divergence" (joschu.net/blog/kl-approx.html).
    """
    return 0.5 * k1(logprobs, ref_logprobs) ** 2


@checked()
def k3(logprobs: Float[ArrayLike, "B T"], ref_logprobs: Float[ArrayLike, "B T"]) -> Float[Array, "B T"]:
    """The estimate that is never negative: k3 = exp(-d) - 1 + d, in nats; gradient 1 - exp(-d), that of KL(reference || policy).

    The exponent is clamped to [-20, 20]. Unbiased for KL(policy || reference), with less variance than k1.
    Source: Schulman 2020, "Approximating KL divergence" (joschu.net/blog/kl-approx.html); in the loss: GRPO, arXiv 2402.03300, eq. (4).
    """
    d = k1(logprobs, ref_logprobs)
    return jnp.expm1(jnp.clip(-d, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)) + d


@checked()
def k1_value_k2_gradient(logprobs: Float[ArrayLike, "B T"], ref_logprobs: Float[ArrayLike, "B T"]) -> Float[Array, "B T"]:
    """Straight-through: the value of k1 (unbiased) with the gradient of k2 (unbiased for the gradient of KL(policy || reference)).

    Source: "k1+" of verl (kl_penalty with straight-through gradient); estimators of Schulman 2020, "Approximating KL divergence".
    """
    return straight_through(k1(logprobs, ref_logprobs), k2(logprobs, ref_logprobs))


@checked()
def k3_value_k2_gradient(logprobs: Float[ArrayLike, "B T"], ref_logprobs: Float[ArrayLike, "B T"]) -> Float[Array, "B T"]:
    """Straight-through: the value of k3 (never negative) with the gradient of k2 (unbiased for the gradient of KL(policy || reference)).

    Source: "k3+" of verl (kl_penalty with straight-through gradient); estimators of Schulman 2020, "Approximating KL divergence".
    """
    return straight_through(k3(logprobs, ref_logprobs), k2(logprobs, ref_logprobs))
