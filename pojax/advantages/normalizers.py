"""Advantages divided by a standard deviation."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.advantages.baselines import group_center
from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.groups import group_std, whole_batch
from pojax.numerics import per_row

__all__ = ["batch_normalize", "group_normalize"]


@checked(epsilon="[0, inf)", ddof="{0, 1}")
def group_normalize(
    rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, epsilon: Hyper = 1e-6, ddof: int = 1
) -> Float[Array, "B"]:
    """Reward standardised in its group: A_b = (r_b - mean_g) / (std_g + epsilon).

    epsilon is in units of reward (released code: verl and tunix 1e-6, TRL 1e-4). ddof is subtracted from the group's size in the
    variance: 1 is what released PyTorch code computes, 0 is the paper's formula read literally.
    Exactly zero for groups of one and for groups of equal rewards; zero for rows that are out.
    Raises ValueError for ddof other than 0 and 1.
    Source: DeepSeekMath (GRPO), arXiv 2402.03300, section 4.1.2 (outcome supervision).
    """
    std = group_std(rewards, groups, ddof=ddof)
    # The double where keeps 0 / 0 out of the gradient where epsilon is 0.
    flat = std == 0.0
    return jnp.where(flat, 0.0, group_center(rewards, groups) / jnp.where(flat, 1.0, std + per_row(epsilon, 1)))


@checked(epsilon="[0, inf)", ddof="{0, 1}")
def batch_normalize(
    advantages: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, epsilon: Hyper = 1e-8, ddof: int = 1
) -> Float[Array, "B"]:
    """Advantages standardised over all rows that are in: A_b = (a_b - mean(a)) / (std(a) + epsilon).

    epsilon is in units of the advantages that it reads and replaces; ddof as in `group_normalize`.
    Exactly zero where all are equal or only one row is in; zero for rows that are out.
    Raises ValueError for ddof other than 0 and 1.
    Source: Single-stream Policy Optimization, arXiv 2509.13232 (global advantage normalisation).
    """
    return group_normalize(advantages, whole_batch(groups), epsilon=epsilon, ddof=ddof)
