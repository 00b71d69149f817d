"""Means of what earlier iterations saw."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.checks import checked
from pojax.groups import inside
from pojax.numerics import floating
from pojax.trackers.tracker import Tracker

__all__ = ["RunningMean", "running_mean"]


class RunningMean(NamedTuple):
    """Sum and number of the rewards of earlier iterations; the value is 0 before the first."""

    total: Float[Array, ""]
    number: Float[Array, ""]

    @property
    def value(self) -> Float[Array, ""]:
        return self.total / jnp.maximum(self.number, 1.0)


def init_running_mean() -> RunningMean:
    """The empty sum: total 0, number 0. Source: REINFORCE with a moving baseline, an arm of Back to Basics, arXiv 2402.14740."""
    return RunningMean(jnp.zeros(()), jnp.zeros(()))


@checked()
def update_running_mean(table: RunningMean, rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> RunningMean:
    """Add the rewards of the rows that are in: total + sum of r, number + number of rows.

    Source: REINFORCE with a moving baseline, an arm of Back to Basics, arXiv 2402.14740.
    """
    is_in = inside(groups)
    total = table.total + jnp.sum(jnp.where(is_in, floating(rewards), 0.0))
    return RunningMean(total.astype(table.total.dtype), table.number + jnp.sum(is_in))


# REINFORCE with a moving baseline:
#   advantages=[("subtract_baseline", dict(baseline="reward_mean.value"))], trackers=dict(reward_mean=("running_mean", {}))
running_mean = Tracker(init_running_mean, update_running_mean)
