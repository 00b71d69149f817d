"""Weights from what the update does to the rest of a response (FIPO)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.numerics import LARGEST_LOG_RATIO, counts, floating, log_ratio, masked, per_row
from pojax.reductions import reward_to_go

__all__ = ["future_kl_weight"]

LEAST_SAFE_WEIGHT = 0.8  # of the released code


@writes("future_weight")
@checked(decay="(0, inf]", epsilon="[0, inf)", safety="(0, inf]", delta="(0, inf]")
def future_kl_weight(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    keep: Mask,
    *,
    decay: Hyper = 32.0,
    epsilon: Hyper = 0.2,
    high_only: bool = True,
    safety: Hyper = 4.0,
    delta: Hyper | None = None,
) -> Float[Array, "B T"]:
    """Weight of a token by the discounted log-ratio of its continuation: f_t = clip(exp(F_t), low, 1 + epsilon).

    F_t = sum_(k >= t) g^(k - t) d_k over the kept tokens, with d = logprob - old_logprob and g = 2^(-1 / decay): decay is the distance, in
    columns, at which a token counts half; the sum includes t itself. F is clamped to [-20, 20].
    low = 1 with high_only (what is shipped), else 1 - epsilon (the documented formula). epsilon 0: f is not clipped.
    Where A < 0 and the ratio is above `safety`, f is clipped to [0.8, 1] too. delta: tokens whose ratio is above it do not feed F.
    On policy f = 1. A rule of the optimiser batch; name it as scale="future_weight" of `ppo_clip`, with dual_clip = delta where delta is
    given: the ratio of the unclipped branch stops there. Zero where keep is 0; a constant of the gradient.
    Raises ValueError for decay, safety or delta not above 0, or a negative epsilon.
    Source: FIPO, Future-KL Influenced Policy Optimization, arXiv 2603.19835, and ms-swift's loss_type "fipo".
    """
    on = counts(keep)
    d = jax.lax.stop_gradient(masked(log_ratio(logprobs, old_logprobs), on))
    ratio = jnp.exp(d)
    fed = d if delta is None else jnp.where(ratio > per_row(delta, 2), 0.0, d)
    future = reward_to_go(fed, jnp.ones(on.shape), discount=jnp.exp2(-1.0 / per_row(jnp.asarray(decay, d.dtype), 2)))
    weight = jnp.exp(jnp.clip(future, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))
    width = per_row(jnp.asarray(epsilon, d.dtype), 2)
    weight = jnp.where(width > 0.0, jnp.clip(weight, 1.0 if high_only else 1.0 - width, 1.0 + width), weight)
    negative = per_row(floating(advantages), 2) < 0.0
    weight = jnp.where(negative & (ratio > per_row(safety, 2)), jnp.clip(weight, LEAST_SAFE_WEIGHT, 1.0), weight)
    return jnp.where(on, weight, 0.0)
