"""The rewards of the most recent groups."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Int32

from pojax.checks import checked
from pojax.groups import first_rows, group_mean
from pojax.trackers.tracker import Tracker

__all__ = ["RewardHistory", "reward_history"]


class RewardHistory(NamedTuple):
    """Mean rewards of the last W groups in a ring, and how many groups there were; the value, their mean, is 0 before the first."""

    means: Float[Array, "W"]
    number: Int32[Array, ""]

    @property
    def value(self) -> Float[Array, ""]:
        used = jnp.arange(self.means.shape[0]) < self.number
        return jnp.sum(jnp.where(used, self.means, 0.0)) / jnp.maximum(jnp.sum(used), 1)


@checked(window="[1, inf)")
def init_reward_history(*, window: int = 100) -> RewardHistory:
    """The empty history of `window` groups. Raises ValueError for window < 1. Source: DeepVideo-R1, arXiv 2506.07464, appendix."""
    return RewardHistory(jnp.zeros(window), jnp.zeros((), jnp.int32))


@checked()
def update_reward_history(table: RewardHistory, rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> RewardHistory:
    """Enter the mean reward of every group of the batch, in the order of their first rows; the oldest give way.

    Source: DeepVideo-R1, arXiv 2506.07464, eq. (9) and appendix (the last 100 samples).
    """
    window = table.means.shape[0]
    first = first_rows(groups)
    order = jnp.cumsum(first) - 1
    total = jnp.sum(first)
    entered = first & (order >= total - window)  # of more groups than the ring holds, the last ones
    slot = jnp.where(entered, (table.number + order) % window, window)
    means = table.means.at[slot].set(group_mean(rewards, groups).astype(table.means.dtype), mode="drop")
    return RewardHistory(means, (table.number + total).astype(jnp.int32))


# relative_difficulty(history="seen.value") reads it:  trackers=dict(seen=("reward_history", dict(window=100)))
reward_history = Tracker(init_reward_history, update_reward_history)
