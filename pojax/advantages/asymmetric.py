"""Positive and negative responses treated differently (APO of View-R1): a KL weight for the first, a push by length for the second."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Hyper, writes
from pojax.checks import checked
from pojax.groups import group_mean, group_sum, inside
from pojax.numerics import floating, masked, per_row

__all__ = ["difficulty_kl_weight", "push_long_failures"]


@checked(rate="[0, inf)")
def push_long_failures(
    advantages: Float[ArrayLike, "B"],
    correct: Shaped[ArrayLike, "B"],
    lengths: Shaped[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    *,
    rate: Hyper = 1e-5,
) -> Float[Array, "B"]:
    """Suboptimal trajectory complexity regularisation (STCR): A_b * (2 - (1 + rate)^(-e_b)) of wrong responses longer than right ones.

    e_b = length_b - mean length of the correct responses of the group, in tokens; the factor is 1 for correct responses, where e_b <= 0 and
    where nobody is correct, and never above 2. rate is per token: 1e-5 adds 1% per 1000 tokens too many.
    correct: a row with anything but 0 counts as correct. A wrong response whose advantage is positive (format reward) is amplified as
    well, as in the released code. Zero for rows that are out.
    Source: APO (View-R1), arXiv 2506.21655, STCR, with the base 1.00001 of its released code.
    """
    is_in = inside(groups)
    lengths, advantages = masked(lengths, is_in), masked(advantages, is_in)
    right = is_in & (floating(correct) != 0.0)
    number = group_sum(right, groups)
    excess = lengths - group_sum(jnp.where(right, lengths, 0.0), groups) / jnp.maximum(number, 1.0)
    pushed = is_in & ~right & (number > 0.0) & (excess > 0.0)
    decay = jnp.exp(-jnp.where(pushed, excess, 0.0) * jnp.log1p(floating(per_row(rate, 1))))
    return advantages * jnp.where(pushed, 2.0 - decay, 1.0)


@writes("kl_weight")
@checked(sharpness="[0, inf)", positive="{advantage, correct}")
def difficulty_kl_weight(
    advantages: Float[ArrayLike, "B"],
    correct: Shaped[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    *,
    sharpness: Hyper = 2.71828,
    positive: str = "advantage",
) -> Float[Array, "B"]:
    """Difficulty-adaptive divergence shaping (DADS): KL weight u_b = 1 - exp(-sharpness * p_g) of positive responses, 1 of the others.

    p_g: share of correct responses of the group (1 - difficulty); where it is 0 or 1 the weight is 1. So positives of hard prompts may
    move further from the reference than those of easy ones. Name it as scale=[coefficient, "kl_weight"] of the KL term.
    positive: "advantage", A_b > 0 (released code: a format-only response may be positive), or "correct", as the text says.
    Zero for rows that are out. Raises ValueError for another positive.
    Source: APO (View-R1), arXiv 2506.21655, DADS, and its released code.
    """
    is_in = inside(groups)
    right = is_in & (floating(correct) != 0.0)
    share = group_mean(right, groups)
    chosen = right if positive == "correct" else floating(advantages) > 0.0
    shaped = chosen & (share > 0.0) & (share < 1.0)
    return jnp.where(is_in, jnp.where(shaped, 1.0 - jnp.exp(-per_row(sharpness, 1) * share), 1.0), 0.0)
