"""Divergence from the reference policy as part of the reward: constants of the gradient, taken under the policy that sampled."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.numerics import floating, masked, per_row

__all__ = ["sequence_kl_penalty", "token_kl_penalty"]


@checked()
def sequence_kl_penalty(
    rewards: Float[ArrayLike, "B"],
    old_logprobs: Float[ArrayLike, "B T"],
    ref_logprobs: Float[ArrayLike, "B T"],
    mask: Mask,
    *,
    coefficient: Hyper,
) -> Float[Array, "B"]:
    """Reward minus the response's log-ratio to the reference: r_b - coefficient * sum_t mask (old - ref).

    The sum is the k1 estimate of KL(old || ref), unbiased, so the penalty may be negative for a single response.
    coefficient is in units of reward per nat.
    Source: Back to Basics (RLOO), arXiv 2402.14740, section 3.1.
    """
    difference = masked(floating(old_logprobs) - floating(ref_logprobs), mask)
    return floating(rewards) - per_row(coefficient, 1) * jnp.sum(difference, axis=1)


@writes("token_rewards")
@checked()
def token_kl_penalty(
    old_logprobs: Float[ArrayLike, "B T"], ref_logprobs: Float[ArrayLike, "B T"], mask: Mask, *, coefficient: Hyper
) -> Float[Array, "B T"]:
    """Dense reward of every token: -coefficient * (old - ref) where mask is 1, else 0; the k1 estimate of KL(old || ref) per token.

    coefficient is in units of reward per nat. Written to token_rewards, which the rules for advantages may read.
    Source: Fine-Tuning Language Models from Human Preferences, arXiv 1909.08593, eq. (2), per token.
    """
    return -per_row(coefficient, 2) * masked(floating(old_logprobs) - floating(ref_logprobs), mask)
