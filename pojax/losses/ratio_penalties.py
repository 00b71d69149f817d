"""Penalties on how far a token's probability has moved, beside the KL estimates of `pojax.losses.kl`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.checks import checked
from pojax.losses.kl import k3
from pojax.losses.ratios import token_ratio
from pojax.numerics import floating

__all__ = ["absolute_log_ratio", "importance_k3"]


@checked()
def absolute_log_ratio(logprobs: Float[ArrayLike, "B T"], old_logprobs: Float[ArrayLike, "B T"]) -> Float[Array, "B T"]:
    """|logprob - old_logprob| in nats; gradient the sign of the difference, and 0 where there is none.

    Source: KL-Cov, The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models, arXiv 2505.22617 (verl's kl_cov).
    """
    difference = floating(logprobs) - floating(old_logprobs)
    return difference * jax.lax.stop_gradient(jnp.sign(difference))  # JAX's abs has gradient 1 at 0


@checked()
def importance_k3(
    logprobs: Float[ArrayLike, "B T"], old_logprobs: Float[ArrayLike, "B T"], ref_logprobs: Float[ArrayLike, "B T"]
) -> Float[Array, "B T"]:
    """The KL estimate k3 times the ratio: exp(logprob - old_logprob) * k3(logprob, ref_logprob), with gradient through both.

    Its gradient is ratio * (logprob - ref_logprob): on samples of the old policy unbiased for the gradient of KL(policy || reference),
    which k3 alone is not. The log-ratio is clamped to [-20, 20].
    Source: RPG, arXiv 2505.17508 (correction of GRPO's KL term); DeepSeek-V3.2, arXiv 2512.02556; TRL's use_bias_correction_kl.
    """
    return token_ratio(logprobs, old_logprobs) * k3(logprobs, ref_logprobs)
