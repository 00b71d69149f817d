"""Statistics over groups of rows given by ids: any integers >= 0, in any order; -1 = the row is out.

No function here reshapes to [prompts, samples]: groups may have any sizes and lie anywhere in the batch.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from pojax.checks import check_range, checked
from pojax.numerics import floating

__all__ = [
    "all_equal",
    "group_max",
    "group_mean",
    "group_min",
    "group_rank",
    "group_size",
    "group_std",
    "group_sum",
    "ids",
    "inside",
    "whole_batch",
]


@checked()
def ids(groups: Int[ArrayLike, "B"]) -> Int[Array, "B"]:
    """Dense ids below B in order of value; -1 stays -1. Works under jit: there are never more groups than rows.

    Raises ValueError for a concrete id below -1, or ids that are not integers.
    """
    if not isinstance(groups, jax.Array):
        groups = np.asarray(groups)
    if not jnp.issubdtype(groups.dtype, jnp.integer):
        raise ValueError(f"groups: ids are {groups.dtype}, allowed: integers")
    check_range("groups", "an id", groups, "[-1, inf)")
    if isinstance(groups, np.ndarray):  # may hold 64-bit ids, which JAX would cut to 32 bits
        values, dense = np.unique(groups, return_inverse=True)
        return jnp.asarray(dense.reshape(-1) - (values[:1] == -1).sum(), jnp.int32)
    if groups.shape[0] == 0:
        return groups.astype(jnp.int32)
    groups = jnp.maximum(groups, -1)
    values = jnp.unique(groups, size=groups.shape[0], fill_value=jnp.iinfo(groups.dtype).max)
    return (jnp.searchsorted(values, groups) - (values[0] == -1)).astype(jnp.int32)  # -1 sorts first


def inside(groups: Int[ArrayLike, "B"]) -> Bool[Array, "B"]:
    """True for the rows that are in: every id but -1."""
    return jnp.asarray(groups) >= 0


def whole_batch(groups: Int[ArrayLike, "B"]) -> Int[Array, "B"]:
    """One group of all rows that are in, so that a batch statistic is a group statistic."""
    return jnp.where(inside(groups), 0, -1)


def _slots(groups: Int[ArrayLike, "B"]) -> tuple[Int[Array, "B"], Bool[Array, "B"]]:
    """A segment for every row, and which rows are in. Rows that are out share segment 0: -1 would wrap to the last one."""
    dense = ids(groups)
    return jnp.maximum(dense, 0), dense >= 0


def _columns(x: Shaped[Array, "B"], rank: int) -> Shaped[Array, "B ..."]:
    """One number per row, broadcast against an array of that rank."""
    return x.reshape((-1,) + (1,) * (rank - 1))


@checked()
def group_sum(x: Shaped[ArrayLike, "B ..."], groups: Int[ArrayLike, "B"]) -> Float[Array, "B ..."]:
    """Every row gets the sum of x over its group, for each entry of further axes; rows that are out get 0, and may hold NaN."""
    (slots, is_in), x = _slots(groups), floating(x)
    is_in = _columns(is_in, x.ndim)
    totals = jax.ops.segment_sum(jnp.where(is_in, x, 0), slots, num_segments=x.shape[0])
    return jnp.where(is_in, totals[slots], 0)


@checked()
def group_size(groups: Int[ArrayLike, "B"]) -> Float[Array, "B"]:
    """Every row gets the number of rows of its group; rows that are out get 0."""
    return group_sum(jnp.ones(np.shape(groups)), groups)


@checked()
def group_mean(x: Shaped[ArrayLike, "B ..."], groups: Int[ArrayLike, "B"]) -> Float[Array, "B ..."]:
    """Every row gets the mean of x over its group, for each entry of further axes; rows that are out get 0, and may hold NaN."""
    return group_sum(x, groups) / _columns(jnp.maximum(group_size(groups), 1), np.ndim(x))


@checked(ddof="{0, 1}")
def group_std(x: Shaped[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, ddof: int = 1) -> Float[Array, "B"]:
    """Every row gets the standard deviation of x over its group; exactly 0, with gradient 0, where all are equal, and for rows out.

    ddof is subtracted from the group's size: 1 is what PyTorch computes. Raises ValueError for ddof other than 0 and 1.
    """
    x = floating(x)
    centered = jnp.where(all_equal(x, groups), 0.0, x - group_mean(x, groups))
    variance = group_sum(centered**2, groups) / jnp.maximum(group_size(groups) - ddof, 1.0)
    # Double where: the square root has an infinite gradient at 0, and NaN * 0 would survive a single where.
    flat = variance == 0.0
    return jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, variance)))


@checked()
def group_max(x: Shaped[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> Float[Array, "B"]:
    """Every row gets the largest x of its group; rows that are out get 0, and may hold NaN."""
    (slots, is_in), x = _slots(groups), floating(x)
    largest = jax.ops.segment_max(jnp.where(is_in, x, -jnp.inf), slots, num_segments=x.shape[0])
    return jnp.where(is_in, largest[slots], 0)


@checked()
def group_min(x: Shaped[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> Float[Array, "B"]:
    """Every row gets the smallest x of its group; rows that are out get 0, and may hold NaN."""
    return -group_max(-floating(x), groups)


@checked()
def group_rank(x: Shaped[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> Int[Array, "B"]:
    """How many rows of its group come before each row in ascending order of x, ties in the order of the rows; -1 for rows that are out."""
    dense, x = ids(groups), floating(x)
    rows = jnp.arange(x.shape[0])
    order = jnp.lexsort((rows, jnp.where(dense >= 0, x, 0), dense))
    sorted_ids = dense[order]
    first = jnp.searchsorted(sorted_ids, sorted_ids)  # where the row's group begins in the sorted order
    ranks = jnp.zeros(x.shape, jnp.int32).at[order].set((rows - first).astype(jnp.int32))
    return jnp.where(dense >= 0, ranks, -1)


@checked()
def all_equal(x: Shaped[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> Bool[Array, "B"]:
    """True where the row's whole group has one value, exactly; also for rows that are out.

    A variance cannot tell: in float32 the mean of seven times 0.7 is not 0.7.
    """
    (slots, is_in), x = _slots(groups), jax.lax.stop_gradient(floating(x))
    high = jax.ops.segment_max(jnp.where(is_in, x, -jnp.inf), slots, num_segments=x.shape[0])
    low = jax.ops.segment_min(jnp.where(is_in, x, jnp.inf), slots, num_segments=x.shape[0])
    return ~is_in | (high[slots] == low[slots])
