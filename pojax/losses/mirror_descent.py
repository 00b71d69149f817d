"""Mirror descent: the surrogate plus a divergence from the policy of the iteration's start, over a step size."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.losses.ratios import token_ratio
from pojax.numerics import LARGEST_LOG_RATIO, floating, log_ratio, per_row

__all__ = ["gaussian_kl", "mdpo", "mdpo_off_policy", "tsallis_log"]


@checked(step_size="(0, inf]")
def mdpo(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    kl: Float[ArrayLike, "B T"] | None = None,
    *,
    step_size: Hyper = 1.0,
    q: Hyper | None = None,
) -> Float[Array, "B T"]:
    """Surrogate without clip plus divergence from the old policy: -r A + D / step_size, r = exp(logprob - old), log-ratio in [-20, 20].

    D: kl where it is given (the exact KL(policy || old) of the state, differentiable); else its estimate from the old policy's sample,
    r log r - r + 1, never negative and unbiased, with gradient r log r (the paper has the exact one; distributions over a vocabulary are
    not kept). q: the Tsallis form D = r (log_{2-q} pi - log_{2-q} old), log as in `tsallis_log`; q = 1 is r log r.
    step_size: t_k of the paper, 1 - (k - 1) / K at iteration k = 1 .. K: ("linear", dict(start=1.0, end=1 / K, steps=K - 1)).
    The paper standardises advantages over the batch and adds no entropy. With one step per rollout D has no gradient.
    Raises ValueError for step_size not above 0. Source: Mirror Descent Policy Optimization, arXiv 2005.09814, algorithm 1; released code.
    """
    ratio, d = token_ratio(logprobs, old_logprobs), log_ratio(logprobs, old_logprobs)
    if kl is not None:
        divergence = floating(kl)
    elif q is not None:
        divergence = ratio * (tsallis_log(logprobs, q=2.0 - per_row(q, 2)) - tsallis_log(old_logprobs, q=2.0 - per_row(q, 2)))
    else:
        divergence = ratio * d - ratio + 1.0
    return -ratio * floating(advantages) + divergence / per_row(step_size, 2)


@checked()
def tsallis_log(logprobs: Float[ArrayLike, "B T"], *, q: Hyper) -> Float[Array, "B T"]:
    """Logarithm of order q of a probability p = exp(logprob): log_q p = (p^(q - 1) - 1) / (q - 1); q = 1 is log p.

    The exponent (q - 1) logprob is cut at 20, without gradient beyond (q below 1 and a tiny p).
    Source: Tsallis entropies as in Mirror Descent Policy Optimization, arXiv 2005.09814, released code.
    """
    logprobs, power = floating(logprobs), per_row(q, 2) - 1.0
    near = jnp.abs(power) < 1e-6  # there (p^power - 1) / power is log p to all digits of float32
    safe = jnp.where(near, 1.0, power)
    return jnp.where(near, logprobs, jnp.expm1(jnp.minimum(safe * logprobs, LARGEST_LOG_RATIO)) / safe)


@checked(inverse_step="[0, inf)", entropy_weight="[0, inf)")
def mdpo_off_policy(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    q_values: Float[ArrayLike, "B T"],
    *,
    inverse_step: Hyper = 1.0,
    entropy_weight: Hyper = 0.2,
) -> Float[Array, "B T"]:
    """Off-policy form on actions drawn from the policy itself: inverse_step log pi + (entropy_weight - inverse_step) log pi_old - Q.

    logprobs, old_logprobs and q_values are differentiable in the action (reparameterised). inverse_step = 1 / t; at inverse_step =
    entropy_weight (lambda) it is SAC. Released code adds 1e-3 times the mean squares of a Gaussian's mean and log-deviation.
    Raises ValueError for a negative hyper-parameter.
    Source: Mirror Descent Policy Optimization, arXiv 2005.09814, algorithm 2, and its released code.
    """
    inverse, weight = per_row(inverse_step, 2), per_row(entropy_weight, 2)
    return inverse * floating(logprobs) + (weight - inverse) * floating(old_logprobs) - floating(q_values)


@checked()
def gaussian_kl(
    mean: Float[ArrayLike, "B D"], std: Float[ArrayLike, "B D"], other_mean: Float[ArrayLike, "B D"], other_std: Float[ArrayLike, "B D"]
) -> Float[Array, "B"]:
    """KL(N(mean, std^2) || N(other_mean, other_std^2)) in nats, summed over D independent coordinates.

    Standard deviations above 0. Source: the exact divergence of Mirror Descent Policy Optimization, arXiv 2005.09814, released code.
    """
    mean, std, other_mean, other_std = (floating(x) for x in (mean, std, other_mean, other_std))
    each = jnp.log(other_std / std) + (std**2 + (mean - other_mean) ** 2) / (2.0 * other_std**2) - 0.5
    return jnp.sum(each, axis=1)
