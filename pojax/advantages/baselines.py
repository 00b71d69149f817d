"""Advantages of the form reward minus baseline: one number per response, zero for rows that are out (group -1)."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import all_equal, group_mean, group_size, group_sum, inside, whole_batch
from pojax.numerics import counts, floating, masked, per_row

__all__ = ["batch_center", "group_center", "leave_one_out", "length_weighted_center", "remax", "subtract_baseline"]


@checked(singles="{zero, reward}")
def group_center(rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, singles: str = "zero") -> Float[Array, "B"]:
    """Reward minus the mean of its group: A_b = r_b - mean_g.

    Exactly zero for groups of one and for groups of equal rewards; zero for rows that are out.
    singles: "zero", or "reward": a group of one keeps its raw reward, as in verl's estimators with a group mean.
    Raises ValueError for other singles.
    Source: Dr. GRPO, arXiv 2503.20783, eq. (3): GRPO's advantage without the division by the standard deviation.
    """
    rewards = floating(rewards)
    advantages = jnp.where(all_equal(rewards, groups), 0.0, rewards - group_mean(rewards, groups))
    return _with_singles(advantages, rewards, groups, singles)


def _with_singles(
    advantages: Float[Array, "B"], rewards: Float[Array, "B"], groups: Int[ArrayLike, "B"], singles: str
) -> Float[Array, "B"]:
    """The raw reward in place of the advantage of a group of one, where released code keeps it."""
    return jnp.where(group_size(groups) == 1.0, rewards, advantages) if singles == "reward" else advantages


@checked(singles="{zero, reward}")
def length_weighted_center(
    rewards: Float[ArrayLike, "B"], lengths: Shaped[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, singles: str = "zero"
) -> Float[Array, "B"]:
    """Reward minus the length-weighted mean of its group: A_b = r_b - sum_g(n r) / sum_g(n), with n the response's tokens.

    The baseline of least variance where the squared norm of a response's gradient is in proportion to its length; sum_g(n A) = 0.
    Equal lengths give `group_center`, and so does a group whose lengths are all 0.
    Exactly zero for groups of one and for groups of equal rewards; zero for rows that are out. singles as in `group_center`.
    Raises ValueError for other singles.
    Source: On-Policy RL with Optimal Reward Baseline (OPO), arXiv 2505.23585.
    """
    is_in = inside(groups)
    rewards, n = masked(rewards, is_in), masked(lengths, is_in)
    total = group_sum(n, groups)
    weighted = group_sum(n * rewards, groups) / jnp.where(total > 0.0, total, 1.0)
    baseline = jnp.where(total > 0.0, weighted, group_mean(rewards, groups))
    flat = all_equal(rewards, groups)
    return _with_singles(jnp.where(flat, 0.0, rewards - baseline), rewards, groups, singles)


@checked()
def batch_center(rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> Float[Array, "B"]:
    """Reward minus the mean of all rows that are in: A_b = r_b - mean(r).

    Exactly zero where all rewards are equal or only one row is in; zero for rows that are out.
    Source: REINFORCE (Williams 1992, "Simple statistical gradient-following algorithms") with the batch mean as baseline.
    """
    return group_center(rewards, whole_batch(groups))


@checked()
def subtract_baseline(rewards: Float[ArrayLike, "B"], baseline: Float[ArrayLike, ""] | Float[ArrayLike, "B"]) -> Float[Array, "B"]:
    """Reward minus a given baseline, one number or one per row: A_b = r_b - baseline_b.

    A table named as baseline has its value at the start of the iteration, so the baseline does not depend on this batch's rewards.
    Source: REINFORCE (Williams 1992) with a moving baseline, as an arm of Back to Basics, arXiv 2402.14740.
    """
    return floating(rewards) - floating(baseline)


@checked()
def leave_one_out(rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> Float[Array, "B"]:
    """Reward minus the mean of the other rewards of its group: A_b = r_b - (sum_g r - r_b) / (G - 1) = G / (G - 1) * (r_b - mean_g).

    A NaN reward (unscorable) is dropped from its siblings' baselines, and its own advantage is zero.
    Exactly zero for groups of one and for groups of equal rewards; zero for rows that are out.
    Source: RLOO, Back to Basics, arXiv 2402.14740, section 3.3 (Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline for free!").
    """
    rewards = floating(rewards)
    scored = ~jnp.isnan(rewards)
    scored_groups = jnp.where(scored, jnp.asarray(groups), -1)
    size = group_size(scored_groups)
    return size / jnp.maximum(size - 1.0, 1.0) * group_center(jnp.where(scored, rewards, 0.0), scored_groups)


@checked(gamma="[0, 1]", clip="(0, inf]")
def remax(
    rewards: Float[ArrayLike, "B"],
    greedy_rewards: Float[ArrayLike, "B"],
    mask: Mask,
    token_rewards: Float[ArrayLike, "B T"] | None = None,
    *,
    gamma: Hyper = 0.99,
    clip: Hyper = 5.0,
) -> Float[Array, "B T"]:
    """Reward minus that of the greedy response, discounted from the end: A_bt = token_rewards_bt + gamma^(n - t) * d_b.

    d_b = min(max(r_b - greedy_b, -clip), clip); t = 0 .. n - 1 counts the n masked tokens, so the last one has gamma^1.
    Zero where mask is 0.
    token_rewards: the token's own dense reward, such as `token_kl_penalty`; it is not summed over later tokens.
    greedy_rewards: of the greedy response to the same prompt, in the units of rewards.
    Source: ReMax, arXiv 2310.10505, and its released code (discount and clip).
    """
    on = counts(mask)
    row_is_used = jnp.any(on, axis=1)
    difference = masked(rewards, row_is_used) - masked(greedy_rewards, row_is_used)
    bound = per_row(clip, 1)
    difference = jnp.clip(difference, -bound, bound)
    tokens_left = jnp.cumsum(on[:, ::-1], axis=1)[:, ::-1]  # n - t, counting the token itself
    weight = floating(per_row(gamma, 2)) ** tokens_left * difference[:, None]
    if token_rewards is not None:
        weight = weight + masked(token_rewards, on)
    return jnp.where(on, weight, 0.0)
