"""Statistics over groups of rows given by ids: any integers >= 0, in any order; -1 = the row is out.

No function here reshapes to [prompts, samples]: groups may have any sizes and lie anywhere in the batch.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from pojax.annotations import Hyper
from pojax.checks import check_range, checked
from pojax.numerics import counts, floating, per_row, root

__all__ = [
    "all_equal",
    "first_rows",
    "group_log_mean_exp",
    "group_max",
    "group_mean",
    "group_min",
    "group_quantile",
    "group_rank",
    "group_size",
    "group_std",
    "group_sum",
    "group_variance",
    "ids",
    "inside",
    "partner",
    "refine",
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


@checked()
def refine(groups: Int[ArrayLike, "B"], parts: Int[ArrayLike, "B"]) -> Int[Array, "B"]:
    """Groups cut into parts: dense ids below B, equal where both group and part are equal; -1 where either is -1."""
    first, second = (jnp.asarray(x).astype(jnp.int32) for x in (groups, parts))
    is_in = (first >= 0) & (second >= 0)
    first, second = (jnp.where(is_in, x, -1) for x in (first, second))
    first, second, rows = jax.lax.sort((first, second, jnp.arange(first.shape[0])), num_keys=2)  # what is out comes first
    new = (first != jnp.roll(first, 1)) | (second != jnp.roll(second, 1))
    dense = jnp.cumsum(new.at[:1].set(True)) - 1
    dense = jnp.where(first >= 0, dense - jnp.any(first < 0), -1)
    return jnp.zeros(dense.shape, jnp.int32).at[rows].set(dense.astype(jnp.int32))


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
def group_variance(x: Shaped[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, ddof: int = 1) -> Float[Array, "B"]:
    """Every row gets the variance of x over its group; exactly 0, with gradient 0, where all are equal, and for rows out.

    ddof is subtracted from the group's size. Raises ValueError for ddof other than 0 and 1.
    """
    x = floating(x)
    centered = jnp.where(all_equal(x, groups), 0.0, x - group_mean(x, groups))
    return group_sum(centered**2, groups) / jnp.maximum(group_size(groups) - ddof, 1.0)


@checked(ddof="{0, 1}")
def group_std(x: Shaped[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, ddof: int = 1) -> Float[Array, "B"]:
    """Every row gets the standard deviation of x over its group; exactly 0, with gradient 0, where all are equal, and for rows out.

    ddof is subtracted from the group's size: 1 is what PyTorch computes. Raises ValueError for ddof other than 0 and 1.
    """
    return root(group_variance(x, groups, ddof=ddof))


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
def group_log_mean_exp(
    x: Shaped[ArrayLike, "B"], groups: Int[ArrayLike, "B"], selected: Shaped[ArrayLike, "B"] | None = None
) -> Float[Array, "B"]:
    """Every row gets log(mean of exp(x)) over the selected rows of its group (all by default), by the largest x so that nothing overflows.

    0 where no row of the group is selected, and for rows that are out; what is not selected may hold NaN.
    """
    on = inside(groups) if selected is None else inside(groups) & counts(selected)
    x = jnp.where(on, floating(x), 0.0)
    number = group_sum(on, groups)
    top = group_max(jnp.where(on, jax.lax.stop_gradient(x), -jnp.inf), groups)
    top = jnp.where(number > 0.0, top, 0.0)
    total = group_sum(jnp.where(on, jnp.exp(jnp.where(on, x - top, 0.0)), 0.0), groups)
    some = number > 0.0
    return jnp.where(some, top + jnp.log(jnp.where(some, total, 1.0) / jnp.maximum(number, 1.0)), 0.0)


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
def first_rows(groups: Int[ArrayLike, "B"]) -> Bool[Array, "B"]:
    """True at one row of every group, the first in the order of the batch: statistics over groups, each counted once."""
    slots, is_in = _slots(groups)
    rows = jnp.arange(slots.shape[0])
    first = jax.ops.segment_min(jnp.where(is_in, rows, rows.shape[0]), slots, num_segments=rows.shape[0])
    return is_in & (first[slots] == rows)


@checked(q="[0, 1]")
def group_quantile(x: Shaped[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, q: Hyper) -> Float[Array, "B"]:
    """Every row gets the q-quantile of x over its group, with linear interpolation (numpy's default); rows that are out get 0."""
    rank, x = group_rank(x, groups), floating(x)
    position = per_row(q, 1) * jnp.maximum(group_size(groups) - 1, 0)
    low = jnp.floor(position)
    at_low, at_high = (group_sum(jnp.where(rank == place, x, 0), groups) for place in (low, jnp.ceil(position)))
    return at_low + (position - low) * (at_high - at_low)


@checked()
def all_equal(x: Shaped[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> Bool[Array, "B"]:
    """True where the row's whole group has one value, exactly; also for rows that are out.

    A variance cannot tell: in float32 the mean of seven times 0.7 is not 0.7.
    """
    (slots, is_in), x = _slots(groups), jax.lax.stop_gradient(floating(x))
    high = jax.ops.segment_max(jnp.where(is_in, x, -jnp.inf), slots, num_segments=x.shape[0])
    low = jax.ops.segment_min(jnp.where(is_in, x, jnp.inf), slots, num_segments=x.shape[0])
    return ~is_in | (high[slots] == low[slots])


@checked()
def partner(groups: Int[ArrayLike, "B"]) -> Int[Array, "B"]:
    """The other row of every row's pair: rows 1 and 2 of a group, 3 and 4, ... in the order of the batch.

    The row itself where it has none: the last row of a group of odd size, and rows that are out.
    """
    dense = ids(groups)
    rank, rows = group_rank(jnp.zeros(dense.shape), groups), jnp.arange(dense.shape[0])
    is_partner = (dense[:, None] == dense) & ((rank[:, None] ^ 1) == rank) & (dense >= 0)
    return jnp.where(jnp.any(is_partner, axis=1), jnp.argmax(is_partner, axis=1), rows).astype(jnp.int32)
