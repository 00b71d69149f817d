"""Quantiles of what earlier iterations saw."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.groups import first_rows
from pojax.numerics import floating, masked
from pojax.reductions import masked_mean, one_number, quantile
from pojax.trackers.tracker import Tracker

__all__ = ["RunningQuantiles", "running_quantiles"]


class RunningQuantiles(NamedTuple):
    """A lower and an upper quantile; meaningless until the first batch was seen."""

    low: Float[Array, ""]
    high: Float[Array, ""]
    started: Bool[Array, ""]


def init_running_quantiles() -> RunningQuantiles:
    """Before the first batch: 0, 0 and not started. Source: RiskPO, arXiv 2510.00911."""
    return RunningQuantiles(jnp.zeros(()), jnp.zeros(()), jnp.zeros((), bool))


@checked(lower="[0, 1]", upper="[0, 1]", rate="[0, 1]")
def update_running_quantiles(
    table: RunningQuantiles,
    rewards: Float[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    *,
    lower: Hyper = 0.2,
    upper: Hyper = 0.8,
    rate: Hyper = 0.1,
) -> RunningQuantiles:
    """One step towards the quantiles: q <- q + rate * (level - share of groups whose reward is below q), for both levels.

    Every group counts once, by its first row: rewards is one number per group at each of its rows, such as the scores of bundles
    (rewards="bundle_rewards", groups="bundle"). The first batch's own quantiles are the start. A batch without groups changes nothing.
    rate is in units of reward per iteration. Source: RiskPO, arXiv 2510.00911, quantile tracking.
    """
    once = first_rows(groups)
    x, any_in = masked(rewards, once), jnp.any(once)

    def step(old: Float[Array, ""], level: Hyper) -> Float[Array, ""]:
        level = one_number(level)
        q = jnp.where(table.started, old, quantile(x, once, q=level))
        moved = q + one_number(rate) * (level - masked_mean(floating(x < q), once))
        return jnp.where(any_in, moved, old).astype(old.dtype)

    return RunningQuantiles(step(table.low, lower), step(table.high, upper), table.started | any_in)


# RiskPO: trackers=dict(quantiles=("running_quantiles", dict(rewards="bundle_rewards", groups="bundle")))
running_quantiles = Tracker(init_running_quantiles, update_running_quantiles)
