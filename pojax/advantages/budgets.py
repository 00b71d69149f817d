"""Credit of stretches between budgets: what later cuts of a response score against what earlier cuts of it, and of its group, did."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import all_equal, group_max, group_mean, group_min, group_size, refine
from pojax.numerics import counts, floating, masked, per_row

__all__ = ["budget_advantages", "summary_advantages"]


@checked(prior="{base, uniform, linear}", baseline="{both, own, group}", decay="(0, 1]")
def budget_advantages(
    budget_scores: Float[ArrayLike, "B M"],
    budget: Int[ArrayLike, "B T"],
    groups: Int[ArrayLike, "B"],
    mask: Mask,
    *,
    prior: str = "uniform",
    baseline: str = "both",
    decay: Hyper = 0.5,
) -> Float[Array, "B T"]:
    """Budget relative advantages: for the tokens between budgets s - 1 and s (s = 1 .. m), A = R_s - V_s,

    R_s = sum_(j >= s) P_j score_j, V_s = (s - 1) / m * V1 + (m - s + 1) / m * V2,
    V1 = sum_(j < s) decay^(s - j) score_j / sum_(j < s) decay^(s - j) * sum_(j >= s) P_j (0 for s = 1), V2 = mean of R_s over the group.

    budget_scores: mean score of the summaries at each budget, j = 1 .. m; where the response ended before a budget, that of its end.
    budget: s - 1 of every token, the number of budgets that end before it, 0 .. m - 1 (clipped to it).
    decay: how fast older scores are forgotten; the released code's weights 2^j are decay 0.5.
    prior P over budgets: "base" only the last, "uniform", "linear" in proportion to evenly spaced budgets.
    baseline: "both"; "own" is V1 alone (the code's "v1only"), "group" V2 alone ("v2only": with m = 1 Dr. GRPO's advantage).
    No standard deviation. A group of one has V2 = 0, as in the released code. Zero where mask is 0, for rows that are out, and exactly
    zero for a larger group in which all scores are equal. Raises ValueError for another prior or baseline.
    Source: BRPO (AnytimeReasoner), arXiv 2505.13438, eq. (6) to (9).
    """
    groups = jnp.asarray(groups)
    scores = jnp.where((groups >= 0)[:, None], floating(budget_scores), 0.0)
    m = scores.shape[1]
    j = jnp.arange(1, m + 1)
    weight = {"base": (j == m).astype(scores.dtype), "uniform": jnp.ones(m, scores.dtype), "linear": j.astype(scores.dtype)}[prior]
    weight = weight / jnp.sum(weight)
    later = jnp.cumsum((weight * scores)[:, ::-1], axis=1)[:, ::-1]
    rest = jnp.cumsum(weight[::-1])[::-1]
    number = group_size(groups)
    group = jnp.where(number[:, None] > 1, group_mean(later, groups), 0.0)
    age = (j[:, None] - j[None, :] - 1)[None]  # of score j at segment s, 0 for the one just before; a common factor cancels
    weights = jnp.where(age >= 0, floating(per_row(decay, 2))[..., None] ** jnp.maximum(age, 0), 0.0)
    total = jnp.sum(weights, axis=2)
    own = jnp.sum(weights * scores[:, None, :], axis=2) / jnp.where(total > 0.0, total, 1.0) * rest
    share = {"both": (j - 1) / m, "own": jnp.ones(m), "group": jnp.zeros(m)}[baseline]
    advantages = later - (share * own + (1.0 - share) * group)
    high, low = (function(extreme(scores, axis=1), groups) for function, extreme in ((group_max, jnp.max), (group_min, jnp.min)))
    flat = (number > 1) & (high == low) if baseline != "own" else number < 0
    advantages = jnp.where(flat[:, None] | (groups < 0)[:, None], 0.0, advantages)
    index = jnp.clip(jnp.asarray(budget), 0, m - 1)
    return jnp.where(counts(mask), jnp.take_along_axis(advantages, index, axis=1), 0.0)


@checked()
def summary_advantages(
    rewards: Float[ArrayLike, "B"],
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    summary: Int[ArrayLike, "B"],
    cut: Int[ArrayLike, "B"],
) -> Float[Array, "B"] | Float[Array, "B T"]:
    """Credit of summaries as rows: reward minus the mean over the summaries of the same cut of the same response.

    summary: the prompt of a summary, -1 on all other rows, which keep the advantages they have; cut: one id to a (response, budget).
    A cut with a single summary has the mean of the prompt's summaries in its place, as in the released code. Every budget counts the
    same, whatever the prior of the thinking (decoupled). Exactly zero where the rewards compared are equal.
    Source: BRPO (AnytimeReasoner), arXiv 2505.13438, section 3.3, and its released code.
    """
    advantages, summary = floating(advantages), jnp.asarray(summary)
    own, cuts = masked(rewards, summary >= 0), refine(summary, cut)
    alone = group_size(cuts) == 1
    baseline = jnp.where(alone, group_mean(own, summary), group_mean(own, cuts))
    equal = jnp.where(alone, all_equal(own, summary), all_equal(own, cuts))
    credit = per_row(jnp.where(equal, 0.0, own - baseline), advantages.ndim)
    return jnp.where(per_row(summary >= 0, advantages.ndim), credit, advantages)
