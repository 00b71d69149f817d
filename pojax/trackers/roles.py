"""Exponential averages of the rewards of every role."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.advantages.roles import role_averages as averages_of
from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.trackers.tracker import Tracker

__all__ = ["RoleAverages", "role_averages"]


class RoleAverages(NamedTuple):
    """One average for each of R roles, 0 before its first reward."""

    value: Float[Array, "R"]


@checked(roles_count="[1, inf)")
def init_role_averages(*, roles_count: int = 2) -> RoleAverages:
    """Averages of 0 for roles 0 .. roles_count - 1. Source: SPIRAL (RAE), arXiv 2506.24119."""
    return RoleAverages(jnp.zeros(roles_count))


@checked(decay="[0, 1]")
def update_role_averages(
    table: RoleAverages, rewards: Float[ArrayLike, "B"], roles: Int[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, decay: Hyper = 0.95
) -> RoleAverages:
    """After each row in order: b[role] <- decay b[role] + (1 - decay) r; rows that are out, or of role -1, move nothing.

    Raises ValueError where a concrete role is below -1 or not below R. Source: SPIRAL (RAE), arXiv 2506.24119, and prime-rl.
    """
    _, after = averages_of(rewards, roles, table.value, groups, decay=decay)
    return RoleAverages(after.astype(table.value.dtype))


# Role-conditioned advantages: advantages=[("role_center", dict(roles="difficulty", role_baselines="averages.value"))],
#   trackers=dict(averages=("role_averages", dict(roles="difficulty", roles_count=3)))
role_averages = Tracker(init_role_averages, update_role_averages)
