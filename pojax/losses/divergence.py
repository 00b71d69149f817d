"""Trust regions on the change of probability, not of the ratio: rare tokens may move far in ratio, frequent ones may not.

p = exp(logprob) is the current policy's probability of the sampled token, q = exp(rollout_logprob) that of the policy that sampled: there
is no third policy in between.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.losses.ratios import token_ratio
from pojax.numerics import floating, per_row

__all__ = [
    "binary_kl",
    "binary_tv",
    "divergence_gated",
    "dppo_kl",
    "dppo_tv",
    "ipo_intellect",
    "prime_rl",
    "prime_rl_ref_kl",
    "top_k_kl",
    "top_k_tv",
]

SMALLEST_PROBABILITY = 1e-7  # of "any other token": what 1 - 1e-7 leaves, the bound of TRL


def _move(logprobs: Float[ArrayLike, "..."], rollout_logprobs: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """p - q, a constant of the gradient."""
    return jax.lax.stop_gradient(jnp.exp(floating(logprobs)) - jnp.exp(floating(rollout_logprobs)))


def binary_tv(logprobs: Float[ArrayLike, "..."], rollout_logprobs: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Total variation of "this token or another": |p - q|, a constant of the gradient.

    Source: Divergence proximal PO (DPPO), arXiv 2602.04879 (binary approximation).
    """
    return jnp.abs(_move(logprobs, rollout_logprobs))


