"""Advantages divided by a standard deviation."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.advantages.baselines import group_center
from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import all_equal, group_mean, group_size, group_std, inside, whole_batch
from pojax.numerics import counts, floating, masked, over_deviation, per_row
from pojax.reductions import masked_mean, masked_std

__all__ = ["batch_normalize", "group_center_batch_std", "group_mean_normalize", "group_normalize", "rescale_to_informative", "token_whiten"]

VARIANCE_FLOOR = 1e-8  # of the released code of REINFORCE++, in squared units of the advantages


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
    return over_deviation(group_center(rewards, groups), std, per_row(epsilon, 1))


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


@checked(epsilon="[0, inf)", ddof="{0, 1}")
def group_center_batch_std(
    rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, epsilon: Hyper = 1e-4, ddof: int = 1
) -> Float[Array, "B"]:
    """Reward minus the mean of its group, over the standard deviation of the whole batch: A_b = (r_b - mean_g) / (std(r) + epsilon).

    std(r) is taken of the raw rewards of all rows that are in, not of the centred ones; epsilon is in units of reward, ddof as in
    `group_normalize` (the paper gives neither; 1e-4 and 1 are those of TRL's scale_rewards="batch").
    Exactly zero for groups of one and groups of equal rewards, which do not disturb the others; zero for rows that are out.
    Raises ValueError for ddof other than 0 and 1.
    Source: Tricks or Traps (Lite PPO), arXiv 2508.08221, section on advantage normalisation (group-level mean, batch-level std).
    """
    std = group_std(rewards, whole_batch(groups), ddof=ddof)
    return over_deviation(group_center(rewards, groups), std, per_row(epsilon, 1))


@checked(epsilon="[0, inf)")
def group_mean_normalize(rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, epsilon: Hyper = 0.0) -> Float[Array, "B"]:
    """Centred reward over the group's mean: A_b = (r_b - mean_g) / (mean_g + epsilon), and 0 for groups whose mean is not above 0.

    With rewards of 0 and 1 a success has 1 / p - 1 and a failure -1: an unbiased gradient of the order-G truncation of maximum likelihood.
    Rewards should not be negative. epsilon: 0 in the paper, in units of reward.
    Exactly zero for groups of one, groups of equal rewards (all 0 among them); zero for rows that are out.
    Source: MaxRL (maximum-likelihood reinforcement learning), arXiv 2602.02710.
    """
    mean = group_mean(rewards, groups)
    used = (mean > 0.0) & (mean**2 > 0.0) & ~all_equal(rewards, groups)  # 1 / mean^2 is in the derivative
    return jnp.where(used, group_center(rewards, groups) / jnp.where(used, mean + per_row(epsilon, 1), 1.0), 0.0)


@checked(variance="{unbiased, population}")
def token_whiten(
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"], mask: Mask, groups: Int[ArrayLike, "B"], *, variance: str = "unbiased"
) -> Float[Array, "B T"]:
    """Advantages standardised over all tokens: A_bt = (a_bt - m) / sqrt(v + 1e-8), 0 where mask is 0 and for rows that are out.

    m and v: mean and variance over all masked tokens of the rows that are in, so long responses weigh more; [B] is one value for all
    tokens of a row. variance "unbiased" (n - 1, verl) or "population" (OpenRLHF): A_bt = (a_bt - m) / sqrt(max(v, 1e-8)) with v over n.
    Exactly zero where all are equal and where fewer than two tokens count. Raises ValueError for another variance.
    Source: REINFORCE++, arXiv 2501.03262 (global advantage normalisation); the constants are those of verl and OpenRLHF.
    """
    x = floating(advantages)
    x = jnp.broadcast_to(x[:, None] if x.ndim == 1 else x, jnp.shape(mask))
    on = counts(mask) & inside(groups)[:, None]
    x, population = masked(x, on), variance == "population"
    std = masked_std(x, on, ddof=0 if population else 1)
    spread = jnp.maximum(std**2, VARIANCE_FLOOR) if population else std**2 + VARIANCE_FLOOR
    return jnp.where(on & (std > 0.0), (x - masked_mean(x, on)) / jnp.sqrt(spread), 0.0)


@checked(count="{responses, groups}")
def rescale_to_informative(
    advantages: Float[ArrayLike, "B"], rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, count: str = "responses"
) -> Float[Array, "B"]:
    """Advantages times B / (B - M): the mean over all rows becomes the mean over the rows that carry a signal.

    B: rows that are in; M: those among them in groups whose rewards are all equal (groups of one too). Rows that are out are zero.
    count "responses", or "groups" as the released code has it: (number of groups) / (groups with a spread); both agree for equal sizes.
    Where no group has a spread the factor is 1. Raises ValueError for another count.
    Source: Group Policy Gradient (GPG), arXiv 2504.02546, eq. for alpha.
    """
    is_in = inside(groups)
    weight = jnp.where(is_in, 1.0 / jnp.maximum(group_size(groups), 1.0) if count == "groups" else 1.0, 0.0)
    informative = jnp.sum(jnp.where(all_equal(rewards, groups), 0.0, weight))
    factor = jnp.where(informative > 0.0, jnp.sum(weight) / jnp.where(informative > 0.0, informative, 1.0), 1.0)
    return factor * masked(advantages, is_in)
