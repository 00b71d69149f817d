"""Surrogates per token that clip in another way than PPO: the weight, the gradient beyond the bound, or the denominator of the ratio."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.losses.ratios import beyond, dual_clipped, interval, token_ratio, unit_with_gradient
from pojax.losses.surrogates import ppo_clip
from pojax.numerics import floating, per_row

__all__ = ["ce_gppo", "cispo", "delay_adapted_clip", "gppo", "pspo"]


@checked(epsilon="[0, inf]", epsilon_high="[0, inf]")
def cispo(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    *,
    epsilon: Hyper | None = None,
    epsilon_high: Hyper = 4.0,
) -> Float[Array, "B T"]:
    """Clipped importance weight as a constant: -sg(clip(r, 1 - epsilon, 1 + epsilon_high)) * A * logprob; no token loses its gradient.

    epsilon: by default None, no lower bound, as in the paper (which sets it so large that it never binds) and in TRL and ms-swift; verl
    has both bounds. epsilon_high: the paper tunes it and does not print it; the default is assumed, it is the cap of 5 on the ratio that
    ScaleRL (arXiv 2510.13786) uses and that TRL and ms-swift call epsilon_high = 5.0 (there the bound itself, here above 1).
    0 where A is 0. The log-ratio is clamped to [-20, 20]. Raises ValueError for a negative epsilon.
    Source: CISPO, MiniMax-M1, arXiv 2506.13585, eq. (4) and (5).
    """
    low = None if epsilon is None else 1.0 - per_row(epsilon, 2)
    weight = jnp.clip(token_ratio(logprobs, old_logprobs), low, 1.0 + per_row(epsilon_high, 2))
    return -jax.lax.stop_gradient(weight) * floating(advantages) * floating(logprobs)


@checked(epsilon="[0, inf)", epsilon_high="[0, inf)", beta_low="[0, inf)", beta_high="[0, inf)", dual_clip="(1, inf]")
def ce_gppo(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    *,
    epsilon: Hyper = 0.2,
    epsilon_high: Hyper | None = None,
    beta_low: Hyper = 0.5,
    beta_high: Hyper = 1.0,
    dual_clip: Hyper | None = 10.0,
) -> Float[Array, "B T"]:
    """Clip that keeps a scaled gradient: -r A inside the interval, -beta * bound * (r / sg r) * A beyond it.

    Below, r < 1 - epsilon and A < 0: bound 1 - epsilon, times beta_low (the paper's beta_1). Above, r > 1 + epsilon_high and A > 0: bound
    1 + epsilon_high, times beta_high (its beta_2). So the gradient there is -beta * bound * A, and the betas steer the entropy: more from
    below lowers it, more from above raises it. The value is scaled by beta too; it is PPO's only where both are 1.
    With both 0 the gradients are those of PPO-clip. dual_clip: bounds the loss by -dual_clip * A where A < 0 (10 in the released code).
    0 where A is 0. Raises ValueError for a negative or infinite epsilon or beta, or dual_clip not above 1.
    Source: CE-GPPO, arXiv 2509.20712, and its released code (the dual clip).
    """
    low, high = interval(epsilon, epsilon_high)
    ratio, advantages = token_ratio(logprobs, old_logprobs), floating(advantages)
    below, above = beyond(ratio, advantages, low, high)
    kept = jnp.where(below, per_row(beta_low, 2) * low, per_row(beta_high, 2) * high) * unit_with_gradient(logprobs)
    return dual_clipped(-jnp.where(below | above, kept, ratio) * advantages, advantages, bound=dual_clip)


@checked(epsilon="[0, inf)", epsilon_high="[0, inf)", dual_clip="(1, inf]")
def gppo(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    *,
    epsilon: Hyper = 0.2,
    epsilon_high: Hyper | None = None,
    dual_clip: Hyper | None = 10.0,
    only_high: bool = False,
) -> Float[Array, "B T"]:
    """PPO-clip's value, with a gradient of the size of the bound beyond it: -(1 - epsilon) A below and -(1 + epsilon_high) A above.

    `ce_gppo` with both betas 1. only_high: below, the gradient is 0 as in PPO-clip. dual_clip: as in `ppo_clip`; 10 in the released code.
    The released total adds 0.1 times the token mean of -logprob over the rows whose reward is not 0, as a term of its own:
    ("negative_log_likelihood", dict(scale=0.1, where="rewards")).
    0 where A is 0. Raises ValueError for a negative or infinite epsilon, or dual_clip not above 1.
    Source: GPPO, Klear-Reasoner, arXiv 2508.07629, and its released code (the dual clip, only_high).
    """
    loss = ce_gppo(
        logprobs, old_logprobs, advantages, epsilon=epsilon, epsilon_high=epsilon_high, beta_low=1.0, beta_high=1.0, dual_clip=dual_clip
    )
    if not only_high:
        return loss
    below, _ = beyond(token_ratio(logprobs, old_logprobs), floating(advantages), *interval(epsilon, epsilon_high))
    return jnp.where(below, jax.lax.stop_gradient(loss), loss)


@checked(alpha="[0, 1]")
def pspo(
    logprobs: Float[ArrayLike, "B T"], old_logprobs: Float[ArrayLike, "B T"], advantages: Float[ArrayLike, "B T"], *, alpha: Hyper = 0.1
) -> Float[Array, "B T"]:
    """Ratio of a smoothed policy: -((1 - alpha) r + alpha) * A, no clip. The policy (1 - alpha) pi + alpha pi_old has this ratio to pi_old.

    The gradient is -(1 - alpha) r A: importance-weighted policy gradient times 1 - alpha. alpha 1: no gradient; 0: no smoothing.
    Its total variation distance to pi_old is 1 - alpha times that of pi. 0 where A is 0. Raises ValueError for alpha outside [0, 1].
    Source: PSPO (GR-PSPO inside GRPO), arXiv 2509.21282.
    """
    alpha = per_row(alpha, 2)
    return -((1.0 - alpha) * token_ratio(logprobs, old_logprobs) + alpha) * floating(advantages)


@checked(epsilon="[0, inf]", epsilon_high="[0, inf]")
def delay_adapted_clip(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    arrival_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    *,
    epsilon: Hyper = 0.2,
    epsilon_high: Hyper | None = None,
) -> Float[Array, "B T"]:
    """PPO-clip for feedback that arrives late: the ratio is pi / max(pi_old, pi_arrival), so it starts at 1 or below, never above.

    old_logprobs: of the policy that sampled; arrival_logprobs: of the policy at the time when the feedback arrived (`start_logprobs`).
    Without delay they are equal and this is `ppo_clip`. The form with function approximation is assumed: the paper's algorithm is tabular,
    with the weight pi_old / max(pi_old, pi_arrival) on the loss of an episode.
    Raises ValueError for a negative epsilon.
    Source: Delay-Adapted Policy Optimization, arXiv 2305.07911 (delay-adapted estimator).
    """
    denominator = jnp.maximum(floating(old_logprobs), floating(arrival_logprobs))
    return ppo_clip(logprobs, denominator, advantages, epsilon=epsilon, epsilon_high=epsilon_high)
