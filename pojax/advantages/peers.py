"""Groupings by role: with whom a row is compared where several roles take part in an episode."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Int

from pojax.annotations import writes
from pojax.checks import checked
from pojax.groups import group_rank, inside, refine

__all__ = ["peer_groups", "proposer_solver_episodes"]


@writes("peers")
@checked(first_episode_role="[0, inf)")
def peer_groups(
    groups: Int[ArrayLike, "B"], role: Int[ArrayLike, "B"], episode: Int[ArrayLike, "B"], *, first_episode_role: int = 1
) -> Int[Array, "B"]:
    """Ids of the rows that a row is compared with: those of its role, in its episode or in its whole group; -1 for rows that are out.

    Roles below first_episode_role (proposers, 0) have peers in the whole group; the others (solvers, from 1 on) only in their episode, that
    is with the same proposed problem. Episodes of different groups are different, whatever their ids. A row whose role is -1 has no
    peers and is out, and so is one of an episode role whose episode is -1. Advantages: ("group_center", dict(groups="peers")), no division;
    a row without other peers gets 0 there.
    Source: hierarchical GRPO of prime-rl (2025), proposer and solver roles.
    """
    role = jnp.asarray(role)
    scoped = role >= first_episode_role
    return refine(refine(groups, jnp.where(scoped, jnp.asarray(episode), 0)), role)


@writes("role", "episode")
@checked(size="[2, inf)")
def proposer_solver_episodes(groups: Int[ArrayLike, "B"], *, size: int = 4) -> tuple[Int[Array, "B"], Int[Array, "B"]]:
    """Roles and episodes by the order of a group's rows: every `size` rows are an episode, the first of them its proposer.

    Role 0 is the proposer, 1 a solver. Gives the labels of `peer_groups` where the arrangement has none, so that a task with
    one kind of response can stand in. -1 for rows that are out. Raises ValueError for size < 2.
    Source: the episodes of hierarchical GRPO of prime-rl (2025), one proposer and its solvers.
    """
    is_in = inside(groups)
    place = group_rank(jnp.zeros(jnp.shape(groups)), groups)
    return jnp.where(is_in, jnp.where(place % size == 0, 0, 1), -1).astype(jnp.int32), jnp.where(is_in, place // size, -1)
