"""Supervised and reinforcement gradients in one loss: likelihood weighted by its own probability, and the estimator that holds both."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.losses.ratios import token_ratio
from pojax.numerics import floating, per_row

__all__ = ["shaped_policy", "unified_policy_gradient", "weighted_likelihood"]


@checked(weight="{phi, probability, none}", cutoff="(0, 1]")
def weighted_likelihood(logprobs: Float[ArrayLike, "B T"], *, weight: str = "phi", cutoff: Hyper = 1.0) -> Float[Array, "B T"]:
    """Negative log-likelihood weighted by the token's own probability p, a constant of the gradient: -w(p) logprob, p = exp(logprob).

    weight "phi": p (1 - p), which leaves out what is known already and what is hopelessly unlikely; "probability": p (importance sampling
    of the policy's own tokens, "sft_is"); "none": 1, the plain likelihood. cutoff (a probability, phi in released code): tokens above it
    count as if they were at it and have no gradient; 1 is off. Weight 0 as p goes to 0 or 1.
    Raises ValueError for another weight and a cutoff outside (0, 1].
    Source: CHORD, arXiv 2508.11408, eq. (6) (phi); Trinity-RFT sft_phi and sft_is.
    """
    logprobs = floating(logprobs)
    p = jnp.exp(jax.lax.stop_gradient(logprobs))
    factor = {"phi": p * (1.0 - p), "probability": p, "none": jnp.ones_like(p)}[weight]
    bound = jnp.log(per_row(cutoff, 2))
    return -factor * jnp.where(logprobs > bound, bound, logprobs)


@checked()
def unified_policy_gradient(
    logprobs: Float[ArrayLike, "B T"],
    reference_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B T"],
    stable: Shaped[ArrayLike, "B T"] | None = None,
) -> Float[Array, "B T"]:
    """Unified policy gradient estimator: -stable * A * p / p_ref, whose gradient is -(stable * A * p / p_ref) grad logprob.

    Four parts make a method: the reference p_ref (a constant of the gradient, whatever it is computed from), the advantage A, and the
    stabilisation mask `stable` (default 1). As names of fields, with rules of `per_minibatch` where it says so:

        SFT           reference_logprobs="logprobs", advantages 1
        REINFORCE     reference_logprobs="logprobs", advantages +1 or -1
        PPO, GRPO     reference_logprobs="old_logprobs", stable from `clip_stability`
        CISPO         reference_logprobs from `capped_reference`
        GSPO          reference_logprobs from `sequence_reference`, stable from `clip_stability` at level "sequence"
        SRFT, expert rows    a reference of probability 1: expert rows with anchor="one", advantages over sampled and expert rows
        LUFFY, expert rows   the same with stable from `shaping_stability` (or the loss `shaped_policy`)

    The log-ratio is clamped to [-20, 20].
    Source: Towards a Unified View of LLM Post-Training, arXiv 2509.04419, eq. (unified policy gradient estimator) and its table.
    """
    ratio = token_ratio(logprobs, jax.lax.stop_gradient(floating(reference_logprobs)))
    return -(1.0 if stable is None else floating(stable)) * floating(advantages) * ratio


@checked(gamma="(0, inf)")
def shaped_policy(
    logprobs: Float[ArrayLike, "B T"], old_logprobs: Float[ArrayLike, "B T"], advantages: Float[ArrayLike, "B T"], *, gamma: Hyper = 0.1
) -> Float[Array, "B T"]:
    """Policy shaping for rows of experts: -A r / (r + gamma), r = exp(logprob - old_logprob), without a clip.

    Against r itself the gradient is larger by gamma / (r + gamma)^2 for unlikely tokens and vanishes for certain ones. With anchor="one" of
    the arrangement `experts` old_logprobs is 0 and r the probability of the token. gamma is a probability. r is clamped at exp(+-20).
    Source: LUFFY, arXiv 2504.14945 (gamma 0.1), as an instance in arXiv 2509.04419.
    """
    ratio = token_ratio(logprobs, old_logprobs)
    return -floating(advantages) * ratio / (ratio + per_row(gamma, 2))
