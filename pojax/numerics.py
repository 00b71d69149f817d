"""The few lines of numerical care that pure functions share."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Shaped

LARGEST_LOG_RATIO = 20.0  # exp(20) = 4.9e8: finite in float32 also after a product with an advantage, and so is its gradient


def floating(x: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
    """x in at least float32: half precision is promoted, float64 is kept, bool and int become the default float."""
    x = jnp.asarray(x)
    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32) if is_float else jnp.result_type(float))


def counts(where: Shaped[ArrayLike, "..."]) -> Bool[Array, "..."]:
    """True where a mask of any type is not 0."""
    return jnp.asarray(where) != 0


def masked(x: Shaped[ArrayLike, "..."], where: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
    """x in at least float32, 0 where the mask is 0: what is masked may be NaN, for values and for gradients."""
    x = floating(x)
    return jnp.where(counts(where), x, jnp.zeros((), x.dtype))


def per_row(hyper: Shaped[ArrayLike, "..."] | int, rank: int) -> Shaped[Array, "..."]:
    """A hyper-parameter or field so that it broadcasts to that rank, rows first: [B] and [B, 1] are one number per row."""
    hyper = jnp.asarray(hyper)
    if rank == 1 and hyper.ndim == 2:
        return hyper[:, 0]
    return hyper[:, None] if rank == 2 and hyper.ndim == 1 else hyper


def root(x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """The square root, with gradient 0 at 0."""
    x = jnp.asarray(x)
    # Double where: the square root has an infinite gradient at 0, and NaN * 0 would survive a single where.
    return jnp.where(x == 0.0, 0.0, jnp.sqrt(jnp.where(x == 0.0, 1.0, x)))


def over_deviation(
    x: Float[ArrayLike, "..."], deviation: Float[ArrayLike, "..."], epsilon: Shaped[ArrayLike, "..."]
) -> Float[Array, "..."]:
    """x / (deviation + epsilon), and exactly 0, with gradient 0, where the deviation is 0, whatever epsilon is."""
    flat = jnp.asarray(deviation) == 0.0
    return jnp.where(flat, 0.0, x / jnp.where(flat, 1.0, deviation + epsilon))


def log_ratio(numerator: Float[ArrayLike, "..."], denominator: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    """Difference of log-probabilities, clamped to [-20, 20] so that its exponential cannot overflow; no gradient beyond."""
    return jnp.clip(floating(numerator) - floating(denominator), -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
