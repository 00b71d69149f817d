"""Negative-aware fine-tuning: likelihood of right answers, and of the policy that wrong answers imply."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import group_mean, inside
from pojax.numerics import counts, floating, per_row
from pojax.reductions import row_sum, straight_through

__all__ = ["nft", "nft_sequence"]

LARGEST_LOG_RATIO = 10.0  # of the released code: its exponential stays below 22027
RATES = (0.02, 0.98)  # of the released code: success rates are clamped to this interval


@checked(neg_weight="[0, inf)", clamp_negative="(0, inf)", clamp_positive="[0, inf)", normalize="{0, 1, 2}")
def nft(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    correct: Shaped[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    *,
    neg_weight: Hyper = 1.0,
    clamp_negative: Hyper = 1.0,
    clamp_positive: Hyper = 0.0,
    normalize: int = 1,
) -> Float[Array, "B T"]:
    """Likelihood of right answers, and of the implicit negative policy on wrong ones, per token.

    Right: -w log max(R, clamp_positive); wrong: -w neg_weight log max((1 - q R) / (1 - q), clamp_negative). Both maxima are
    straight-through: the value of the maximum, the gradient of what was clamped. R = exp(min(logprob - old, 10)); q = mean of `correct`
    (0 or 1) in the group, clamped to [0.02, 0.98].
    w = 1 for normalize 0, 1 - q for 1 (the paper), sqrt((1 - q) / q) for 2. On policy the gradient is -w for right answers and
    w q / (1 - q) for wrong ones: that of Dr. GRPO for normalize 1, of GRPO with the population's deviation for 2.
    neg_weight: of wrong answers; 0 is rejection-sampling fine-tuning. Released code: the sum over tokens / 1000, aggregate="token_sum" with
    scale=1e-3; the text averages over tokens. Groups that are all right or all wrong have extreme weights: filter them
    (`drop_uniform_groups`), as the released code demands. Zero for rows that are out.
    Raises ValueError for a negative weight or clamp (clamp_negative must be above 0), and for another normalize.
    Source: NFT, "Bridging Supervised Learning and Reinforcement Learning in Math Reasoning", arXiv 2505.18116, and its released code.
    """
    is_in = inside(groups)[:, None]
    difference = jnp.where(is_in, floating(logprobs) - floating(old_logprobs), 0.0)
    hypers = _Hypers(*(per_row(x, 2) for x in (neg_weight, clamp_negative, clamp_positive)))
    loss = _implicit_likelihood(difference, _column(correct), _column(group_mean(correct, groups)), hypers, normalize)
    return jnp.where(is_in, loss, 0.0)


@checked(neg_weight="[0, inf)", clamp_negative="(0, inf)", clamp_positive="[0, inf)", normalize="{0, 1, 2}")
def nft_sequence(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    correct: Shaped[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    mask: Mask,
    *,
    neg_weight: Hyper = 1.0,
    clamp_negative: Hyper = 1.0,
    clamp_positive: Hyper = 0.0,
    normalize: int = 1,
) -> Float[Array, "B"]:
    """`nft` with the ratio of whole responses, R = exp(min(sum_t mask (logprob - old), 10)): one number per response.

    Released code adds the responses up (aggregate="token_sum"). Hyper-parameters, degenerate inputs and errors as `nft`.
    Source: NFT, arXiv 2505.18116, released code (ratio_type "sequence").
    """
    on = counts(mask) & inside(groups)[:, None]
    difference = row_sum(floating(logprobs) - floating(old_logprobs), on)
    hypers = _Hypers(*(per_row(x, 1) for x in (neg_weight, clamp_negative, clamp_positive)))
    loss = _implicit_likelihood(difference, floating(correct), group_mean(correct, groups), hypers, normalize)
    return jnp.where(inside(groups), loss, 0.0)


class _Hypers(NamedTuple):
    neg_weight: Array
    clamp_negative: Array
    clamp_positive: Array


def _column(x: Shaped[ArrayLike, "B"]) -> Float[Array, "B 1"]:
    return floating(x)[:, None]


def _implicit_likelihood(difference: Array, correct: Array, rate: Array, hypers: _Hypers, normalize: int) -> Array:
    """The loss of log-ratios of any shape; everything else broadcasts against them."""
    neg_weight, clamp_negative, clamp_positive = hypers
    rate = jnp.clip(rate, *RATES)
    log_ratio = jnp.minimum(difference, LARGEST_LOG_RATIO)
    ratio = jnp.exp(log_ratio)
    negative = (1.0 - rate * ratio) / (1.0 - rate)
    bound = jnp.maximum(negative, clamp_negative)
    negative_loss = -jnp.log(straight_through(bound, negative))
    # -log(max(R, c)) with the gradient of R / max(R, c), written so that R may underflow to 0 where nothing is clamped.
    floor = jnp.where(clamp_positive > 0.0, jnp.log(jnp.where(clamp_positive > 0.0, clamp_positive, 1.0)), -jnp.inf)
    kept = jax.lax.stop_gradient(jnp.exp(jnp.where(log_ratio < floor, log_ratio - floor, 0.0)))
    positive_loss = -straight_through(jnp.maximum(log_ratio, floor), kept * log_ratio)
    weight = {0: jnp.ones_like(rate), 1: 1.0 - rate, 2: jnp.sqrt((1.0 - rate) / rate)}[normalize]
    return weight * jnp.where(correct > 0.5, positive_loss, neg_weight * negative_loss)
