"""The Pareto front of what earlier iterations reached, and how far the last one pushed it out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.groups import inside
from pojax.reductions import masked_mean, one_number
from pojax.rewards.combination import select_components
from pojax.rewards.hypervolume import hypervolume
from pojax.trackers.tracker import Tracker

__all__ = ["ParetoFront", "pareto_front"]


class ParetoFront(NamedTuple):
    """C places for vectors of K objectives, the reference below which nothing counts, and the next iteration's multiplier."""

    points: Float[Array, "C K"]
    used: Bool[Array, "C"]
    reference: Float[Array, "K"]
    started: Bool[Array, ""]
    multiplier: Float[Array, ""]


@checked(objectives="[1, inf)", capacity="[1, inf)")
def init_pareto_front(*, objectives: int, capacity: int = 16) -> ParetoFront:
    """The empty front of so many objectives: no reference yet, multiplier 1. Raises ValueError for objectives or capacity below 1.

    Source: Dynamic Reward Weighting, arXiv 2509.11452, hypervolume-guided weight adaptation.
    """
    dtype = jnp.result_type(float)
    return ParetoFront(
        points=jnp.zeros((capacity, objectives), dtype),
        used=jnp.zeros(capacity, bool),
        reference=jnp.zeros(objectives, dtype),
        started=jnp.zeros((), bool),
        multiplier=jnp.ones((), dtype),
    )


@checked()
def update_pareto_front(
    table: ParetoFront,
    components: dict[str, Shaped[ArrayLike, "B"]],
    groups: Int[ArrayLike, "B"],
    *,
    directions: dict[str, Hyper],
    low: Hyper = 0.5,
    gain: Hyper = 1.5,
    clamp: bool = True,
) -> ParetoFront:
    """Multiplier of the next iteration: low + gain * tanh(HV(front and v) - HV(front)), v the batch means of the objectives.

    directions: names the objectives, any fields of rows; the number multiplies the mean: 1 where more is better, -1 where less is, other
    sizes set the unit (the volume is in units of all of them, multiplied). v is taken over the rows that are in, of the responses that the
    iteration sampled; the paper validates after every step instead. The first batch, which the initial policy sampled, is the
    reference, and leaves the multiplier at 1. v joins the front where it adds volume; points that it dominates make room, and in a full
    front the point that adds least is dropped. Without rows that are in nothing changes.
    low, gain: so the multiplier is in [0.5, 2), and low where v adds nothing. clamp: see `hypervolume`.
    Raises ValueError where directions is empty, names a field that is not there, or is not as many as the front's objectives.
    Source: Dynamic Reward Weighting, arXiv 2509.11452, hypervolume-guided weight adaptation, and its released code.
    """
    is_in = inside(groups)
    selected = select_components("update_pareto_front", components, directions)
    if len(selected) != table.points.shape[1]:
        raise ValueError(f"update_pareto_front: directions names {len(selected)} objectives, allowed: {table.points.shape[1]} (objectives)")
    means = [masked_mean(component, is_in) * one_number(direction) for component, direction in selected]
    v = jax.lax.stop_gradient(jnp.stack(means)).astype(table.points.dtype)
    points, used = jnp.concatenate([table.points, v[None]]), jnp.append(table.used, True)
    gained = jnp.maximum(
        hypervolume(points, used, table.reference, clamp=clamp) - hypervolume(table.points, table.used, table.reference, clamp=clamp), 0.0
    )
    any_in = jnp.any(is_in)
    first, joins = any_in & ~table.started, any_in & table.started & (gained > 0.0)
    multiplier = jnp.where(any_in & table.started, one_number(low) + one_number(gain) * jnp.tanh(gained), table.multiplier)

    used = used & ~jnp.append(jnp.all(table.points <= v, axis=1), False)  # what v dominates makes room
    total = hypervolume(points, used, table.reference)
    others = used & ~jnp.eye(used.shape[0], dtype=bool)
    adds = total - jax.vmap(lambda rest: hypervolume(points, rest, table.reference))(others)
    place = jnp.argmin(jnp.where(used, adds, -1.0))  # a free place if there is one; the last one is v itself
    joined = table.points.at[place].set(v, mode="drop"), used[:-1].at[place].set(True, mode="drop")
    return ParetoFront(
        points=jnp.where(joins, joined[0], table.points),
        used=jnp.where(joins, joined[1], table.used),
        reference=jnp.where(first, v, table.reference),
        started=table.started | any_in,
        multiplier=multiplier.astype(table.multiplier.dtype),
    )


# Dynamic reward weighting by hypervolume: rewards=[..., ("scale_reward", dict(multiplier="pareto.multiplier"))],
#   trackers=dict(pareto=("pareto_front", dict(objectives=2, directions=dict(correct=1.0, format=1.0))))
pareto_front = Tracker(init_pareto_front, update_pareto_front)