def binary_kl(logprobs: Float[ArrayLike, "..."], rollout_logprobs: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """KL divergence of "this token or another", in nats: q log(q / p) + (1 - q) log((1 - q) / (1 - p)).

    1 - p and 1 - q are at least 1e-7 inside the logarithm. Source: Divergence proximal PO (DPPO), arXiv 2602.04879 (binary approximation).
    """
    log_p, log_q = floating(logprobs), floating(rollout_logprobs)
    rest = _log_rest(log_q) - _log_rest(log_p)
    return jnp.exp(log_q) * (log_q - log_p) - jnp.expm1(log_q) * rest


def _log_rest(logprobs: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(1 - p); expm1 keeps the digits that 1 - exp(logprob) would lose near p = 1."""
    return jnp.log(jnp.maximum(-jnp.expm1(logprobs), SMALLEST_PROBABILITY))


def top_k_tv(probabilities: Float[ArrayLike, "... K"], rollout_probabilities: Float[ArrayLike, "... K"]) -> Float[Array, "..."]:
    """Total variation of "one of K tokens or another": (sum_K |p - q| + |p_rest - q_rest|) / 2, K the sampler's most probable tokens.

    Source: Divergence proximal PO (DPPO), arXiv 2602.04879 (top-K approximation; the paper's K is 20).
    """
    p, q = floating(probabilities), floating(rollout_probabilities)
    return 0.5 * (jnp.sum(jnp.abs(p - q), axis=-1) + jnp.abs(jnp.sum(p - q, axis=-1)))


def top_k_kl(probabilities: Float[ArrayLike, "... K"], rollout_probabilities: Float[ArrayLike, "... K"]) -> Float[Array, "..."]:
    """KL divergence of "one of K tokens or another", in nats: sum_K q log(q / p) + q_rest log(q_rest / p_rest).

    Probabilities are at least 1e-7 inside the logarithms; q = 0 gives 0.
    Source: Divergence proximal PO (DPPO), arXiv 2602.04879 (top-K approximation; the paper's K is 20).
    """

    def with_rest(x: Float[ArrayLike, "... K"]) -> Float[Array, "..."]:
        x = floating(x)
        return jnp.concatenate([x, jnp.maximum(1.0 - jnp.sum(x, axis=-1, keepdims=True), 0.0)], axis=-1)

    p, q = with_rest(probabilities), with_rest(rollout_probabilities)
    return jnp.sum(q * jnp.log(jnp.maximum(q, SMALLEST_PROBABILITY) / jnp.maximum(p, SMALLEST_PROBABILITY)), axis=-1)


@checked(threshold="[0, inf]", threshold_high="[0, inf]", cap="(0, inf]")
def divergence_gated(
    logprobs: Float[ArrayLike, "B T"],
    rollout_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    divergence: Float[ArrayLike, "B T"],
    *,
    threshold: Hyper,
    threshold_high: Hyper | None = None,
    cap: Hyper = 20.0,
) -> Float[Array, "B T"]:
    """Policy gradient with the capped ratio, without the tokens that moved too far in A's direction: -A sg(min(r, cap)) logprob * keep.

    keep is 0 where A > 0, p > q and divergence > threshold_high, and where A <= 0, p < q and divergence > threshold. divergence: any
    number per token, such as `top_k_tv` of a head's output; a constant of the gradient. threshold_high: by default threshold.
    Dropped tokens stay in the aggregation's divisor. 0 where A is 0. Raises ValueError for a negative threshold or cap not above 0.
    Source: Divergence proximal PO (DPPO), arXiv 2602.04879.
    """
    advantages, divergence = floating(advantages), jax.lax.stop_gradient(floating(divergence))
    low = per_row(threshold, 2)
    high = low if threshold_high is None else per_row(threshold_high, 2)
    move = _move(logprobs, rollout_logprobs)
    dropped = jnp.where(advantages > 0.0, (move > 0.0) & (divergence > high), (move < 0.0) & (divergence > low))
    ratio = jnp.minimum(token_ratio(logprobs, rollout_logprobs), per_row(cap, 2))
    return -jnp.where(dropped, 0.0, advantages * jax.lax.stop_gradient(ratio)) * floating(logprobs)


@checked(threshold="[0, inf]", threshold_high="[0, inf]", cap="(0, inf]")
def dppo_tv(
    logprobs: Float[ArrayLike, "B T"],
    rollout_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    *,
    threshold: Hyper = 0.15,
    threshold_high: Hyper | None = None,
    cap: Hyper = 20.0,
) -> Float[Array, "B T"]:
    """`divergence_gated` by `binary_tv`: tokens whose probability moved by more than threshold in A's direction are left out.

    cap: of the detached ratio (verl's default of 3 is another method; set 20 there). Raises ValueError as `divergence_gated`.
    Source: Divergence proximal PO (DPPO), arXiv 2602.04879; not diffusion policy optimisation.
    """
    divergence = binary_tv(logprobs, rollout_logprobs)
    return divergence_gated(logprobs, rollout_logprobs, advantages, divergence, threshold=threshold, threshold_high=threshold_high, cap=cap)


@checked(threshold="[0, inf]", threshold_high="[0, inf]", cap="(0, inf]")
def dppo_kl(
    logprobs: Float[ArrayLike, "B T"],
    rollout_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    *,
    threshold: Hyper = 0.05,
    threshold_high: Hyper | None = None,
    cap: Hyper = 20.0,
) -> Float[Array, "B T"]:
    """`divergence_gated` by `binary_kl`: tokens whose binary KL divergence exceeds threshold in A's direction are left out.

    threshold is in nats; cap: of the detached ratio (verl's default of 3 is another method; set 20 there).
    Raises ValueError as `divergence_gated`.
    Source: Divergence proximal PO (DPPO), arXiv 2602.04879; not diffusion policy optimisation.
    """
    divergence = binary_kl(logprobs, rollout_logprobs)
    return divergence_gated(logprobs, rollout_logprobs, advantages, divergence, threshold=threshold, threshold_high=threshold_high, cap=cap)


@checked(threshold="[0, inf]", threshold_high="[0, inf]")
def prime_rl(
    logprobs: Float[ArrayLike, "B T"],
    rollout_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    *,
    threshold: Hyper = 0.2,
    threshold_high: Hyper | None = None,
) -> Float[Array, "B T"]:
    """Default loss of prime-rl: -keep * A * r, r = p / q; keep is p - q <= threshold_high where A > 0, else p - q >= -threshold.

    Differentiated through r, which has no cap (the project's docs write one). threshold_high: by default threshold.
    The library adds 1e-3 (logprob - rollout_logprob)^2 on every token, also those that are not kept, as in Kimi K2.5 (arXiv 2602.02276):
    here a term of its own, ("k2", dict(ref_logprobs="rollout_logprobs", scale=2e-3)).
    The log-ratio is clamped to [-20, 20]. 0 where A is 0. Raises ValueError for a negative threshold.
    Source: prime-rl, `default_loss_fn` (Prime Intellect 2026); the gate is that of DPPO, arXiv 2602.04879.
    """
    low = per_row(threshold, 2)
    high = low if threshold_high is None else per_row(threshold_high, 2)
    advantages, move = floating(advantages), _move(logprobs, rollout_logprobs)
    kept = jnp.where(advantages > 0.0, move <= high, move >= -low)
    return -jnp.where(kept, advantages, 0.0) * token_ratio(logprobs, rollout_logprobs)


@checked(threshold="[0, inf]")
def ipo_intellect(
    logprobs: Float[ArrayLike, "B T"],
    rollout_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    *,
    threshold: Hyper = 0.1,
) -> Float[Array, "B T"]:
    """INTELLECT policy optimisation: -keep * A * r, with keep = |p - q| <= threshold, whatever the sign of A.

    threshold: 0.1 in the released code, 0.3 in later documentation. The squared log-ratio is a term of its own, as in `prime_rl`.
    The log-ratio is clamped to [-20, 20]. 0 where A is 0. Raises ValueError for a negative threshold.
    Source: prime-rl, `ipo_loss_fn` (Prime Intellect 2026); not Identity Preference Optimization, arXiv 2310.12036.
    """
    kept = jnp.abs(_move(logprobs, rollout_logprobs)) <= per_row(threshold, 2)
    return -jnp.where(kept, floating(advantages), 0.0) * token_ratio(logprobs, rollout_logprobs)


@checked(threshold="[0, inf]")
def prime_rl_ref_kl(
    logprobs: Float[ArrayLike, "B T"],
    rollout_logprobs: Float[ArrayLike, "B T"],
    ref_logprobs: Float[ArrayLike, "B T"],
    *,
    threshold: Hyper = 0.2,
) -> Float[Array, "B T"]:
    """Distillation by policy gradient: -keep * sg(ref_logprob - logprob) * r, with keep = p - q >= -threshold; reads no reward.

    ref_logprobs: of the teacher. The squared log-ratio is a term of its own, as in `prime_rl`.
    The log-ratio is clamped to [-20, 20]. Raises ValueError for a negative threshold.
    Source: prime-rl, `ref_kl_loss_fn` (Prime Intellect 2026).
    """
    kept = _move(logprobs, rollout_logprobs) >= -per_row(threshold, 2)
    advantages = jax.lax.stop_gradient(floating(ref_logprobs) - floating(logprobs))
    return -jnp.where(kept, advantages, 0.0) * token_ratio(logprobs, rollout_logprobs)
