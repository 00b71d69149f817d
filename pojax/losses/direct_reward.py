"""Regression of the reward on the log-ratio to the reference."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.numerics import counts, floating, masked, per_row
from pojax.reductions import row_sum

__all__ = ["dro_v"]


@checked(tau="[0, inf)")
def dro_v(
    logprobs: Float[ArrayLike, "B T"],
    ref_logprobs: Float[ArrayLike, "B T"],
    values: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    rewards: Float[ArrayLike, "B"],
    mask: Mask,
    *,
    tau: Hyper,
) -> Float[Array, "B"]:
    """Half the squared residual of reward, value and log-ratio: 1/2 (r_b - V_b - tau sum_t mask (logprob - ref_logprob))^2.

    At its minimum pi is the optimal policy of reward minus tau KL(pi || ref), and V its value; so V is trained by the same loss and is
    no mere baseline: the responses may come from any policy. values: [B, T] of the value role, of which the prompt's counts, that
    before the first masked token; or [B], one number per row, such as a table's. tau is in units of reward per nat.
    Nothing is clamped. A row without tokens has 1/2 (r_b - V_b)^2, or with values [B, T] 1/2 r_b^2. Raises ValueError for a negative tau.
    The token form of libraries (verl, Tinker) is two terms: ("policy_gradient", {}) and
    ("k2", dict(ref_logprobs="old_logprobs", scale=beta)).
    Source: Direct Reward Optimisation (DRO), arXiv 2405.19107, section 3 (DRO-V).
    """
    on, values = counts(mask), jnp.asarray(values)
    if values.ndim == 2:
        values = jnp.take_along_axis(masked(values, on), jnp.argmax(on, axis=1)[:, None], axis=1)[:, 0]
    log_ratio = row_sum(floating(logprobs) - floating(ref_logprobs), on)
    return 0.5 * (floating(rewards) - floating(values) - per_row(tau, 1) * log_ratio) ** 2
