"""Credit of the turns of an agent: compared with other visits of the same state."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.advantages.baselines import group_center
from pojax.advantages.normalizers import group_normalize
from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import refine
from pojax.numerics import counts, floating, per_row
from pojax.reductions import reward_to_go

__all__ = ["episode_and_step_advantages"]


@checked(omega="[0, inf)", gamma="[0, 1]", form="{mean, mean_std}", episodes="{once, per_step}", epsilon="[0, inf)")
def episode_and_step_advantages(
    step_rewards: Float[ArrayLike, "B N"],
    anchor: Int[ArrayLike, "B N"],
    turn: Int[ArrayLike, "B T"],
    groups: Int[ArrayLike, "B"],
    mask: Mask,
    *,
    omega: Hyper = 1.0,
    gamma: Hyper = 0.95,
    form: str = "mean",
    episodes: str = "once",
    epsilon: Hyper = 1e-6,
) -> Float[Array, "B T"]:
    """Group-in-group advantages of every token of turn k: A = A_episode + omega * A_step(k).

    A_episode = (R - mean) / F over the episodes of the prompt, R = sum_k r_k. A_step = (R_k - mean) / F over all turns, of any episode of
    the prompt and any time, that began in the same state; R_k = sum_(l >= k) gamma^(l - k) r_l.
    step_rewards: r_k; anchor: the state before turn k as an id >= 0 (exact match of observations), -1 = no such turn; turn: the turn of
    every token. A turn counts only if a masked token has its number.
    form: F = 1 for "mean" (the default of the released code), the standard deviation (ddof 1) + epsilon for "mean_std"; epsilon is in
    units of reward.
    episodes: an episode counts "once" in the episode statistics (the paper), or once "per_step", so that longer ones weigh more (the
    released code's default). gamma discounts per turn; omega weighs the steps.
    A state visited once has A_step = 0, a single episode A_episode = 0 (released code: its raw return), equal returns give exactly 0.
    Zero where mask is 0 and for rows that are out. Raises ValueError for another form or episodes.
    Source: GiGPO, arXiv 2505.10978, eq. (3) and (5) to (8), and its released code.
    """
    groups, on, turn = jnp.asarray(groups), counts(mask), jnp.asarray(turn)
    rows, number = jnp.shape(step_rewards)
    taken = jnp.zeros((rows, number), bool).at[jnp.arange(rows)[:, None], jnp.where(on & (turn >= 0), turn, number)].set(True, mode="drop")
    taken &= (groups >= 0)[:, None]
    rewards = jnp.where(taken, floating(step_rewards), 0.0)
    totals = jnp.sum(rewards, axis=1)
    flat_groups = jnp.where(taken, groups[:, None], -1).reshape(-1)

    def compare(x: Array, ids: Array, epsilon: Array) -> Array:
        return group_center(x, ids) if form == "mean" else group_normalize(x, ids, epsilon=epsilon)

    each = jnp.broadcast_to(per_row(epsilon, 2), taken.shape).reshape(-1)
    if episodes == "once":
        episode = compare(totals, jnp.where(jnp.any(taken, axis=1), groups, -1), per_row(epsilon, 1))[:, None]
    else:
        episode = compare(jnp.repeat(totals, number), flat_groups, each).reshape(rows, number)
    returns = reward_to_go(rewards, taken, discount=gamma)
    step = compare(returns.reshape(-1), refine(flat_groups, jnp.asarray(anchor).reshape(-1)), each).reshape(rows, number)
    advantages = jnp.where(taken, episode + per_row(omega, 2) * step, 0.0)
    index = jnp.clip(turn, 0, number - 1)
    return jnp.where(on & (turn >= 0) & (turn < number), jnp.take_along_axis(advantages, index, axis=1), 0.0)
