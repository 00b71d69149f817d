"""Surrogates whose ratio is that of the whole response."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.losses.ratios import clipped_surrogate, interval, unit_with_gradient
from pojax.numerics import LARGEST_LOG_RATIO, counts, floating, log_ratio, masked, per_row
from pojax.reductions import per_response, row_count, row_mean, sequence_log_ratio

__all__ = ["gmpo", "gspo", "gspo_token", "luspo", "vespo"]


@checked(epsilon="[0, inf]", epsilon_high="[0, inf]")
def gspo(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    mask: Mask,
    *,
    epsilon: Hyper = 3e-4,
    epsilon_high: Hyper = 4e-4,
) -> Float[Array, "B"]:
    """One clip per response: max(-s A, -clip(s, 1 - epsilon, 1 + epsilon_high) A), s_b = exp(mean over the row's tokens of the log-ratio).

    Where it is not clipped, every token of a row has the gradient -s_b A_b / n_b. The bounds are small because s is a geometric mean.
    The paper's objective is the mean over responses: aggregate "sequence_mean". Advantages per token are averaged over the row.
    An empty row has s = 1 and advantage 0. The mean log-ratio is clamped to [-20, 20] (verl: at most 10).
    Raises ValueError for a negative epsilon.
    Source: GSPO, arXiv 2507.18071, eq. (5) and (7).
    """
    low, high = interval(epsilon, epsilon_high, rank=1)
    ratio = jnp.exp(sequence_log_ratio(logprobs, old_logprobs, mask, mean=True))
    return clipped_surrogate(ratio, per_response(advantages, mask), low, high)


@checked(epsilon="[0, inf]", epsilon_high="[0, inf]")
def gspo_token(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    mask: Mask,
    *,
    epsilon: Hyper = 3e-4,
    epsilon_high: Hyper = 4e-4,
) -> Float[Array, "B T"]:
    """`gspo` with an advantage per token: PPO-clip with s_bt = sg(s_b) * exp(logprob - sg(logprob)), s_b the ratio of the response.

    With aggregate "sequence_mean" and one advantage per row, value and gradient are those of `gspo`. 0 where mask is 0.
    Raises ValueError for a negative epsilon.
    Source: GSPO-token, arXiv 2507.18071, eq. (13) and (14).
    """
    low, high = interval(epsilon, epsilon_high)
    ratio = jax.lax.stop_gradient(jnp.exp(sequence_log_ratio(logprobs, old_logprobs, mask, mean=True)))
    return clipped_surrogate(ratio[:, None] * unit_with_gradient(masked(logprobs, mask)), masked(advantages, mask), low, high)


@checked(epsilon="[0, inf]", epsilon_high="[0, inf]")
def luspo(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    mask: Mask,
    *,
    epsilon: Hyper = 2e-3,
    epsilon_high: Hyper = 2.5e-3,
) -> Float[Array, "B"]:
    """`gspo` times the length of the response: n_b * max(-s A, -clip(s) A); every token has the gradient -s_b A_b, free of the length.

    The paper's objective is the mean over responses: aggregate "sequence_mean" (TRL counts empty rows in the divisor, here they are out).
    0 for an empty row. Raises ValueError for a negative epsilon.
    Source: LUSPO, arXiv 2602.05261; bounds of its section 5.1.
    """
    return row_count(mask) * gspo(logprobs, old_logprobs, advantages, mask, epsilon=epsilon, epsilon_high=epsilon_high)


@checked(epsilon="[0, inf]", epsilon_high="[0, inf]")
def gmpo(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    mask: Mask,
    *,
    epsilon: Hyper = 0.4,
    epsilon_high: Hyper = 0.4,
) -> Float[Array, "B"]:
    """Geometric mean of token ratios, clipped before the mean: -A_b exp(mean over the row's tokens of d'), d = logprob - old_logprob.

    d' = min(d, clip(d, -epsilon, epsilon_high)) where A > 0, max(...) where A < 0, 0 where A = 0. The bounds are in units of the
    log-ratio: the ratio lies in [exp(-epsilon), exp(epsilon_high)]. A clipped token passes no gradient; the others share the row's.
    Advantages per token clip by their own sign and are averaged over the row for A_b. Without clipping it is `gspo` without clipping.
    The paper's objective is the mean over responses: aggregate "sequence_mean". 0 for an empty row. Raises ValueError for a negative
    epsilon.
    Source: GMPO, arXiv 2507.20673, eq. (4), and its released code.
    """
    on, average = counts(mask), per_response(advantages, mask)
    sign = jnp.sign(masked(per_row(floating(advantages), 2), on))
    d = log_ratio(masked(logprobs, on), masked(old_logprobs, on))
    clipped = jnp.clip(d, -per_row(epsilon, 2), per_row(epsilon_high, 2))
    d = jnp.where(sign == 0.0, 0.0, jnp.where(sign * clipped < sign * d, clipped, d))
    return -average * jnp.exp(row_mean(d, on))


@checked(k="[0, inf)", lam="(0, inf)", k_negative="[0, inf)", lam_negative="(0, inf)")
def vespo(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    mask: Mask,
    importance: Float[ArrayLike, "B T"] | None = None,
    *,
    k: Hyper = 2.0,
    lam: Hyper = 3.0,
    k_negative: Hyper = 3.0,
    lam_negative: Hyper = 2.0,
) -> Float[Array, "B T"]:
    """Smooth weight of the response's ratio: -sg(phi) * A * logprob, phi = exp(lam + k log W - lam W), W_b = exp(sum over the row of d).

    d = logprob - old_logprob, clamped to [-20, 20] per token; log W is clamped to [log 1e-8, 20]. phi is 1 at W = 1, largest at
    W = k / lam, and goes to 0 for W towards 0 or infinity, so nothing is clipped. k and lam hold where A >= 0, k_negative and
    lam_negative where A < 0. importance: weights w of the learner against the sampler (`truncated_importance`); sum log w is added to
    log W, and they belong nowhere else, so leave them out of the term's scale.
    The paper's objective is the sum over the tokens of the batch: aggregate "token_mean". 0 where mask is 0, or A is 0.
    Raises ValueError for a negative k, or lam not above 0.
    Source: VESPO, arXiv 2602.10693, section 3.4; the clamps are those of TRL.
    """
    on, smallest = counts(mask), math.log(1e-8)
    d = jnp.sum(log_ratio(masked(logprobs, on), masked(old_logprobs, on)), axis=1)
    if importance is not None:
        weight = jnp.where(on, masked(importance, on), 1.0)
        d = d + jnp.sum(jnp.clip(jnp.log(jnp.maximum(weight, 1e-8)), smallest, LARGEST_LOG_RATIO), axis=1)
    log_w = jnp.clip(d, smallest, LARGEST_LOG_RATIO)[:, None]
    advantages = masked(advantages, on)
    positive = advantages >= 0.0
    shape, rate = (jnp.where(positive, per_row(a, 2), per_row(b, 2)) for a, b in ((k, k_negative), (lam, lam_negative)))
    log_phi = jnp.minimum(rate + shape * log_w - rate * jnp.exp(log_w), LARGEST_LOG_RATIO)
    return -jax.lax.stop_gradient(jnp.exp(log_phi)) * advantages * masked(logprobs, on)
