"""Policy filtration: which responses of a prompt are learned from, and how often, by the rank of their rewards.

A response that is drawn m times counts m times: `resample` gives integer multiplicities, named as scale="multiplicity" of the loss.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper, Mask, RandomKey, writes
from pojax.checks import checked
from pojax.groups import all_equal, group_max, group_min, group_rank, group_size, group_sum, inside, whole_batch
from pojax.numerics import floating, masked, over_deviation, per_row, root

__all__ = ["filter_extremes", "filtration_weights", "resample", "resampled_normalize"]

SMALLEST_WEIGHT = 1e-8  # of the released code


@writes("filtration")
@checked(rule="{best, best_random, best_worst, power}", form="{paper, verl}", power="[0, inf)")
def filtration_weights(
    rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, rule: str = "best_worst", form: str = "paper", power: Hyper = 2.0
) -> Float[Array, "B"]:
    """Probability of every response in the resampling of its group: w_b / sum_g w, with 1e-8 added to each w; 0 for rows that are out.

    rule "best" (BoN): w = 1 for the largest reward of the group, else 0; "best_random" (BR): 0.4 and 0.1; "best_worst" (BW): 1 for the
    largest and for the smallest, else 0; "power": |r|^power. Ties: the first row. Where all rewards are equal, best_worst has one row.
    form "verl": the whole batch is one group and all rows that tie with an extreme get its weight, so that easy prompts fill the top.
    Source: Policy Filtration in RLHF (PF-PPO), arXiv 2409.06957, and its released code; verl's use_pf_ppo.
    """
    is_in = inside(groups)
    rewards, groups = masked(rewards, is_in), _scope(groups, form)
    if form == "verl":
        best, worst = rewards == group_max(rewards, groups), rewards == group_min(rewards, groups)
    else:
        best, worst = group_rank(-rewards, groups) == 0, group_rank(rewards, groups) == 0
    if rule == "power":
        size = jnp.abs(rewards)
        weight = jnp.where(size > 0.0, jnp.where(size > 0.0, size, 1.0) ** per_row(power, 1), 0.0)
    elif rule == "best_random":
        weight = jnp.where(best, 0.4, 0.1)
    else:
        weight = floating(best if rule == "best" else best | worst)
    weight = jnp.where(is_in, weight + SMALLEST_WEIGHT, 0.0)
    return weight / jnp.where(is_in, group_sum(weight, groups), 1.0)


@writes("multiplicity")
@checked(form="{paper, verl}")
def resample(key: RandomKey, filtration: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, form: str = "paper") -> Float[Array, "B"]:
    """How often every response is drawn when each group draws as many responses as it has, with replacement, with these probabilities.

    Whole numbers that add up to the size of the group (form "verl": to that of the batch); 0 for rows that are out. As the scale of a loss
    under `sequence_mean` they give exactly the loss of the resampled batch; `token_mean` divides by the tokens of the batch as it was.
    Source: Policy Filtration in RLHF (PF-PPO), arXiv 2409.06957; released code draws indices with torch.multinomial.
    """
    is_in, groups = inside(groups), _scope(groups, form)
    weight = masked(filtration, is_in)
    allowed = (groups[:, None] == groups[None, :]) & (weight > 0.0)[None, :]
    logits = jnp.where(allowed, jnp.log(jnp.where(weight > 0.0, weight, 1.0))[None, :], -jnp.inf)
    drawn = jax.random.categorical(key, jax.lax.stop_gradient(logits), axis=1)
    draws = is_in & jnp.any(allowed, axis=1)
    return jax.ops.segment_sum(floating(draws), drawn, num_segments=groups.shape[0])


@checked(epsilon="[0, inf)", ddof="{0, 1}")
def resampled_normalize(
    rewards: Float[ArrayLike, "B"],
    multiplicity: Float[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    *,
    epsilon: Hyper = 1e-6,
    ddof: int = 1,
) -> Float[Array, "B"]:
    """`group_normalize` of the resampled batch: (r_b - mean_g) / (std_g + epsilon), each response counted as often as it was drawn.

    epsilon is in units of reward. Exactly zero where all that was drawn of a group has one reward, for responses that were not drawn, and
    for rows that are out. Raises ValueError for ddof other than 0 and 1.
    Source: PF-PPO, arXiv 2409.06957, whose critic learns from the resampled responses; GRPO, arXiv 2402.03300, section 4.1.2 (statistics).
    """
    times = masked(multiplicity, inside(groups))
    drawn = times > 0.0
    members, rewards = jnp.where(drawn, jnp.asarray(groups), -1), masked(rewards, drawn)
    number = group_sum(times, members)
    centered = rewards - group_sum(times * rewards, members) / jnp.maximum(number, 1.0)
    centered = jnp.where(drawn & ~all_equal(rewards, members), centered, 0.0)
    variance = group_sum(times * centered**2, members) / jnp.maximum(number - ddof, 1.0)
    return over_deviation(centered, root(variance), per_row(epsilon, 1))


@writes("keep")
@checked(rule="{best, best_random, best_worst}")
def filter_extremes(
    key: RandomKey, keep: Mask, rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, rule: str = "best_worst"
) -> Float[Array, "B T"]:
    """Clear all responses of a group but its extremes: the hard form of `filtration_weights`, without resampling.

    rule "best": the largest reward stays; "best_random": and one other row, drawn evenly; "best_worst": and the smallest. Ties: the first
    row. A group of one stays; where all rewards are equal, best_worst keeps the first row alone. Rows that are out are cleared.
    Source: Policy Filtration in RLHF (PF-PPO), arXiv 2409.06957 (hard filtering of its released code).
    """
    is_in = inside(groups)
    rewards = masked(rewards, is_in)
    best = group_rank(-rewards, groups) == 0
    if rule == "best_random":
        noise = jnp.where(best, -1.0, jax.random.uniform(key, best.shape))
        other = group_rank(-noise, groups) == 0
    else:
        other = best if rule == "best" else group_rank(rewards, groups) == 0
    return masked(keep, (is_in & (best | (other & (group_size(groups) > 1))))[:, None])


def _scope(groups: Int[ArrayLike, "B"], form: str) -> Int[Array, "B"]:
    return whole_batch(groups) if form == "verl" else jnp.asarray(groups)
