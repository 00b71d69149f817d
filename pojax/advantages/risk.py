"""Risk measures of the scores of bundles of prompts in place of mean rewards (RiskPO)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.advantages.baselines import group_center
from pojax.annotations import Hyper, Mask, RandomKey, writes
from pojax.checks import checked
from pojax.groups import first_rows, group_quantile, group_rank, group_size, group_std, group_sum, ids, inside, refine
from pojax.numerics import counts, masked, per_row
from pojax.reductions import one_number, quantile

__all__ = ["bundle_prompts", "mixed_value_at_risk", "mixed_value_at_risk_by_bundle"]

SMALLEST_STD = 1e-3  # of the released code: below it a prompt's standard deviation counts as 1
SMALLEST_TOTAL = 1e-6  # of the released code: below it a bundle's deviations share its advantage equally


@writes("bundle", "bundle_rewards", "keep")
@checked(prompts="[1, inf)")
def bundle_prompts(
    rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], keep: Mask, key: RandomKey, *, prompts: int = 5, permute: bool = True
) -> tuple[Int[Array, "B"], Float[Array, "B"], Float[Array, "B T"]]:
    """Bundles of one response to each of K = `prompts` prompts: label `bundle`, score R_j = sum of K rewards, and `keep`.

    Prompts are taken in the order of their ids, K at a time; the j-th bundle of K prompts has the j-th response of each, after a random
    permutation of each prompt's responses (the paper), or in the order of the rows with permute=False (the released code).
    Every row of a bundle has its score. Rows in no whole bundle (prompts beyond the last multiple of K, responses that a smaller group of
    the K has no counterpart for) have bundle -1, score 0 and keep 0. Raises ValueError for prompts below 1.
    Source: RiskPO, arXiv 2510.00911, section on bundles.
    """
    number = jnp.shape(rewards)[0]
    order = jax.random.uniform(key, (number,)) if permute else jnp.arange(number)
    bundle = refine(_sets(groups, prompts), group_rank(order, groups))
    bundle = jnp.where(group_size(bundle) == prompts, bundle, -1)
    return bundle, group_sum(rewards, bundle), masked(keep, (bundle >= 0)[:, None])


def _sets(groups: Int[ArrayLike, "B"], prompts: int) -> Int[Array, "B"]:
    """The number of the K prompts that a row's prompt is bundled with; -1 for rows that are out."""
    dense = ids(groups)
    return jnp.where(dense >= 0, dense // prompts, -1)


@checked(lower="[0, 1]", upper="[0, 1]", weight="[0, inf)")
def mixed_value_at_risk(
    bundle_rewards: Float[ArrayLike, "B"],
    bundle: Int[ArrayLike, "B"],
    low: Float[ArrayLike, ""] | None = None,
    high: Float[ArrayLike, ""] | None = None,
    started: Shaped[ArrayLike, ""] | None = None,
    *,
    lower: Hyper = 0.2,
    upper: Hyper = 0.8,
    weight: Hyper = 0.5,
) -> Float[Array, "B"]:
    """Weight of a bundle in the gradient of (1 + weight) * (lower tail) + (middle) of the distribution of scores R.

    A = -(1 + weight) * max(low - R, 0) + max(R - low, 0) - max(R - high, 0) + low - high, the same for all rows of the bundle: never above
    0, and 0 from the upper quantile on, so it only pushes down; rows with bundle -1 have 0.
    A baseline leaves the expected gradient as it is: `("group_center", dict(rewards="advantages"))` behind it subtracts the mean over
    each prompt's responses, which is the released code's option of a mean over the bundles of the same prompts.
    low, high: the quantiles of the scores, such as those of the tracker `running_quantiles`; where they are not given, or `started` is 0,
    those of this batch at the levels `lower` and `upper`. weight: how much more the lower tail counts than the middle.
    Source: RiskPO, arXiv 2510.00911, theorem 1 applied to both parts of the mixed value-at-risk.
    """
    is_in = inside(bundle)
    scores = masked(bundle_rewards, is_in)
    once = first_rows(bundle)
    fresh = jnp.zeros((), bool) if started is None else ~counts(started)
    levels = []
    for level, known in ((lower, low), (upper, high)):
        own = quantile(scores, once, q=one_number(level))
        levels.append(own if known is None else jnp.where(fresh, own, known))
    tail = -(1.0 + per_row(weight, 1)) * jnp.maximum(levels[0] - scores, 0.0)
    return jnp.where(is_in, tail + _middle(scores, levels[0], levels[1]) + levels[0] - levels[1], 0.0)


def _middle(scores: Float[Array, "B"], low: Shaped[Array, "..."], high: Shaped[Array, "..."]) -> Float[Array, "B"]:
    return jnp.maximum(scores - low, 0.0) - jnp.maximum(scores - high, 0.0)


@checked(lower="[0, 1]", upper="[0, 1]", weight="[0, inf)", epsilon="(0, inf)", credit="{std, sum_mean, uniform}", prompts="[1, inf)")
def mixed_value_at_risk_by_bundle(
    rewards: Float[ArrayLike, "B"],
    bundle_rewards: Float[ArrayLike, "B"],
    bundle: Int[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    *,
    prompts: int = 5,
    lower: Hyper = 0.2,
    upper: Hyper = 0.8,
    weight: Hyper = 0.5,
    epsilon: Hyper = 1e-6,
    credit: str = "std",
) -> Float[Array, "B"]:
    """The released form of `mixed_value_at_risk`: parts divided by their widths, by the bundles' standard deviation, credit per response.

    A_j = (-(1 + weight) * max(low - R, 0) / (lower + epsilon) + middle / (upper - lower + epsilon)) / (2 + weight) / (std + epsilon),
    middle = max(R - low, 0) - max(R - high, 0) + low - high. low, high and std (ddof 1) are of the scores of the bundles of the same K
    prompts: the tracked quantiles never reach the advantage in the released code. Then, for the response of prompt p,
    credit "std": A_j / (std_p + epsilon), std_p of the prompt's rewards, 1 where below 1e-3; "uniform": A_j;
    "sum_mean": A_j without low - high, times (r - mean_p) / (their sum over the bundle), 1 / K where that sum is at most 1e-6.
    prompts: K, as given to `bundle_prompts`. Rows with bundle -1 have 0, and so do all where a set's scores are equal.
    Raises ValueError for another credit.
    Source: RiskPO, arXiv 2510.00911, its released code.
    """
    is_in = inside(bundle)
    scores = masked(bundle_rewards, is_in)
    sets = jnp.where(is_in, _sets(groups, prompts), -1)
    once = jnp.where(first_rows(bundle), sets, -1)  # one row of every bundle
    representative = first_rows(once)

    def of_set(x: Float[Array, "B"]) -> Float[Array, "B"]:
        return group_sum(jnp.where(representative, x, 0.0), sets)

    lower, upper, weight, epsilon = (per_row(jnp.asarray(h, scores.dtype), 1) for h in (lower, upper, weight, epsilon))
    low, high = (of_set(group_quantile(scores, once, q=q)) for q in (lower, upper))
    middle = _middle(scores, low, high) + (0.0 if credit == "sum_mean" else low - high)
    tail = -jnp.maximum(low - scores, 0.0)
    width = jnp.maximum(upper - lower + epsilon, epsilon)
    advantages = ((1.0 + weight) * tail / (lower + epsilon) + middle / width) / (2.0 + weight)
    std = jnp.where(of_set(group_size(once)) > 1.0, of_set(group_std(scores, once)), 1.0)
    advantages = advantages / (std + epsilon)
    if credit == "std":
        own = group_std(rewards, groups)
        advantages = advantages / (jnp.where(own > SMALLEST_STD, own, 1.0) + epsilon)
    elif credit == "sum_mean":
        deviation = jnp.where(is_in, group_center(rewards, groups), 0.0)
        total = group_sum(deviation, bundle)
        known = jnp.abs(total) > SMALLEST_TOTAL
        advantages = advantages * jnp.where(known, deviation / jnp.where(known, total, 1.0), 1.0 / jnp.maximum(group_size(bundle), 1.0))
    return jnp.where(is_in, advantages, 0.0)
