"""Which rows and which tokens are worth an update, by their advantage and entropy."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.groups import group_max, group_min, group_rank, group_size, inside, whole_batch
from pojax.numerics import counts, floating, masked, per_row
from pojax.reductions import largest, one_number, quantile

__all__ = ["high_entropy_tokens", "max_variance_rows", "top_advantage_entropy_tokens"]


@writes("high_entropy")
@checked(share="[0, 1]")
def high_entropy_tokens(entropy: Float[ArrayLike, "B T"], keep: Mask, *, share: Hyper = 0.2) -> Float[Array, "B T"]:
    """1 at the tokens whose entropy is among the batch's highest, else 0: entropy_bt >= the (1 - share)-quantile over all kept tokens.

    A rule of the optimiser batch: entropy is that of the current policy. Name it as scale="high_entropy" of the policy's term: the other
    tokens then have no gradient but stay in the divisor, and a KL term without it stays on all tokens.
    share: of the kept tokens; 1 takes all of them. The quantile interpolates linearly; ties at it are kept.
    All zero where nothing is kept. Raises ValueError for a share outside [0, 1].
    Source: Beyond the 80/20 Rule: high-entropy minority tokens, arXiv 2506.01939, section 5.
    """
    entropy = floating(entropy)
    threshold = -quantile(-entropy, keep, q=one_number(share))  # of the negated entropies: 1 - share would be rounded
    return floating(counts(keep) & (entropy >= threshold))


@writes("keep")
@checked(number="[1, inf)", level="{batch, group}")
def max_variance_rows(
    advantages: Float[ArrayLike, "B"], keep: Mask, groups: Int[ArrayLike, "B"], *, number: Hyper, level: str = "batch"
) -> Float[Array, "B T"]:
    """Keep the `number` rows whose advantages have the largest variance: S = argmax_(|S| = number) Var(A_S); clear all others.

    The optimum is always some of the highest and some of the lowest: every split is tried. Advantages are not normalised again.
    level "batch" (D3S): rows of the whole batch; "group" (D1S): so many of every group. Rows without a kept token do not compete.
    number is rounded to the nearest whole one, and is all rows where there are fewer.
    Assumed where the paper is silent: variance with ddof 0, of equal variances the one with fewer low rows. Equal advantages: any rows.
    Raises ValueError for a number below 1 or another level.
    Source: Learning More with Less (D3S), arXiv 2509.22115, sample-level down-sampling.
    """
    has_token = jnp.any(counts(keep), axis=1)
    members = jnp.where(has_token, jnp.asarray(groups if level == "group" else whole_batch(groups)), -1)
    is_in = inside(members)
    x, size = masked(advantages, is_in), group_size(members)
    rank = group_rank(x, members)
    wanted = jnp.minimum(jnp.round(one_number(number)), size)  # per row: of its group

    def taken(low: Float[Array, "..."]) -> Array:  # the rows that a split takes: `low` from below, the rest from above
        return (rank < low) | (rank >= size - (wanted - low))

    # Row b stands for the split of its group with as many low rows as come before it.
    low = floating(rank)
    chosen = taken(low[:, None]) & (members[:, None] == members) & is_in
    mean = jnp.sum(jnp.where(chosen, x, 0.0), axis=1) / jnp.maximum(wanted, 1.0)
    variance = jnp.sum(jnp.where(chosen, x - mean[:, None], 0.0) ** 2, axis=1) / jnp.maximum(wanted, 1.0)
    variance = jnp.where(low <= wanted, variance, -1.0)
    noise = 64.0 * jnp.finfo(x.dtype).eps * jnp.max(x**2, initial=0.0)  # mirrored splits are equal up to rounding
    fewest = group_min(jnp.where(variance >= group_max(variance, members) - noise, low, jnp.inf), members)
    return masked(keep, (taken(fewest) & is_in)[:, None])


@writes("keep")
@checked(share="[0, 1]")
def top_advantage_entropy_tokens(
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"], entropy: Float[ArrayLike, "B T"], keep: Mask, *, share: Hyper
) -> Float[Array, "B T"]:
    """Keep the share of the kept tokens with the largest |A| * H, pooled over all rows: ceil(share * tokens) of them; clear the others.

    entropy: H in nats of the whole next-token distribution; the sampler's own (`entropy="old_entropy"`) costs no forward pass.
    Assumed where the paper is silent: at least one token, ties by first index, and the losses divide by the tokens that are left.
    Raises ValueError for a share outside [0, 1].
    Source: Learning More with Less (D3S), arXiv 2509.22115, token-level down-sampling.
    """
    score = masked(jnp.abs(per_row(floating(advantages), 2)) * floating(entropy), keep)
    number = jnp.sum(counts(keep))
    exact = one_number(share) * number
    wanted = jnp.ceil(exact * (1.0 - 4.0 * jnp.finfo(exact.dtype).eps))  # 0.3 * 10 must not become 4
    return masked(keep, largest(score, keep, k=jnp.maximum(wanted, 1.0).astype(jnp.int32)))
