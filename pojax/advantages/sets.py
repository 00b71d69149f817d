"""Credit of sets of responses: a set is as good as its members succeed, times how different they are."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Mask, RandomKey, writes
from pojax.checks import checked
from pojax.groups import group_rank, group_sum, inside, refine
from pojax.numerics import counts, floating, masked, per_row

__all__ = ["first_tokens", "identical_responses", "random_sets", "set_advantages"]


@writes("sets")
@checked(set_size="[1, inf)", sets_per_group="[1, inf)")
def random_sets(key: RandomKey, groups: Int[ArrayLike, "B"], *, set_size: int = 4, sets_per_group: int = 4) -> Float[Array, "B M"]:
    """Random sets of `set_size` rows of each group, each drawn without replacement: 1 where row b is in set m of its group.

    Sets may share rows. A group with fewer rows than `set_size` has all of them in every set; rows that are out are in none.
    Raises ValueError for numbers below 1.
    Source: Polychromic objectives, arXiv 2509.25424, algorithm 1 (M sets of n of the N continuations of a state).
    """
    rows = jnp.shape(groups)[0]

    def one(key: Array) -> Array:
        rank = group_rank(jax.random.uniform(key, (rows,)), groups)
        return (rank >= 0) & (rank < set_size)

    return floating(jnp.stack([one(jax.random.fold_in(key, m)) for m in range(sets_per_group)], axis=1))


@writes("signature")
@checked()
def identical_responses(tokens: Int[ArrayLike, "B T"], mask: Mask, groups: Int[ArrayLike, "B"]) -> Int[Array, "B"]:
    """A signature that only identical responses of a group share: the first row of the group with the same masked tokens; -1 = out.

    For other notions of "the same" (a cluster, the final answer, the rooms visited) a label or an integer component takes its place.
    Source: Polychromic objectives, arXiv 2509.25424, section 4 (diversity of a set; here by exact match); COPO, arXiv 2508.04138 (answers
    are grouped by exact string).
    """
    groups, on = jnp.asarray(groups), counts(mask)
    said = jnp.where(on, jnp.asarray(tokens), -1)
    same = jax.lax.map(lambda row: jnp.all(said == row[0], axis=1) & (groups == row[1]), (said, groups))
    return jnp.where(inside(groups), jnp.argmax(same, axis=1).astype(jnp.int32), -1)


@checked(several="{mean, sum}")
def set_advantages(
    rewards: Float[ArrayLike, "B"],
    signature: Int[ArrayLike, "B"],
    sets: Shaped[ArrayLike, "B M"],
    groups: Int[ArrayLike, "B"],
    *,
    several: str = "mean",
) -> Float[Array, "B"]:
    """Polychromic advantages: A_set = f(set) - mean over the sets of the group, f = mean of the members' rewards * distinct / members.

    distinct: the number of different signatures (>= 0) in the set. A product: a set that fails scores 0 however diverse it is.
    sets: not 0 where row b is in set m of its group. several: a row in several sets gets the "mean" (assumed) of their advantages, or
    their "sum" (marginal set advantage, of later work); a row in no set gets 0. rewards should lie in [0, 1].
    Empty sets count for nothing. Exactly zero where all sets of a group score the same; zero for rows that are out.
    Raises ValueError for another `several`. Source: Polychromic objectives, arXiv 2509.25424, eq. (4) and section 4.
    """
    groups = jnp.asarray(groups)
    is_in = inside(groups)
    member = counts(sets) & is_in[:, None]
    r, ones = masked(rewards, is_in), floating(member)
    kind = refine(groups, signature)
    earlier = (kind[:, None] == kind[None, :]) & (kind >= 0)[:, None] & jnp.tril(jnp.ones((r.shape[0],) * 2, bool), -1)
    new = member & ~(floating(earlier) @ ones > 0.0)  # no earlier member has the same signature
    size = group_sum(ones, groups)
    n = jnp.maximum(size, 1.0)
    f = group_sum(ones * r[:, None], groups) / n * group_sum(floating(new), groups) / n
    exists = (size > 0.0) & is_in[:, None]
    number = jnp.maximum(jnp.sum(exists, axis=1), 1)
    center = jnp.sum(jnp.where(exists, f, 0.0), axis=1) / number
    high, low = (jnp.max(jnp.where(exists, sign * f, -jnp.inf), axis=1) for sign in (1.0, -1.0))
    advantage = jnp.where(member & (high + low > 0.0)[:, None], f - center[:, None], 0.0)
    total = jnp.sum(advantage, axis=1)
    return total if several == "sum" else total / jnp.maximum(jnp.sum(member, axis=1), 1)


@checked(window="[0, inf)")
def first_tokens(
    advantages: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    elsewhere: Float[ArrayLike, "B"] | Float[ArrayLike, "B T"],
    mask: Mask,
    *,
    window: int = 5,
) -> Float[Array, "B T"]:
    """The advantages for the first window + 1 masked tokens of every row, `elsewhere` for the later ones; 0 where mask is 0.

    Source: Polychromic objectives, arXiv 2509.25424, section 4: the set's advantage for W + 1 actions after the state that the
    continuations start from, the ordinary advantage elsewhere.
    """
    on = counts(mask)
    early = jnp.cumsum(on, axis=1) <= window + 1
    return jnp.where(on, jnp.where(early, per_row(floating(advantages), 2), per_row(floating(elsewhere), 2)), 0.0)
