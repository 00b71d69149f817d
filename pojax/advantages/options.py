"""The estimators and scales that trainers offer as options of one another: one function for their table."""

from jaxtyping import Array, ArrayLike, Float, Int

from pojax.advantages.baselines import group_center, leave_one_out
from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.groups import group_std, whole_batch
from pojax.numerics import over_deviation, per_row

__all__ = ["centred_advantages"]


@checked(estimator="{grpo, rloo, reinforce_plus_plus}", scale="{group, batch, none}", epsilon="[0, inf)")
def centred_advantages(
    rewards: Float[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    *,
    estimator: str = "grpo",
    scale: str = "group",
    epsilon: Hyper = 1e-4,
) -> Float[Array, "B"]:
    """Reward minus a group baseline, over a standard deviation: A_b = c_b / (std + epsilon).

    estimator: c_b = r_b - mean_g ("grpo", "reinforce_plus_plus") or G / (G - 1) * (r_b - mean_g) ("rloo").
    scale: std of the rewards of the group ("group"); of the rewards of all rows that are in, or, for reinforce_plus_plus, of the centred
    rewards c ("batch"); "none" leaves c as it is. ddof 1. epsilon is in units of reward. The KL in the reward is `sequence_kl_penalty`.
    These are ROWS; the paper of REINFORCE++ and verl whiten TOKENS (`token_whiten`). TRL's RLOO with normalize_advantages is
    `leave_one_out` and then `batch_normalize` with epsilon 1e-4.
    Exactly zero for groups of one and for groups of equal rewards; zero for rows that are out.
    Raises ValueError for another estimator or scale.
    Source: ms-swift 3, advantage_estimator and scale_rewards (2025); RLOO is arXiv 2402.14740, REINFORCE++ arXiv 2501.03262.
    """
    centred = leave_one_out(rewards, groups) if estimator == "rloo" else group_center(rewards, groups)
    if scale == "none":
        return centred
    spread_of = centred if scale == "batch" and estimator == "reinforce_plus_plus" else rewards
    std = group_std(spread_of, whole_batch(groups) if scale == "batch" else groups)
    return over_deviation(centred, std, per_row(epsilon, 1))
