"""Bellman residuals of a policy whose logits are soft Q-values."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.numerics import counts, floating, per_row
from pojax.reductions import row_sum

__all__ = ["tbrm"]


@checked(beta="(0, inf)")
def tbrm(
    logprobs: Float[ArrayLike, "B T"],
    log_partition: Float[ArrayLike, "B T"],
    ref_logprobs: Float[ArrayLike, "B T"],
    rewards: Float[ArrayLike, "B"],
    mask: Mask,
    ref_log_partition: Float[ArrayLike, "B T"] | None = None,
    *,
    beta: Hyper = 0.002,
) -> Float[Array, "B"]:
    """Square of the sum of Bellman residuals along the response: (V(s_1) + sum_t mask (logprob - ref) - r / beta)^2.

    V(s_1) = logsumexp of the raw logits before the first token = its log_partition, so that V(s_1) + the first logprob is the raw logit
    of that token. The outputs must be those of temperature 1. Gradients flow through V and all logprobs; one response per prompt will do.
    ref_log_partition: given by name, V_ref(s_1) is subtracted, so that the residual of the reference with reward 0 is 0 (not in the
    paper; a follow-up's objection). beta is in units of reward per nat. A response without tokens has loss 0.
    Raises ValueError for beta not above 0. Source: TBRM, arXiv 2505.15311, eq. (4) and algorithm 1.
    """
    on = counts(mask)
    first = on & (jnp.cumsum(on, axis=1) == 1)
    value = row_sum(log_partition, first)
    if ref_log_partition is not None:
        value = value - row_sum(ref_log_partition, first)
    residual = value + row_sum(floating(logprobs) - floating(ref_logprobs), on) - floating(rewards) / per_row(beta, 1)
    return jnp.where(jnp.any(on, axis=1), residual**2, 0.0)
