"""Rejection of what learner and sampler disagree about: unlike a weight of 0, a rejected token leaves the divisor of the loss too."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.advantages.importance import log_weights
from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.numerics import counts, floating, masked, per_row
from pojax.reductions import row_mean, row_sum

__all__ = ["reject_divergent", "veto_improbable"]


@writes("keep")
@checked(high="(0, inf]", low="[0, inf]", criterion="{k1, k2, k3}", level="{token, sum, mean, max}", ratio="{learner, sampler}")
def reject_divergent(
    keep: Mask,
    start_logprobs: Float[ArrayLike, "B T"],
    rollout_logprobs: Float[ArrayLike, "B T"],
    mask: Mask,
    *,
    high: Hyper = 2.0,
    low: Hyper | None = None,
    criterion: str = "k1",
    level: str = "token",
    ratio: str = "learner",
) -> Float[Array, "B T"]:
    """Clear the tokens or rows whose sampled divergence is out of bounds: keep_bt where low <= statistic <= high, else 0.

    With l = start - rollout, clamped to [-20, 20]: k1 = l, whose bounds are ratios, log low <= l <= log high, low by default 1 / high;
    k2 = l^2 / 2 and k3 = exp(l) - 1 - l, which have the upper bound alone, in nats. The default 2 is assumed, for ratios.
    level "token": every token by itself; "sum", "mean" and "max" (k2 and k3 only): over the row's masked tokens, for the whole row.
    Several criteria are several entries; all must hold.
    ratio "learner": k1 bounds learner / sampler; "sampler": sampler / learner, the sign of verl, which differs for bounds that are no
    reciprocals. Geometric rejection ("Geo-RS"): level="mean" with low 0.999 and high 1.001, or k3 with high 0.01.
    Tokens without a score (NaN) are kept and left out of their row's statistic; rows without a masked token stay as they are.
    Raises ValueError for k1 with "max", for k2 and k3 with low, and for bounds out of range.
    Source: verl's rollout correction; "When Speed Kills Stability: Demystifying RL Collapse from the Training-Inference Mismatch" (Li et
    al. 2025).
    """
    if criterion == "k1" and level == "max":
        raise ValueError("reject_divergent: level is 'max' with criterion 'k1', allowed: token, sum, mean")
    if criterion != "k1" and low is not None:
        raise ValueError(f"reject_divergent: low is given with criterion {criterion!r}, allowed: high alone")
    on, l = counts(mask), log_weights(start_logprobs, rollout_logprobs, mask)
    scored = on & ~jnp.isnan(floating(start_logprobs) - floating(rollout_logprobs))
    statistic = {"k1": lambda: l if ratio == "learner" else -l, "k2": lambda: l**2 / 2.0, "k3": lambda: jnp.expm1(l) - l}[criterion]()
    if level != "token":
        rows = {"sum": row_sum, "mean": row_mean, "max": lambda x, where: jnp.max(masked(x, where), axis=1)}[level](statistic, scored)
        statistic = jnp.where(jnp.any(on, axis=1), rows, 0.0)[:, None]
    upper = per_row(high, 2)
    if criterion == "k1":
        lower = 1.0 / upper if low is None else per_row(low, 2)
        within = (statistic >= jnp.log(lower)) & (statistic <= jnp.log(upper))
        within |= jnp.broadcast_to(~scored if level == "token" else ~jnp.any(scored, axis=1, keepdims=True), within.shape)
    else:
        within = statistic <= upper
    return masked(keep, jnp.broadcast_to(within, on.shape))


@writes("keep")
@checked(threshold="[0, 1]")
def veto_improbable(
    keep: Mask, start_logprobs: Float[ArrayLike, "B T"], rollout_logprobs: Float[ArrayLike, "B T"], mask: Mask, *, threshold: Hyper = 1e-4
) -> Float[Array, "B T"]:
    """Clear the rows with a token that the learner finds all but impossible: keep_bt * (min_t exp(start - rollout) >= threshold).

    One masked token below threshold (a ratio) rejects its whole row; tokens without a score (NaN) do not.
    Source: verl's rollout correction before 0.9 (2025), from memory: released code no longer has it.
    """
    lowest = jnp.min(log_weights(start_logprobs, rollout_logprobs, mask), axis=1, keepdims=True)  # 0 where a token does not count
    return masked(keep, lowest >= jnp.log(per_row(threshold, 2)))
