"""Responses that judges accept or not (CGPO): rewards, pairs and best responses that respect constraints."""

from functools import reduce
from operator import and_

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.groups import group_max, group_rank, group_sum, inside
from pojax.numerics import floating, masked, per_row
from pojax.reductions import row_sum
from pojax.rewards.combination import select_components

__all__ = ["calibrated_reward", "constrained_best", "constrained_pairs", "constrained_reward", "judges_satisfied"]


@writes("satisfied")
@checked()
def judges_satisfied(components: dict[str, Shaped[ArrayLike, "B"]], *, thresholds: dict[str, Hyper]) -> Float[Array, "B"]:
    """1 where every judge passes, component_k >= threshold_k for all k, else 0.

    The paper's algorithm 1 prints "or" over the judges; its text requires all.
    thresholds: names the judges, components with verdicts or scores. A NaN verdict does not pass.
    Raises ValueError where thresholds is empty or names a component that is not there.
    Source: CGPO ("The Perfect Blend"), arXiv 2409.20370, mixture of judges.
    """
    judges = select_components("judges_satisfied", components, thresholds)
    return floating(reduce(and_, (verdict >= threshold for verdict, threshold in judges)))


@writes("calibrated")
@checked()
def calibrated_reward(rewards: Float[ArrayLike, "B"], baseline: Float[ArrayLike, ""] | Float[ArrayLike, "B"]) -> Float[Array, "B"]:
    """Reward calibrated against a base response: sigmoid(r_b - baseline_b), in (0, 1).

    baseline: the reward of the base response to the same prompt (supervised, preferred, or of the reference policy), in the units of r.
    Source: CGPO ("The Perfect Blend"), arXiv 2409.20370, calibrated reward.
    """
    return jax.nn.sigmoid(floating(rewards) - floating(baseline))


@writes("constrained")
@checked(kl_max="(0, inf)")
def constrained_reward(
    calibrated: Float[ArrayLike, "B"],
    satisfied: Shaped[ArrayLike, "B"],
    logprobs: Float[ArrayLike, "B T"],
    ref_logprobs: Float[ArrayLike, "B T"],
    mask: Mask,
    *,
    kl_max: Hyper = 20.0,
) -> Float[Array, "B"]:
    """Reward that constraints and drift from the reference take away (CRPG): max(1 - l_b / kl_max, 0) * calibrated_b * [satisfied_b].

    l = sum_t mask (logprob - ref): of the current policy as a per_minibatch rule, a constant of the gradient. Very negative l give a
    factor above 1, not capped, as in the paper. kl_max: in nats per response, assumed 20 (the paper has values per task and prints none).
    Advantages: ("batch_center", dict(rewards="constrained")), whose mean over a task's batch is the paper's baseline; where nobody
    satisfies, all are 0.
    Raises ValueError for kl_max not above 0.
    Source: CGPO ("The Perfect Blend"), arXiv 2409.20370, calibrated regularised policy gradient, eq. (11) and (12).
    """
    factor = jnp.maximum(1.0 - _drift(logprobs, ref_logprobs, mask) / per_row(kl_max, 1), 0.0)
    return jax.lax.stop_gradient(jnp.where(floating(satisfied) != 0.0, factor * floating(calibrated), 0.0))


@writes("role", "chosen")
@checked()
def constrained_pairs(
    rewards: Float[ArrayLike, "B"], satisfied: Shaped[ArrayLike, "B"], groups: Int[ArrayLike, "B"]
) -> tuple[Int[Array, "B"], Float[Array, "B"]]:
    """One pair of each group (CODPO): role +1 the satisfying response of highest reward, -1 the violating one of lowest, 0 the others.

    Where nobody violates, -1 is the response of lowest reward of all; where nobody satisfies, or both would be the same response (a group
    of one), the group has no pair. Ties by the order of the rows. chosen: 1.0 at role +1, the `where` of `codpo`.
    Source: CGPO ("The Perfect Blend"), arXiv 2409.20370, constrained online DPO.
    """
    accepted, rewards = inside(groups) & (floating(satisfied) != 0.0), floating(rewards)
    best = _first(-rewards, accepted, groups)
    violating = inside(groups) & ~accepted
    any_violates = group_sum(violating, groups) > 0.0
    worst = _first(rewards, jnp.where(any_violates, violating, inside(groups)), groups)
    paired = (group_sum(best, groups) > 0.0) & (group_sum(best & worst, groups) == 0.0)
    chosen = paired & best
    return jnp.where(chosen, 1, jnp.where(paired & worst, -1, 0)).astype(jnp.int32), floating(chosen)


@writes("selected")
@checked(kl_max="(0, inf)")
def constrained_best(
    rewards: Float[ArrayLike, "B"],
    satisfied: Shaped[ArrayLike, "B"],
    logprobs: Float[ArrayLike, "B T"],
    ref_logprobs: Float[ArrayLike, "B T"],
    mask: Mask,
    groups: Int[ArrayLike, "B"],
    is_base: Shaped[ArrayLike, "B"] | None = None,
    *,
    kl_max: Hyper = 20.0,
) -> Float[Array, "B"]:
    """One response of each group to imitate (CRRAFT): 1.0 at the highest reward of those that satisfy within kl_max.

    Drift: l = sum_t mask (logprob - ref) <= kl_max, in nats per response (assumed 20), of the current policy as a per_minibatch rule.
    is_base: marks rows that are base responses; they are candidates only where a group has no other, if they satisfy. Without a
    candidate the group is skipped. Ties by the order of the rows.
    Loss: ("negative_log_likelihood", dict(where="selected", scale="calibrated", aggregate="sequence_mean_token_sum")).
    Raises ValueError for kl_max not above 0.
    Source: CGPO ("The Perfect Blend"), arXiv 2409.20370, calibrated regularised reward-ranked fine-tuning, eq. (15) with
    the minus sign that it lacks.
    """
    near = _drift(logprobs, ref_logprobs, mask) <= per_row(kl_max, 1)
    accepted = inside(groups) & (floating(satisfied) != 0.0)
    base = jnp.zeros_like(accepted) if is_base is None else inside(groups) & (floating(is_base) != 0.0)
    fresh = accepted & near & ~base
    any_fresh = group_max(fresh, groups) > 0.0
    return floating(_first(-floating(rewards), jnp.where(any_fresh, fresh, accepted & base), groups))


def _drift(logprobs: Float[ArrayLike, "B T"], ref_logprobs: Float[ArrayLike, "B T"], mask: Mask) -> Float[Array, "B"]:
    """Log-ratio of the whole response, not clamped: nothing exponentiates it, and kl_max may lie beyond any clamp."""
    return row_sum(floating(logprobs) - floating(ref_logprobs), mask)


def _first(x: Float[Array, "B"], candidates: Bool[Array, "B"], groups: Int[ArrayLike, "B"]) -> Bool[Array, "B"]:
    """True at the candidate with the lowest x of each group, ties by the order of the rows."""
    return group_rank(masked(x, candidates), jnp.where(candidates, jnp.asarray(groups), -1)) == 0
