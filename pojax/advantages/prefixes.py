"""Credit of responses that start from different prefixes of one tree: baselines of the subtree, and projections onto the tree's order."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from pojax.advantages.baselines import group_center
from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.groups import all_equal, group_max, group_size, group_sum, inside
from pojax.numerics import floating, masked, per_row

__all__ = ["prefix_advantages", "staged_advantages"]

MOST_ITERATIONS = 5000


def _is_prefix(short: Int[Array, "B D"], long: Int[Array, "B D"], groups: Int[Array, "B"]) -> Bool[Array, "B B"]:
    """[i, j]: all steps of short_i begin long_j, and both rows are in one group."""
    begins = jax.lax.map(lambda row: jnp.all((short == row) | (short < 0), axis=1), long).T
    return begins & (groups[:, None] == groups[None, :]) & inside(groups)[:, None]


@checked(alpha="[0, inf)", value="{expectation, optimistic, pessimistic}", success="(-inf, inf)")
def prefix_advantages(
    rewards: Float[ArrayLike, "B"],
    prefix: Int[ArrayLike, "B D"],
    groups: Int[ArrayLike, "B"],
    *,
    alpha: Hyper = 0.5,
    value: str = "expectation",
    success: Hyper = 0.5,
) -> Float[Array, "B"]:
    """Reward minus a part of the value of the prefix it started from, centred: A = a - mean_g a, a_i = r_i - alpha * V(p_i).

    prefix: the steps of the prefix p_i as ids >= 0 from the left, then -1; the empty prefix is all -1. Equal ids are the same step.
    value "expectation": V(p) = mean reward of the group's rows whose prefix begins with p, its own among them; "optimistic": 1 if one
    of them succeeded; "pessimistic": 1 if none failed. A row succeeded where its reward is above `success`. No standard deviation.
    Exactly zero where all rewards of a group are equal; zero for rows that are out.
    Raises ValueError for another value. Source: Tree-OPO, arXiv 2509.09284, section 3.3 (heuristic baselines).
    """
    groups = jnp.asarray(groups)
    is_in = inside(groups)
    r = masked(rewards, is_in)
    below = _is_prefix(jnp.asarray(prefix), jnp.asarray(prefix), groups)
    if value == "expectation":
        v = (below @ r) / jnp.maximum(jnp.sum(below, axis=1), 1)
    else:
        won = r > per_row(success, 1)
        v = floating(jnp.any(below & won, axis=1) if value == "optimistic" else ~jnp.any(below & ~won, axis=1))
    a = group_center(r - per_row(alpha, 1) * v, groups)
    # Means of equal rewards over subtrees of other sizes may round differently.
    return jnp.where(is_in & ~all_equal(r, groups), a, 0.0)


@checked(delta="[0, inf)", form="{soft, hard}", success="(-inf, inf)")
def staged_advantages(
    rewards: Float[ArrayLike, "B"],
    prefix: Int[ArrayLike, "B D"],
    groups: Int[ArrayLike, "B"],
    *,
    delta: Hyper = 0.0,
    form: str = "soft",
    siblings: bool = False,
    success: Hyper = 0.5,
) -> Float[Array, "B"]:
    """The advantages nearest to the rewards that respect the tree: a minimises 1/2 ||a - r||^2 over a group's rows under constraints.

    The constraints: sum a = 0, ||a||^2 <= N (form "soft") or = N ("hard"), and a_i + delta <= a_j wherever p_i is a proper prefix of
    p_j, i failed and j succeeded (reward above `success`). N: rows of the group; delta: a margin in units of reward, 0 (soft) or 0.01
    (hard) in the paper.
    siblings: also a_i + delta <= a_j for failed rows i and j whose prefixes differ in the last step alone, where a success of the batch
    starts below p_i and none below p_j. The direction is as in a summary of the paper and was not checked: assumed, off by default.
    prefix: as in `prefix_advantages`. Form "hard" takes the stationary point that scaling reaches; the sphere is not convex.
    Zero where all rewards of a group are equal, and for rows that are out. Raises ValueError for another form.
    Source: Tree-OPO, arXiv 2509.09284, section 3.3 (staged advantage estimation).
    """
    groups, prefix = jnp.asarray(groups), jnp.asarray(prefix)
    r = masked(jax.lax.stop_gradient(floating(rewards)), inside(groups))
    won, depth = r > per_row(success, 1), jnp.sum(prefix >= 0, axis=1)
    below = _is_prefix(prefix, prefix, groups)
    ordered = below & (depth[:, None] < depth[None, :]) & ~won[:, None] & won[None, :]
    if siblings:
        parent = jnp.where(jnp.arange(prefix.shape[1]) < depth[:, None] - 1, prefix, -1)
        beside = _is_prefix(parent, prefix, groups) & (depth[:, None] == depth[None, :]) & (depth > 0) & ~below
        proven = jnp.any(ordered, axis=1)
        ordered |= beside & (~won & proven)[:, None] & ~won & ~proven
    return project_to_order(r, ordered, groups, delta=delta, form=form)


def project_to_order(
    rewards: Float[ArrayLike, "B"], ordered: Bool[ArrayLike, "B B"], groups: Int[ArrayLike, "B"], *, delta: Hyper, form: str
) -> Float[Array, "B"]:
    """The quadratic program of `staged_advantages` for given pairs [i, j]: a_i + delta <= a_j. The pairs must have no cycle.

    a = s z, where z is the centred r projected onto the order with margin delta / s and s the factor that the norm asks for. The
    projection is found in its dual, a flow >= 0 over the pairs, by accelerated projected gradient steps until nothing moves.
    """
    centred, size, ordered = group_center(rewards, groups), group_size(groups), jnp.asarray(ordered)
    delta = per_row(jnp.asarray(delta, centred.dtype), 2)
    degree = jnp.sum(ordered, axis=0) + jnp.sum(ordered, axis=1)
    step = 1.0 / (2.0 * jnp.maximum(group_max(degree, groups), 1.0))[:, None]  # the largest eigenvalue of a graph is at most twice that
    tolerance = 8.0 * jnp.finfo(centred.dtype).eps * jnp.maximum(jnp.max(jnp.abs(centred)), 1e-30)

    def primal(flow: Array) -> tuple[Array, Array]:
        z = centred - jnp.sum(flow, axis=1) + jnp.sum(flow, axis=0)
        norm = jnp.sqrt(jnp.maximum(group_sum(z**2, groups), 1e-30))
        scale = jnp.sqrt(size) / norm
        return z, jnp.minimum(scale, 1.0) if form == "soft" else scale

    def iterate(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        count, flow, ahead, momentum, _ = carry
        z, scale = primal(ahead)
        violation = z[:, None] + delta / jnp.maximum(scale, 1e-30)[:, None] - z[None, :]
        new = jnp.where(ordered, jnp.maximum(ahead + step * violation, 0.0), 0.0)
        moved = jnp.max(jnp.abs(new - ahead) / step)
        # Restart the momentum where it points uphill: linear convergence in place of 1 / k^2.
        uphill = jnp.sum((ahead - new) * (new - flow)) > 0.0
        next_momentum = jnp.where(uphill, 1.0, 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * momentum**2)))
        weight = jnp.where(uphill, 0.0, (momentum - 1.0) / next_momentum)
        return count + 1, new, new + weight * (new - flow), next_momentum, moved

    def going(carry: tuple[Array, ...]) -> Array:
        return (carry[0] < MOST_ITERATIONS) & (carry[4] > tolerance)

    zeros, one = jnp.zeros(ordered.shape, centred.dtype), jnp.ones((), centred.dtype)
    start: tuple[Array, ...] = (jnp.int32(0), zeros, zeros, one, jnp.asarray(jnp.inf, centred.dtype))
    z, scale = primal(jax.lax.while_loop(going, iterate, start)[1])
    return jnp.where(group_sum(centred**2, groups) > 0.0, scale * z, 0.0)
