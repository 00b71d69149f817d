"""Which rows and tokens of an optimiser batch take part: rules that clear `keep` by current ratios, and the rows that form pairs."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.groups import partner
from pojax.losses.ratios import token_ratio
from pojax.numerics import counts, floating, masked, per_row
from pojax.reductions import largest, one_number

__all__ = ["drop_high_variance", "paired_rows"]


@writes("keep")
@checked(drop="[0, 1]")
def drop_high_variance(
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    keep: Mask,
    *,
    drop: Hyper = 0.2,
) -> Float[Array, "B T"]:
    """Clear the tokens that add most to the variance of the surrogate, apart for both signs: a `per_minibatch` rule.

    phi_i = r_i A_i sum_j r_j A_j over the tokens that keep counts. Of those with phi > 0 and of the others, the round((1 - drop) n)
    largest phi stay, n the size of the part (a half rounds to even). Constants of the gradient.
    The score, the two parts and drop = 0.2 are assumed: known is that the bound of the variance is quadratic in the surrogate, and that
    a part of the batch is dropped. Raises ValueError for drop outside [0, 1].
    Source: D-PPO, "Dropout Strategy in Reinforcement Learning", arXiv 2310.20380.
    """
    on = counts(keep)
    surrogate = masked(token_ratio(logprobs, old_logprobs) * per_row(floating(advantages), 2), on)
    phi = surrogate * jnp.sum(surrogate)
    share, kept = 1.0 - one_number(drop), jnp.zeros(on.shape, bool)
    for part in (on & (phi > 0.0), on & (phi <= 0.0)):
        kept |= largest(phi, part, k=jnp.round(share * jnp.sum(part)).astype(jnp.int32))
    return floating(kept)


@writes("paired")
@checked()
def paired_rows(groups: Int[ArrayLike, "B"]) -> Float[Array, "B"]:
    """1 for the rows that have a partner in their group (`partner`), 0 for the last row of a group of odd size and for rows that are out.

    Name it as where="paired" of a pair loss, so that a row without partner is in no divisor.
    Source: the pairs of Pairwise Proximal Policy Optimization (P3O), arXiv 2310.00212.
    """
    other = partner(groups)
    return floating(other != jnp.arange(other.shape[0]))
