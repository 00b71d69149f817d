"""One signal per token from its entropy, and what it changes: the advantage and the clip (HAPO, the heterogeneous one)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.advantages.baselines import length_weighted_center
from pojax.advantages.normalizers import group_normalize
from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.groups import group_max, group_sum
from pojax.losses.ratios import token_ratio
from pojax.numerics import counts, floating, masked, over_deviation, per_row, root
from pojax.reductions import kth_smallest, masked_mean, one_number, row_count

__all__ = [
    "EntropyScale",
    "entropy_clip",
    "entropy_scale",
    "entropy_signal",
    "redistribute_by_entropy",
    "scale_entropy",
    "token_group_normalize",
]

LEAST_ENTROPY = 1e-8  # of the released code: nats, before the logarithm
LEAST_VARIANCE = 1e-8


class EntropyScale(NamedTuple):
    """What turns an entropy H into z = (log H - center) / spread, and the ends of z over the tokens that it was taken from."""

    center: Float[Array, ""]
    spread: Float[Array, ""]
    high: Float[Array, ""]  # largest z, above 0
    low: Float[Array, ""]  # smallest z, below 0


def entropy_scale(entropy: Float[ArrayLike, "B T"], keep: Mask, *, quantile: Hyper) -> EntropyScale:
    """center = the quantile of log H over the kept tokens (nearest rank), spread = root mean square of log H - center. No gradient.

    Where nothing is kept: center 0, spread and ends as small as they may be.
    """
    on = counts(keep)
    x = jnp.log(jnp.maximum(masked(jax.lax.stop_gradient(floating(entropy)), on), LEAST_ENTROPY))
    number = jnp.sum(on)
    index = jnp.round(one_number(quantile) * jnp.maximum(number - 1, 0)).astype(jnp.int32)
    center = jnp.where(number > 0, kth_smallest(x, on, k=index), 0.0)
    distance = jnp.where(on, x - center, 0.0)
    spread = jnp.sqrt(jnp.maximum(masked_mean(distance**2, on), LEAST_VARIANCE))
    z = distance / spread
    high, low = jnp.max(z, initial=0.0), jnp.min(z, initial=0.0)
    return EntropyScale(center, spread, jnp.maximum(high, LEAST_ENTROPY), jnp.minimum(low, -LEAST_ENTROPY))


def z_score(entropy: Float[ArrayLike, "..."], scale: EntropyScale) -> Float[Array, "..."]:
    """z = (log H - center) / spread, with H at least 1e-8 nats."""
    return (jnp.log(jnp.maximum(floating(entropy), LEAST_ENTROPY)) - scale.center) / scale.spread


def scale_entropy(entropy: Float[ArrayLike, "..."], scale: EntropyScale, *, form: str) -> Float[Array, "..."]:
    """h = z / high where z > 0, else z / -low: in [-1, 1] on the tokens of the scale; form "released": z / low there, so never below 0."""
    z = z_score(entropy, scale)
    return jnp.where(z > 0.0, z / scale.high, z / (scale.low if form == "released" else -scale.low))


@writes("entropy_signal")
@checked(quantile="[0, 1]", form="{signed, released}")
def entropy_signal(entropy: Float[ArrayLike, "B T"], keep: Mask, *, quantile: Hyper = 0.8, form: str = "signed") -> Float[Array, "B T"]:
    """How far a token's entropy is from the batch's quantile, in [-1, 1]: h = z / max z where z > 0, z / |min z| where z <= 0.

    z = (log H - Q) / s over the kept tokens of the optimiser batch: Q their quantile (nearest rank), s the root mean square of
    log H - Q (released code; the paper's standard deviation gives the same h). H is the current policy's, at least 1e-8 nats.
    form "released": the released code and the printed formula divide z <= 0 by min z, which makes h >= 0 there and amplifies tokens of
    low entropy; the text requires h < 0, which "signed" gives.
    Zero where keep is 0 and where all entropies are equal. A constant of the gradient. Raises ValueError for another form.
    Source: HAPO, From Uniform to Heterogeneous, arXiv 2509.16591, and its released code.
    """
    entropy = masked(jax.lax.stop_gradient(floating(entropy)), keep)
    return masked(scale_entropy(entropy, entropy_scale(entropy, keep, quantile=quantile), form=form), keep)


@checked(epsilon="[0, inf)", limit="(0, inf]")
def token_group_normalize(
    rewards: Float[ArrayLike, "B"],
    mask: Mask,
    groups: Int[ArrayLike, "B"],
    *,
    epsilon: Hyper = 1e-6,
    limit: Hyper | None = None,
) -> Float[Array, "B T"]:
    """Reward standardised over all tokens of its group, each with its response's reward: A_bt = (r_b - mean) / (std + epsilon).

    Long responses weigh more in mean and standard deviation (population), and A sums to 0 over the tokens of a group.
    limit: where some |A| of a group reaches it, the group takes GRPO's advantage instead (ddof 1); the released code has 5.
    Zero where mask is 0, for equal rewards, for groups of one and for rows that are out. Rows without tokens count in no group.
    Raises ValueError for a negative epsilon or a limit not above 0.
    Source: HAPO, From Uniform to Heterogeneous, arXiv 2509.16591, token-level group average, and its released code (limit).
    """
    tokens = row_count(mask)
    members = jnp.where(tokens > 0.0, jnp.asarray(groups), -1)
    centered = length_weighted_center(rewards, tokens, members)
    variance = group_sum(tokens * centered**2, members) / jnp.maximum(group_sum(tokens, members), 1.0)
    advantages = over_deviation(centered, root(variance), per_row(epsilon, 1))
    if limit is not None:
        plain = group_normalize(rewards, members, epsilon=epsilon)
        advantages = jnp.where(group_max(jnp.abs(advantages), members) >= per_row(limit, 1), plain, advantages)
    return masked(advantages[:, None], counts(mask))


@writes("clip_low", "clip_high")
@checked(low="[0, inf)", high="[0, inf)")
def entropy_clip(
    entropy_signal: Float[ArrayLike, "B T"], *, low: Hyper = 0.2, high: Hyper = 0.28
) -> tuple[Float[Array, "B T"], Float[Array, "B T"]]:
    """Clip widths of every token: low * (1 - h) where h <= 0, else low; high * (1 + h) where h > 0, else high.

    Tokens of low entropy may fall further, tokens of high entropy may rise further. Name them as epsilon and epsilon_high of `ppo_clip`.
    entropy_signal: h of `entropy_signal`. Raises ValueError for negative widths.
    Source: HAPO, From Uniform to Heterogeneous, arXiv 2509.16591, asymmetric adaptive clipping.
    """
    h = floating(entropy_signal)
    low, high = per_row(jnp.asarray(low, h.dtype), 2), per_row(jnp.asarray(high, h.dtype), 2)
    return low * (1.0 - jnp.minimum(h, 0.0)), high * (1.0 + jnp.maximum(h, 0.0))


@checked(epsilon="[0, inf)", epsilon_high="[0, inf)")
def redistribute_by_entropy(
    advantages: Float[ArrayLike, "B T"],
    entropy_signal: Float[ArrayLike, "B T"],
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    *,
    epsilon: Hyper = 0.2,
    epsilon_high: Hyper = 0.28,
) -> Float[Array, "B T"]:
    """Advantage times 1 + h where entropy and ratio ask for it: h > 0 and the ratio outside N, or h <= 0 and the ratio inside N.

    N = (1 - epsilon / 2, 1 + epsilon_high / 2), open: the neutral zone of ratio = exp(logprob - old_logprob). Elsewhere unchanged.
    So tokens of high entropy that move are amplified, and tokens of low entropy that do not move are damped.
    epsilon, epsilon_high: the token's clip widths; the released code has those of `entropy_clip` (name the fields).
    A rule of the optimiser batch: logprobs are the current policy's. Raises ValueError for negative widths.
    Source: HAPO, From Uniform to Heterogeneous, arXiv 2509.16591, differential advantage redistribution, and its released code.
    """
    h, advantages = floating(entropy_signal), floating(advantages)
    ratio = jax.lax.stop_gradient(token_ratio(logprobs, old_logprobs))
    inside = (ratio > 1.0 - per_row(epsilon, 2) / 2.0) & (ratio < 1.0 + per_row(epsilon_high, 2) / 2.0)
    return jnp.where(inside == (h <= 0.0), advantages * (1.0 + h), advantages)
