"""Which prompts an iteration samples from: a key and tables in, indices of the data set out."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int32

from pojax.annotations import Hyper, RandomKey
from pojax.checks import checked
from pojax.numerics import floating

__all__ = ["bernoulli_uncertainty", "bernoulli_uncertainty_probabilities", "uniform", "uniform_subset"]


@checked(num_prompts="[1, inf)", batch_prompts="[1, inf)")
def uniform(key: RandomKey, num_prompts: int, batch_prompts: int) -> Int32[Array, "P"]:
    """Prompts drawn uniformly without replacement: P = batch_prompts different indices below num_prompts, in random order.

    Raises ValueError where batch_prompts exceeds num_prompts.
    Source: simple random sampling, the usual order of a shuffled data set, drawn again at every iteration.
    """
    _check_enough("uniform", num_prompts, batch_prompts)
    return jax.random.choice(key, num_prompts, (batch_prompts,), replace=False).astype(jnp.int32)


@checked(num_prompts="[1, inf)", batch_prompts="[1, inf)", size="[1, inf)")
def uniform_subset(key: RandomKey, num_prompts: int, batch_prompts: int, *, size: int) -> Int32[Array, "P"]:
    """`uniform` among the first `size` prompts of the data set (all of them, where there are fewer), so that prompts come back soon.

    For methods that need a prompt more than once, such as replay. Data sets of the package stand in a seeded random order.
    Raises ValueError where batch_prompts exceeds size or num_prompts.
    Source: simple random sampling from a subset; RePO, arXiv 2506.09340, trains on 1024 problems for this reason.
    """
    number = min(size, num_prompts)
    _check_enough("uniform_subset", number, batch_prompts)
    return jax.random.choice(key, number, (batch_prompts,), replace=False).astype(jnp.int32)


@checked(floor="[0, inf)", batch_prompts="[1, inf)")
def bernoulli_uncertainty(key: RandomKey, success: Float[ArrayLike, "N"], batch_prompts: int, *, floor: Hyper = 0.05) -> Int32[Array, "P"]:
    """Prompts whose outcome is uncertain, without replacement: weight sqrt(v (1 - v)) + floor for a success rate v in [0, 1].

    One prompt after the other is drawn in proportion to the weights of those left (Gumbel top-k: the P largest of log weight + noise).
    floor keeps solved and unsolved prompts in play; in units of a standard deviation, which is at most 0.5.
    success: a table, one rate per prompt of the data set, clipped to [0, 1].
    Raises ValueError where batch_prompts exceeds N.
    Source: Single-stream Policy Optimization, arXiv 2509.13232; Gumbel top-k: Kool et al., arXiv 1903.06059.
    """
    probabilities = bernoulli_uncertainty_probabilities(success, floor=floor)
    _check_enough("bernoulli_uncertainty", probabilities.shape[0], batch_prompts)
    noise = jax.random.gumbel(key, probabilities.shape, probabilities.dtype)
    return jax.lax.top_k(jnp.log(probabilities) + noise, batch_prompts)[1].astype(jnp.int32)


@checked(floor="[0, inf)")
def bernoulli_uncertainty_probabilities(success: Float[ArrayLike, "N"], *, floor: Hyper = 0.05) -> Float[Array, "N"]:
    """Probability that a prompt is the first one drawn by `bernoulli_uncertainty`: its weight over the sum of weights.

    Uniform where every weight is 0.
    Source: Single-stream Policy Optimization, arXiv 2509.13232.
    """
    rate = jnp.clip(floating(success), 0.0, 1.0)
    variance = rate * (1.0 - rate)
    certain = variance == 0.0  # the square root has an infinite gradient at 0
    weight = jnp.where(certain, 0.0, jnp.sqrt(jnp.where(certain, 1.0, variance))) + floor
    total = jnp.sum(weight)
    return jnp.where(total == 0.0, 1.0 / rate.shape[0], weight / jnp.where(total == 0.0, 1.0, total))


def _check_enough(function: str, num_prompts: int, batch_prompts: int) -> None:
    if batch_prompts > num_prompts:
        raise ValueError(f"{function}: batch_prompts is {batch_prompts}, allowed: at most num_prompts = {num_prompts}")
