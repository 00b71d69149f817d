"""Responses that are too far from what sampled them to be pushed down."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.numerics import counts, floating, per_row
from pojax.reductions import per_response, row_mean

__all__ = ["off_policy_keep"]


@writes("off_policy_keep")
@checked()
def off_policy_keep(
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    logprobs: Float[ArrayLike, "B T"],
    rollout_logprobs: Float[ArrayLike, "B T"],
    keep: Mask,
    *,
    delta: Hyper = 0.5,
) -> Float[Array, "B"]:
    """0 for responses that are bad and far from the sampler, else 1: 0 where A < 0 and mean_t(rollout_logprob - logprob) > delta.

    The mean runs over the row's kept tokens, in nats; logprobs are the current policy's, so the rule is one of the optimiser batch.
    delta: the paper gives none; 0.5 is TRL's suggestion. rollout_logprobs: where the sampler's are not known, rename to "old_logprobs".
    As scale="off_policy_keep" of the surrogate the row stays in the divisor and its KL stays (TRL); as where="off_policy_keep" of the
    terms the row leaves the divisor, and of the KL term too (ms-swift takes it out of the mask).
    Rows without kept tokens are kept; on the policy that sampled, all are where delta >= 0. A difference that is no number says nothing
    (counts 0). A constant of the gradient.
    Source: DeepSeek-V3.2, arXiv 2512.02556, off-policy sequence masking; TRL's off_policy_mask_threshold.
    """
    difference = jax.lax.stop_gradient(floating(rollout_logprobs) - floating(logprobs))
    difference = jnp.where(counts(keep) & ~jnp.isnan(difference), difference, 0.0)
    far = row_mean(difference, keep) > per_row(delta, 1)
    return floating(~((per_response(jax.lax.stop_gradient(floating(advantages)), keep) < 0.0) & far))
