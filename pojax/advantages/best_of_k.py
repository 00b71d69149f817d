"""Credit for the best of k responses: gradients of E[max of k], and of pass@k where rewards are 0 and 1.

`max_at_k` and `max_at_k_off_policy` transform rewards; standardise what they write, as in
`advantages=[("max_at_k", dict(k=4)), ("group_normalize", dict(rewards="rewards_at_k"))]`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import check_range, checked
from pojax.groups import group_max, group_rank, group_size, group_std, inside
from pojax.numerics import floating, masked, over_deviation, per_row
from pojax.reductions import sequence_log_ratio

__all__ = ["best_minus_second", "max_at_k", "max_at_k_off_policy"]


@checked(epsilon="[0, inf)")
def best_minus_second(
    rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, normalize: bool = False, epsilon: Hyper = 1e-6
) -> Float[Array, "B"]:
    """The best response of a group gets its lead over the second best, the others 0: A_b = max_g r - max over the others of the group.

    This is leave-one-out credit for E[max of k] with k the size of the group. It is never negative: nothing is pushed down.
    normalize: divide by (std_g + epsilon) with ddof 1, as in verl; epsilon in units of reward.
    Exactly zero where two responses share the best reward, in groups of one, and for rows that are out.
    Source: Optimizing Language Models for Inference Time Objectives using RL, arXiv 2503.19595 (pass@k); verl grpo_passk.
    """
    rewards, size = masked(rewards, inside(groups)), group_size(groups)
    top = (group_rank(rewards, groups) == size - 1.0) & (size > 1.0)  # one row of each group, also where rewards tie
    second = group_max(jnp.where(top, -jnp.inf, rewards), groups)
    lead = jnp.where(top, rewards - jnp.where(top, second, 0.0), 0.0)
    if not normalize:
        return lead
    return over_deviation(lead, group_std(rewards, groups), per_row(epsilon, 1))


@writes("rewards_at_k")
@checked(k="[1, inf)")
def max_at_k(rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, k: Hyper) -> Float[Array, "B"]:
    """Share of each response in the best of k: sum_i r~_i grad log pi(y_i) is an unbiased gradient of E[max of k], from n >= k responses.

    With the group's n rewards in ascending order, i = 1 .. n:
    r~_i = (C(i - 1, k - 1) r_(i) + sum over j > i, j >= k of C(j - 2, k - 2) r_(j)) / C(n, k); their sum is k * max@k.
    k: a whole number from 1 to n, traced, so it may follow a schedule; k = 1 gives r / n, k = n the same value for the whole group.
    Tied rewards get equal values. Where a group has fewer than k rows the values are 0; rows that are out are 0.
    Raises ValueError for k below 1, and for k above the rows of a group where groups are concrete.
    Source: The Best of N Worlds (max@k), arXiv 2510.23393, eq. (9); Pass@K Policy Optimization, arXiv 2505.15201.
    """
    _check_k("max_at_k", k, groups)
    rewards = masked(rewards, inside(groups))
    rank, above = _order(rewards, groups)
    first, second = (_share(rank, group_size(groups), k, fixed) for fixed in (1, 2))
    return first * rewards + _total(above, second * rewards)


@writes("rewards_at_k")
@checked(k="[1, inf)")
def max_at_k_off_policy(
    rewards: Float[ArrayLike, "B"],
    logprobs: Float[ArrayLike, "B T"],
    old_logprobs: Float[ArrayLike, "B T"],
    mask: Mask,
    groups: Int[ArrayLike, "B"],
    *,
    k: Hyper,
) -> Float[Array, "B"]:
    """`max_at_k` for responses of an older policy, to first order in d = ratio - 1, ratio = exp(sum_t mask (logprob - old)).

    r~_i = sum over j >= i, j >= k of w_ij r_(j) / C(n, k), with rewards in ascending order and
    w_ii = C(i - 1, k - 1) (1 + d_i) + C(i - 2, k - 2) sum over l < i of d_l,
    w_ij = C(j - 2, k - 2) (1 + d_i + d_j) + C(j - 3, k - 3) sum over l < j, l != i of d_l.
    The exact weight of a subset of k is the product of its ratios; this is its expansion, and `max_at_k` where all ratios are 1. The
    ratios are in the result, so the gradient is that of r~ * logprob. A constant of the gradient: a rule for `per_minibatch`.
    k, degenerate groups and errors as in `max_at_k`; log-ratios are clamped to [-20, 20].
    Source: The Best of N Worlds (max@k), arXiv 2510.23393, eq. (10) and its first-order form (w_ii derived anew, the print has a slip).
    """
    _check_k("max_at_k_off_policy", k, groups)
    is_in = inside(groups)
    rewards = masked(rewards, is_in)
    ratio = jnp.exp(jax.lax.stop_gradient(sequence_log_ratio(logprobs, old_logprobs, mask)))
    d = jnp.where(is_in, ratio - 1.0, 0.0)
    rank, above = _order(rewards, groups)
    first, second, third = (_share(rank, group_size(groups), k, fixed) * rewards for fixed in (1, 2, 3))
    below_d = _total(above.T, d)
    from_above = (1.0 + d) * _total(above, second) + _total(above, second * d + third * below_d) - d * _total(above, third)
    return first * (1.0 + d) + second * below_d + from_above


def _check_k(function: str, k: Hyper, groups: Int[ArrayLike, "B"]) -> None:
    if isinstance(groups, jax.core.Tracer) or not np.any(np.asarray(groups) >= 0):
        return
    sizes = np.unique(np.asarray(groups)[np.asarray(groups) >= 0], return_counts=True)[1]
    check_range(function, "k", k, f"[1, {sizes.min()}]")


def _order(rewards: Float[Array, "B"], groups: Int[ArrayLike, "B"]) -> tuple[Float[Array, "B"], Bool[Array, "B B"]]:
    """Rank in the group from 1 (the least reward) on, and True at [i, j] where j is of i's group and ranks above i."""
    groups = jnp.asarray(groups)
    rank = group_rank(rewards, groups) + 1
    above = (groups[:, None] == groups[None, :]) & inside(groups)[:, None] & (rank[None, :] > rank[:, None])
    return floating(rank), above


def _total(where: Bool[Array, "B B"], x: Float[Array, "B"]) -> Float[Array, "B"]:
    """sum over j of x_j where [i, j]: no matrix product, whose precision accelerators cut."""
    return jnp.sum(jnp.where(where, x[None, :], 0.0), axis=1)


def _share(rank: Float[Array, "B"], size: Float[Array, "B"], k: Hyper, fixed: int) -> Float[Array, "B"]:
    """C(j - fixed, k - fixed) / C(n, k) for rank j of n: how likely j is the largest of k of n, with fixed - 1 others below it given.

    As a product of ratios below 1, so that no binomial overflows; 0 where j < k.
    """
    k, m = per_row(jnp.round(jnp.asarray(k, rank.dtype)), 1)[..., None], jnp.arange(rank.shape[0])
    n, j = size[:, None], rank[:, None]
    given = (k - m) / jnp.maximum(n - m, 1.0)
    drawn = (j - m) / jnp.maximum(n - m, 1.0)
    ratios = jnp.where(m < fixed, given, jnp.where(m < k, drawn, 1.0))
    return jnp.where(j[:, 0] >= jnp.broadcast_to(k[..., 0], rank.shape), jnp.prod(ratios, axis=1), 0.0)
