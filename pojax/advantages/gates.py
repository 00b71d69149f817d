"""Importance weights that are cut to 0 where trainer and sampler disagree too much."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.advantages.importance import log_weights
from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.numerics import counts, floating, masked, per_row
from pojax.reductions import row_mean

__all__ = ["divergence_gate"]

EDGE = 1e-6  # probabilities are kept so far from 0 and 1


@writes("importance")
@checked(delta="[0, inf]", divergence="{binary_kl, tv}", level="{token, sequence}")
def divergence_gate(
    start_logprobs: Float[ArrayLike, "B T"],
    rollout_logprobs: Float[ArrayLike, "B T"],
    mask: Mask,
    *,
    delta: Hyper = 0.02,
    divergence: str = "binary_kl",
    level: str = "token",
) -> Float[Array, "B T"]:
    """Importance weight of the learner against the sampler where they nearly agree: exp(start - rollout) where D <= delta, else 0.

    divergence of the sampled token, with p = exp(rollout), q = exp(start) kept in [1e-6, 1 - 1e-6]: "binary_kl",
    D = p log(p / q) + (1 - p) log((1 - p) / (1 - q)), or "tv", D = |p - q|. level: "token", each by itself, or "sequence", the mean over
    the row's masked tokens, which keeps or drops the whole row. delta: in nats for binary_kl, a probability for tv (assumed 0.02).
    The weight is not truncated, and dropped tokens stay in the divisor: name it as scale="importance", so that `where` counts them.
    0 where mask is 0. Tokens without a score (NaN) have D = 0 and weight 1, and are left out of the row's mean (assumed).
    Log-ratios are clamped to [-20, 20]. A constant of the gradient.
    Raises ValueError for another divergence or level, and for a negative delta.
    Source: OpenRLHF is_correction_gating (2026), binary_kl and tv; the binary KL bound as in divergence proximal policy optimisation.
    """
    on = counts(mask)
    scored = on & ~jnp.isnan(floating(start_logprobs) - floating(rollout_logprobs))
    q, p = (jnp.clip(jnp.exp(masked(x, scored)), EDGE, 1.0 - EDGE) for x in (start_logprobs, rollout_logprobs))
    distance = jnp.abs(p - q) if divergence == "tv" else p * jnp.log(p / q) + (1.0 - p) * jnp.log((1.0 - p) / (1.0 - q))
    if level == "sequence":
        distance = row_mean(distance, scored)[:, None]
    weight = jnp.exp(log_weights(start_logprobs, rollout_logprobs, mask))
    return jax.lax.stop_gradient(jnp.where(on & (distance <= per_row(floating(delta), 2)), weight, 0.0))
