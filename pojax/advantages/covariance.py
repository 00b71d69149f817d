"""The few tokens through which the entropy falls: those where advantage and log-probability vary together (Clip-Cov, KL-Cov)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from pojax.annotations import Hyper, Mask, RandomKey, writes
from pojax.checks import checked
from pojax.losses.ratios import beyond, interval, token_ratio
from pojax.numerics import counts, floating, masked, per_row
from pojax.reductions import largest, masked_mean, one_number

__all__ = ["drop_covariant_tokens", "most_covariant_tokens", "token_covariance"]


def token_covariance(
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"], logprobs: Float[ArrayLike, "B T"], keep: Mask
) -> Float[Array, "B T"]:
    """(A - mean A) (logprob - mean logprob) with means over the kept tokens; 0 where keep is 0. A constant of the gradient."""
    on = counts(keep)
    a = jnp.broadcast_to(jax.lax.stop_gradient(per_row(floating(advantages), 2)), on.shape)
    x = jax.lax.stop_gradient(floating(logprobs))
    return jnp.where(on, (masked(a, on) - masked_mean(a, on)) * (masked(x, on) - masked_mean(x, on)), 0.0)


def _share_of(number: Int[Array, ""], share: Hyper) -> Int[Array, ""]:
    """max(floor(share * number), 1)."""
    exact = one_number(share) * number
    return jnp.maximum(jnp.floor(exact * (1.0 + 4.0 * jnp.finfo(exact.dtype).eps)), 1.0).astype(jnp.int32)


@writes("covariance_keep")
@checked(share="[0, 1]", epsilon="[0, inf]", epsilon_high="[0, inf]")
def drop_covariant_tokens(
    key: RandomKey,
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    keep: Mask,
    *,
    share: Hyper = 2e-4,
    low: Hyper = 1.0,
    high: Hyper = 5.0,
    epsilon: Hyper = 0.2,
    epsilon_high: Hyper | None = None,
) -> Float[Array, "B T"]:
    """0 at some tokens whose covariance of advantage and log-probability is large, 1 at the other kept tokens (Clip-Cov).

    Candidates: kept, low < covariance < high, and not clipped by PPO anyway (A > 0 and ratio > 1 + epsilon_high, or A < 0 and
    ratio < 1 - epsilon). max(floor(share * kept tokens), 1) of them are drawn evenly without replacement; all where there are fewer.
    Name it as scale="covariance_keep" of `ppo_clip`: the drawn tokens have no gradient but stay in the divisor. The paper detaches them
    and the released code sets their loss to 0: the same gradient, which this is, with the code's value.
    A rule of the optimiser batch: logprobs are the current policy's. epsilon, epsilon_high: those of the `ppo_clip` term.
    All kept tokens where advantages are equal or there is no candidate. Raises ValueError for a share outside [0, 1], negative epsilon.
    Source: The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models, arXiv 2505.22617, eq. of Clip-Cov.
    """
    on = counts(keep)
    covariance = token_covariance(advantages, logprobs, on)
    ratio = token_ratio(masked(logprobs, on), masked(old_logprobs, on))
    fallen, risen = beyond(ratio, per_row(floating(advantages), 2), *interval(epsilon, epsilon_high))
    candidates = on & ~fallen & ~risen & (covariance > per_row(low, 2)) & (covariance < per_row(high, 2))
    drawn: Bool[Array, "B T"] = largest(jax.random.uniform(key, on.shape), candidates, k=_share_of(jnp.sum(on), share))
    return floating(on & ~drawn)


@writes("covariant")
@checked(share="[0, 1]")
def most_covariant_tokens(
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"], logprobs: Float[ArrayLike, "B T"], keep: Mask, *, share: Hyper = 2e-4
) -> Float[Array, "B T"]:
    """1 at the max(floor(share * kept tokens), 1) kept tokens of largest covariance of advantage and log-probability, else 0 (KL-Cov).

    Name it as scale="covariant" of a KL term, such as `absolute_log_ratio`, beside a surrogate without clip (`ppo_clip` with epsilon inf).
    A rule of the optimiser batch: logprobs are the current policy's. Ties by first index: where all advantages are equal the covariance
    is 0 everywhere and the first tokens are chosen. All 0 where nothing is kept. Raises ValueError for a share outside [0, 1].
    Source: The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models, arXiv 2505.22617, eq. of KL-Cov.
    """
    on = counts(keep)
    return floating(largest(token_covariance(advantages, logprobs, on), on, k=_share_of(jnp.sum(on), share)))
