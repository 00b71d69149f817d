"""Baselines per role, where rewards of different roles are not comparable."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper
from pojax.checks import check_range, checked
from pojax.groups import inside
from pojax.numerics import floating, masked, per_row

__all__ = ["role_averages", "role_center"]


@checked(decay="[0, 1]")
def role_center(
    rewards: Float[ArrayLike, "B"],
    roles: Int[ArrayLike, "B"],
    role_baselines: Float[ArrayLike, "R"],
    groups: Int[ArrayLike, "B"],
    *,
    decay: Hyper = 0.95,
) -> Float[Array, "B"]:
    """Reward minus the exponential average of its role so far: A_b = r_b - b[role], then b[role] <- decay b[role] + (1 - decay) r_b.

    Rows arrive in the order of the batch, so a row's baseline holds the rewards of the rows before it, and never its own.
    role_baselines: b at the start of the iteration, such as the column `value` of the tracker `role_averages`, with the same decay.
    Rows that are out are 0 and move no average; role -1 has baseline 0. Raises ValueError where a concrete role is below -1 or not below R.
    Source: SPIRAL, role-conditioned advantage estimation (RAE), arXiv 2506.24119, and prime-rl.
    """
    before, _ = role_averages(rewards, roles, role_baselines, groups, decay=decay)
    is_in = inside(groups)
    return jnp.where(is_in, masked(rewards, is_in) - before, 0.0)


@checked(decay="[0, 1]")
def role_averages(
    rewards: Float[ArrayLike, "B"],
    roles: Int[ArrayLike, "B"],
    role_baselines: Float[ArrayLike, "R"],
    groups: Int[ArrayLike, "B"],
    *,
    decay: Hyper = 0.95,
) -> tuple[Float[Array, "B"], Float[Array, "R"]]:
    """The average of each row's role before the row arrives, and the averages after the last row.

    Source: SPIRAL, role-conditioned advantage estimation (RAE), arXiv 2506.24119, and prime-rl.
    """
    start, is_in = floating(role_baselines), inside(groups)
    check_range("role_center", "a role", roles, f"[-1, {start.shape[0]})")
    mine = jnp.asarray(roles)[:, None] == jnp.arange(start.shape[0])
    moves, decay = mine & is_in[:, None], per_row(jnp.asarray(decay, start.dtype), 2)
    kept = jnp.where(moves, decay, 1.0)
    added = jnp.where(moves, (1.0 - decay) * masked(rewards, is_in)[:, None], 0.0)

    def then(earlier, later):  # b -> kept * b + added, one after the other
        return earlier[0] * later[0], later[0] * earlier[1] + later[1]

    kept, added = jax.lax.associative_scan(then, (kept, added), axis=0)
    after = kept * start + added
    before = jnp.concatenate([start[None], after[:-1]])
    return jnp.sum(jnp.where(mine, before, 0.0), axis=1), after[-1]
