"""Rewards of responses that the length limit cut."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.numerics import counts, floating, per_row

__all__ = ["stop_properly_penalty"]


@checked(coefficient="(-inf, 1]")
def stop_properly_penalty(rewards: Float[ArrayLike, "B"], truncated: Shaped[ArrayLike, "B"], *, coefficient: Hyper) -> Float[Array, "B"]:
    """Reward of a truncated response: coefficient itself where that is negative, else coefficient * r_b; other responses keep theirs.

    coefficient: at most 1. Between 0 and 1 it also shrinks NEGATIVE rewards, so that being cut pays: keep rewards at or above 0 then.
    Raises ValueError for a coefficient above 1.
    Source: OpenRLHF stop_properly_penalty_coef (2025), after the recipe of ProRL, arXiv 2505.24864.
    """
    rewards, coefficient = floating(rewards), per_row(coefficient, 1)
    return jnp.where(counts(truncated), jnp.where(coefficient < 0.0, coefficient, coefficient * rewards), rewards)
