"""Rewards that depend on how long a response is. Lengths are token counts."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Hyper, writes
from pojax.checks import checked
from pojax.groups import group_mean, inside, whole_batch
from pojax.numerics import floating, masked, per_row

__all__ = ["conciseness", "overlong_penalty"]


@checked(cache="(0, inf)", limit="(0, inf)", response_tokens="[1, inf)")
def overlong_penalty(
    rewards: Float[ArrayLike, "B"],
    lengths: Shaped[ArrayLike, "B"],
    response_tokens: int,
    *,
    cache: Hyper,
    limit: Hyper | None = None,
) -> Float[Array, "B"]:
    """Reward plus the soft overlong punishment: r_b + min(max((limit - cache - n_b) / cache, -1), 0) for a response of n_b tokens.

    So nothing up to limit - cache tokens, then linear, and -1 from limit on. cache and limit are in tokens.
    limit: the length at which the punishment is complete, by default response_tokens, the most the sampler writes.
    Source: DAPO, arXiv 2503.14476, eq. (13).
    """
    limit = per_row(response_tokens if limit is None else limit, 1)
    cache = per_row(cache, 1)
    return floating(rewards) + jnp.clip((limit - cache - floating(lengths)) / cache, -1.0, 0.0)


@writes("conciseness")
@checked(over="{group, batch}")
def conciseness(lengths: Shaped[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, over: str = "batch") -> Float[Array, "B"]:
    """1 for a response shorter than the mean length, else 0; a component beside correctness.

    over: the mean is that of the "batch" or of the "group" (assumed "batch": the source says "the mean"). Equal lengths are all 0.
    Zero for rows that are out. Raises ValueError for another over.
    Source: Dynamic Reward Weighting, arXiv 2509.11452, conciseness objective.
    """
    is_in = inside(groups)
    lengths = masked(lengths, is_in)
    mean = group_mean(lengths, groups if over == "group" else whole_batch(groups))
    return floating(is_in & (lengths < mean))
